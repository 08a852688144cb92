"""Files written whole or not at all: a reader sees the old file or the new one, never a part of one.

Source: this project's own. No tensor axes. Content goes to a hidden name in the same folder, to the disk, and is
then renamed, which the system does in one step; several processes may do so at once.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "new" / "words.json"
>>> write_json(path, {"a": 1}).read_text()
'{"a": 1}'
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = ".part-"  # of what a kill may leave behind; never read


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end of the block.

    Folders are made. After an exception, OSError for a full disk among them, `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write(path: str | Path, content: bytes | str) -> Path:
    """Bytes, or text as UTF-8; what UTF-8 lacks (the name of a file may hold anything) becomes such as \\udcff."""
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with replacing(path) as part, open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """One JSON value, with other alphabets' letters as they are. TypeError, before anything is written."""
    return write(path, json.dumps(content, ensure_ascii=False))
