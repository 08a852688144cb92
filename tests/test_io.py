"""A file is there whole or as it was: full disks, failures inside the block, several processes at once."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from interp import io


def test_folders_are_made_and_letters_kept(tmp_path):
    path = tmp_path / "a" / "b" / "names.json"
    assert io.atomic_write_json(path, {"größe": 1}) == path
    assert path.read_text(encoding="utf-8") == '{"größe": 1}'
    assert io.atomic_write(path, "\udcff\n").read_bytes() == b"\\udcff\n"


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, stage):
    path = io.atomic_write(tmp_path / "a.gif", b"old")
    with pytest.raises(ZeroDivisionError), io.atomic_path(path) as part:
        assert part.parent == tmp_path and part.name.startswith(io.PREFIX)
        part.write_bytes(b"half")
        raise ZeroDivisionError
    monkeypatch.setattr(os, stage, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        io.atomic_write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_many_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "n.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: io.atomic_write_json(path, [n] * 10_000), range(64)))
    assert len(set(json.loads(path.read_text()))) == 1 and list(tmp_path.iterdir()) == [path]
