"""Files written whole or not at all: a reader sees the old file or the new one, never a part of one.

The content goes to a hidden file in the same folder, is flushed to the disk, and is then renamed, which the system
does in one step. Several processes may write the same file at once.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = ".part-"  # of files that a killed process may leave behind; nothing reads them


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end of the block it replaces `path`.

    Folders are made. After an exception, a full disk among them, `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    r"""Write bytes, or text as UTF-8; a character that UTF-8 cannot hold (in file names) becomes such as \udcff."""
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with atomic_path(path) as part, open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(path)


def atomic_write_json(path: str | Path, value: Any) -> Path:
    """Write one JSON value; TypeError before anything is written."""
    return atomic_write(path, json.dumps(value, ensure_ascii=False))
