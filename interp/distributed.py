"""One process or many: the world that torchrun describes, and the few collective operations the loop needs.

Source: PyTorch's torchrun (environment variables RANK, LOCAL_RANK, WORLD_SIZE, TORCHELASTIC_RESTART_COUNT);
gloo on CPU, nccl on GPU. No tensor axes.

>>> from interp import distributed
>>> with distributed.world("cpu") as here:
...     here.size, here.main, here.share(10)
(1, True, range(0, 10))
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


@dataclasses.dataclass(frozen=True)
class World:
    """Which process this is, of how many, and the device it works on."""

    rank: int
    size: int
    device: torch.device
    restarts: int = 0  # how often torchrun has started this group again

    @property
    def main(self) -> bool:
        """True in the one process that writes files and progress."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of ``range(count)``: the parts are disjoint and together everything, once."""
        return range(self.rank, count, self.size)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes (the tensor itself when there is one process)."""
        if self.size == 1:
            return tensor
        summed = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(summed)
        return summed.to(tensor.device)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def align(self, module: nn.Module) -> None:
        """Gives every process the first one's buffers (running statistics of batch normalisation)."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, averaging its gradients over the processes when there is more than one."""
        if self.size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is the GPU where there is one. Raises ValueError if it is not here."""
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but this machine shows no GPU to PyTorch; use cpu")
    return chosen


def _open(backend: str, restarts: int) -> None:
    """Joins the group that torchrun describes.

    torchrun keeps its store when it starts workers again, and with it the addresses of the dead ones, which
    the new ones may read and then fail to connect (pytorch/pytorch#135712). On one machine a prefix keeps the
    attempts apart. Several machines do not count restarts alike: there, set
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun.
    """
    if os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        dist.init_process_group(backend)
        return
    store, rank, size = next(dist.rendezvous("env://"))
    store.set_timeout(datetime.timedelta(minutes=10))
    store = dist.PrefixStore(f"attempt{restarts}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)


@contextlib.contextmanager
def world(device: str | torch.device = "auto") -> Iterator[World]:
    """The processes that torchrun started, or this one alone; the group is closed on leaving.

    A group that the caller has opened already is used and left open.
    """
    chosen = pick(device)
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    opened = False
    if not (dist.is_available() and dist.is_initialized()) and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        _open("nccl" if chosen.type == "cuda" else "gloo", restarts)
        opened = True
    try:
        if not (dist.is_available() and dist.is_initialized()):
            yield World(0, 1, chosen, restarts)
            return
        if chosen.type == "cuda":
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", dist.get_rank())))
            torch.cuda.set_device(chosen)
        yield World(dist.get_rank(), dist.get_world_size(), chosen, restarts)
    finally:
        if opened:
            dist.destroy_process_group()
