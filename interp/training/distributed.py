"""One process or several, their devices and precision: what torchrun sets, and the collective operations."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

PRECISIONS = ("auto", "bf16", "tf32", "fp32")


@dataclasses.dataclass(frozen=True)
class World:
    """Which process this is, of how many, and the device it works on. Process 0 writes files and progress."""

    rank: int
    size: int
    device: torch.device

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors, which are on their devices."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, in every process."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the buffers of process 0: the running statistics of batch normalisation."""
        for buffer in module.buffers() if self.size > 1 else ():
            dist.broadcast(buffer, 0)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over the processes where there are several."""
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, [self.device] if self.device.type == "cuda" else None)


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is a GPU where there is one. Under torchrun each process gets its own GPU."""
    count = torch.cuda.device_count()
    try:
        picked = torch.device(("cuda" if count else "cpu") if str(device) == "auto" else device)
    except RuntimeError as error:
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, got {device!r}") from error
    if picked.type != "cuda":
        return picked
    if (picked.index or 0) >= count:
        raise ValueError(f"device: {device!r}, but PyTorch sees no GPU of that number on this machine; use cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % count) if "LOCAL_RANK" in os.environ else picked


def choose_precision(precision: str, device: torch.device) -> str:
    """The precision, with "auto" resolved: "bf16" where the processor computes in it, else "fp32"."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(f"precision: tf32 is of NVIDIA's GPUs, but the device is {device}; use fp32 or bf16")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # newer than torch 2.4
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


@contextlib.contextmanager
def world(device: str | torch.device = "auto") -> Iterator[World]:
    """The processes that torchrun started, or this one alone; the process group is closed afterwards."""
    picked, size = pick(device), int(os.environ.get("WORLD_SIZE", 1))
    on_gpu, opens = picked.type == "cuda", size > 1 and not dist.is_initialized()
    if on_gpu:
        torch.cuda.set_device(picked.index or 0)
    if opens:
        dist.init_process_group("nccl" if on_gpu else "gloo", device_id=picked if on_gpu else None)
    try:
        yield World(dist.get_rank() if size > 1 else 0, size, picked)
    finally:
        if opens:
            dist.destroy_process_group()
