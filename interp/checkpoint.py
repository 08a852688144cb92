"""The state of a training run as one safetensors file, written whole or not at all, without pickle.

Source: the safetensors format (a JSON header, then raw tensors). Axes: those of the model's parameters. Names
in
the file: ``model.NAME`` for parameters and buffers, ``optimizer.INDEX.KEY`` for the optimizer's tensors; all
other state is JSON in the header.

>>> import torch
>>> model = torch.nn.Linear(2, 1)
>>> optimizer = torch.optim.Adam(model.parameters())
>>> write("/tmp/last.safetensors", model, optimizer, {"epoch": 3})
>>> restore("/tmp/last.safetensors", model, optimizer)
{'epoch': 3}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from interp import whole


def write(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Saves model, optimizer and ``state`` (JSON-able). Raises OSError, leaving an earlier file as it was."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    packed = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, entry in packed["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    header = {"state": state, "optimizer": numbers}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    whole.write(path, to_bytes(plain, {"interp": json.dumps(header)}))


def peek(path: str | Path) -> dict[str, Any]:
    """The ``state`` that ``write`` was given. Raises ValueError if the file is no checkpoint of a run."""
    return _header(path)["state"]


def _header(path: str | Path) -> dict[str, Any]:
    try:
        with safe_open(path, "numpy") as file:  # "pt" opens it twice, and a new one may come between
            return json.loads((file.metadata() or {})["interp"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of a training run ({error}); expected the last.safetensors of one"
        ) from error


def restore(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts the saved values into model and optimizer, in place, and returns ``state``.

    The optimizer's tensors take the memory layout of their parameters, so that the next step computes in the
    same order as it would have. Raises ValueError if the file belongs to another network.
    """
    saved = _header(path)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Any]] = {int(i): dict(entry) for i, entry in saved["optimizer"].items()}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            kind, rest = name.split(".", 1)
            if kind == "model":
                weights[rest] = file.get_tensor(name)
                continue
            index, key = rest.split(".", 1)
            value, parameter = file.get_tensor(name), parameters[int(index)]
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            states.setdefault(int(index), {})[key] = value
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(f"{path} holds another network: {lines[min(1, len(lines) - 1)].strip()}") from error
    packed = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": packed["param_groups"]})
    return saved["state"]
