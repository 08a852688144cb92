"""The shipped networks for the pages: as ONNX, checked against PyTorch, with the runtime that a browser runs them in.

`write(folder)` fills the folder: i3d.onnx, clstm.onnx, the worker networks.js, onnxruntime-web's script and its
gzipped WebAssembly, and networks.json, which says what is there. The runtime comes from the npm registry, once, into
.cache; its checksum stands here. dressing.py names the folder on every page that has an explorer.

networks.json: {"runtime": {"script", "wasm", "bytes"}, "networks": [{"name", "file", "bytes", "weights": SHA-256 of
the safetensors file, "shares": null or, for time, rows and columns, the share of each map cell in each point}]}
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
import tempfile
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from interp.core import gradcam
from interp.io import atomic_write
from interp.models import load
from interp.show.explorer import MAP_SIDE
from interp.show.html import STATIC

VERSION = "1.30.0"
CHECKSUM = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # SHA-512
PARTS = {"dist/ort.wasm.bundle.min.mjs": "ort.mjs", "dist/ort-wasm-simd-threaded.wasm": "ort.wasm.bin"}
CLOSE = 1e-4  # largest difference of a logit from PyTorch's


class WithMaps(nn.Module):
    """I3D with, beside the logits, every class's Grad-CAM map (B,K,T',H',W').

    After the last block comes a mean and a linear layer, so the gradient of a class's score is its row of weights over
    the number of cells: no backward pass is needed, and the scale is lost anyway.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, clips):
        x = self.model.prepare(clips, (3, "T", "H", "W"))
        for name, layer in self.model.named_children():
            if name != "Logits":
                x = layer(x)
        rows = self.model.Logits.Conv3d_0c_1x1["conv_3d"].weight.flatten(1)
        return self.model.Logits(x), torch.einsum("kf,bfthw->bkthw", rows, x).relu()


def runtime(cache: Path) -> dict[str, bytes]:
    """The files of onnxruntime-web that the pages need; OSError without a network, ValueError for other content."""
    kept = cache / f"onnxruntime-web-{VERSION}.tgz"
    if not kept.exists():
        registry = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
        address = f"{registry}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = answer.read()
        found = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if found != CHECKSUM:
            raise ValueError(f"{address}: expected SHA-512 {CHECKSUM}, got {found}")
        atomic_write(kept, content)
    with tarfile.open(kept) as package:
        return {name: package.extractfile(f"package/{path}").read() for path, name in PARTS.items()}


def export(name: str) -> tuple[bytes, nn.Module]:
    """A shipped network as ONNX for one clip (1,3,16,64,64), and itself; ValueError where outputs are not PyTorch's.

    I3D goes through torch.export, which knows its paddings; the C-LSTM through tracing, which keeps its loop small.
    """
    import onnxruntime

    model, clip = load(name).eval(), torch.rand(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    network = WithMaps(model) if name == "i3d" else model
    options = {"dynamo": True, "external_data": False, "verbose": False} if name == "i3d" else {
        "dynamo": False, "opset_version": 17}
    names = ["logits", "maps"] if name == "i3d" else ["logits"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder, f"{name}.onnx")
        torch.onnx.export(network, (clip,), path, input_names=["clips"], output_names=names, **options)
        content = path.read_bytes()
    outputs = onnxruntime.InferenceSession(content).run(None, {"clips": clip.numpy()})
    with torch.no_grad():
        expected = network(clip)
    expected = expected if isinstance(expected, tuple) else (expected,)
    apart = max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in zip(outputs, expected, strict=True))
    if not apart < CLOSE:
        raise ValueError(f"{name}: the exported network differs from PyTorch's by {apart}")
    return content, model


def shares(model: nn.Module) -> list | None:
    """For each axis of I3D's map the share of every cell in every point of the page's map; None for the C-LSTM."""
    if model.config["model"] != "i3d":
        return None
    clip, found = torch.zeros(1, 3, 16, 64, 64), []
    with torch.no_grad():
        cells = WithMaps(model)(clip)[1].shape[2:]
    with torch.enable_grad():
        field = gradcam._receptive_field(model, model.gradcam_layer, clip)
    for axis, number in enumerate(cells):
        shape = [number, 1, 1, 1]
        shape[1 + axis] = number
        line = gradcam._upsample(torch.eye(number).reshape(shape), clip.shape[2:], field)  # one map for each cell
        line = line.movedim(1 + axis, 1)[:, :, 0, 0].T  # (points, cells)
        side = min(MAP_SIDE, len(line))
        found.append(line.reshape(side, -1, number).mean(1).double().numpy().round(6).tolist())
    return found


def write(folder: Path, cache: Path) -> str:
    """Fill the folder; returns a sentence about it. OSError without a network for the runtime."""
    parts, networks = runtime(cache), []
    folder.mkdir(parents=True, exist_ok=True)
    for name, shown in (("i3d", "I3D"), ("clstm", "C-LSTM")):
        content, model = export(name)
        (folder / f"{name}.onnx").write_bytes(content)
        networks.append({"name": shown, "file": f"{name}.onnx", "bytes": len(content),
                         "weights": model.record["sha256"], "shares": shares(model)})
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(parts["ort.wasm.bin"])
    (folder / "ort.mjs").write_bytes(parts["ort.mjs"])
    (folder / "ort.wasm.bin").write_bytes(packed.getvalue())
    shutil.copy(STATIC / "networks.js", folder)
    about = {"runtime": {"script": "ort.mjs", "wasm": "ort.wasm.bin", "bytes": len(packed.getvalue())},
             "networks": networks}
    (folder / "networks.json").write_text(json.dumps(about), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return f"both networks for the pages, {size:.1f} MB with their runtime"
