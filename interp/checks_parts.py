"""What checks are made of piece by piece: finished parts kept in files, values as JSON takes them, random numbers.

Source: this project's own. No tensor axes.

    >>> parts = Parts(Path("checks/parts/starts"))
    >>> parts("central", lambda: {"masks": torch.zeros(2, 4)})  # the second time it is read from the file
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from interp import whole


class Parts:
    """The finished parts of a check that takes long, one small JSON file each, so that a kill loses one part."""

    def __init__(self, folder: Path | None = None, progress: Callable[[str], None] | None = None,
                 known: dict[str, Any] | None = None):
        self.folder, self.progress = folder, progress or (lambda words: None)
        self.known = {} if known is None else known  # what is shared, where there is no folder

    def __call__(self, name: str, make: Callable[[], Any], *, shared: bool = False) -> Any:
        """What `make` gives, or gave in an earlier run: numbers, lists, tensors as lists. shared: by all checks."""
        folder = self.folder and (self.folder.parent if shared else self.folder)
        path = folder and folder / f"{name.replace(' ', '-')}.json"
        if path and path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        if shared and name in self.known:
            return self.known[name]
        self.progress(name)
        found = plain(make())
        if shared:
            self.known[name] = found
        if path:
            whole.write_json(path, found)
        return found


def generator(seed: int, name: str) -> torch.Generator:
    """Random numbers for one purpose, the same whatever else is drawn, and for a clip whatever stands beside it."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def plain(value: Any) -> Any:
    """Tensors and arrays as lists, floats to six decimals, NaN as None: what JSON takes and a reader can read."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 6) if abs(value) < float("inf") else None
    return value
