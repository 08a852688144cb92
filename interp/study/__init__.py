"""Studies of many clips: results folders, the shipped record, measures, claims and their tests, sanity checks."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any


def import_extra(name: str) -> ModuleType:
    """Import a library of the extra `results`, such as pandas; ValueError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"expected {name} to be installed ({error}); pip install 'interp[results]'") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file; ValueError for a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to make it again") from None
