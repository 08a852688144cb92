"""The files of a results folder: rows in Parquet, maps in arrays, run.json; each written whole or not at all.

Source: this project's own. Axes: a mask is a list of T floats, maps are float16 (n,T,H,W). In the folder:

    run.json               what made it: recipe, search, model, data, versions; never a date
    shards/00000.parquet   the rows of one shard of clips; once it is there, the shard is finished
    shards/00000.npy       their maps, written before the rows
    results.parquet        all rows, in the order of the clips, once every shard is finished

    >>> folder = Folder("runs/i3d")
    >>> folder.rows(3).name, folder.done(3)
    ('00003.parquet', False)
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from interp import whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# One row a clip; where a clip could not be read, all from `guess` to `map` are null and `error` says why.
COLUMNS = {
    "index": "int32",  # of the clip in its dataset
    "id": "string",
    "label": "int32",  # the dataset's class, null without one
    "label_name": "string",
    "target": "int32",  # the model's number for it, null where the model does not know the class
    "guess": "int32",  # the model's class of the highest score
    "P": "string",  # its name
    "explained": "int32",  # the class that mask, map and scores are about
    "OS": "float64", "FS": "float64", "RS": "float64",  # scores: original, frozen, reversed
    "CS": "float64",  # score of the target where the guess is wrong, else null
    "frozen": "float64",  # score with the whole clip frozen
    "mask": "mask",  # T floats, 1 = perturbed
    "steps": "int32",  # of the search
    "first_loss": "float64", "last_loss": "float64",  # of the search's first and last step
    "loss": "float64",  # of the mask given
    "window_first": "int32", "window_last": "int32",  # frames of the best window, from 0
    "window_loss": "float64",  # of the best window
    "regret": "float64",  # loss - window_loss
    "map": "int32",  # place in the shard's array
    "seconds": "float64",  # a shard's time is shared equally
    "error": "string",
}  # fmt: skip


def libraries() -> tuple[Any, Any, Any]:
    """pandas, pyarrow and pyarrow.parquet; ValueError naming the extra where they are not installed."""
    try:
        import pandas
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"a results folder needs pandas and pyarrow ({error}): "
                         "install the extra with pip install 'interp[results]'") from error
    return pandas, pyarrow, pyarrow.parquet


class Folder:
    """Names the files of a results folder, writes and reads them."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.run, self.results = self.path / "run.json", self.path / "results.parquet"
        self.shards = self.path / "shards"

    def rows(self, shard: int) -> Path:
        return self.shards / f"{shard:05d}.parquet"

    def maps(self, shard: int) -> Path:
        return self.shards / f"{shard:05d}.npy"

    def done(self, shard: int) -> bool:
        return self.rows(shard).exists()

    def read_run(self) -> dict[str, Any]:
        """run.json; ValueError where there is none."""
        try:
            return json.loads(self.run.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{self.path} is no results folder: it has no run.json") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.run} is damaged: {error}") from None

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Makes the folder and writes run.json; ValueError where something else lies in the folder."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; name a folder for the results")
        if not self.run.exists() and self.path.exists():
            other = [name for name in sorted(os.listdir(self.path)) if not name.startswith(whole.PREFIX)]
            if other and other != ["shards"] or any(self.shards.glob("*.parquet")):
                raise ValueError(f"{self.path} holds {other[0]} and no run.json, so it is no results folder; "
                                 "name another, or an empty one")
        self.shards.mkdir(parents=True, exist_ok=True)
        whole.write(self.run, (json.dumps(run, indent=1, ensure_ascii=False) + "\n").encode())

    @contextmanager
    def claim(self, shard: int, mine: bool) -> Iterator[bool]:
        """Whether this process shall make the shard: unfinished, and no other process is at it.

        A lock on a file says so, which the system takes from a process that dies. Where there are no such
        locks, a process takes only its own share (`mine`).
        """
        path = self.shards / f"{shard:05d}.lock"
        locked = None
        with open(path, "w") as file:
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked = True
            except BlockingIOError:
                locked = False
            except OSError:  # a file system without locks
                pass
            try:
                yield (mine if locked is None else locked) and not self.done(shard)
            finally:
                if locked is not False and self.done(shard):
                    path.unlink(missing_ok=True)

    def save(self, shard: int, rows: Sequence[Mapping], maps: np.ndarray | None) -> None:
        """Writes a finished shard: its maps (n,T,H,W) first, then its rows."""
        _, arrow, parquet = libraries()
        if maps is not None:
            target = io.BytesIO()
            np.save(target, maps.astype(np.float16), allow_pickle=False)
            whole.write(self.maps(shard), target.getvalue())
        kinds = {"mask": arrow.list_(arrow.float32())}
        schema = arrow.schema([(name, kinds.get(kind) or getattr(arrow, kind)())
                               for name, kind in COLUMNS.items()])
        table = arrow.Table.from_pylist([dict(row) for row in rows], schema=schema)
        whole.write(self.rows(shard), _packed(table, parquet))

    def merge(self, count: int, clips: int) -> None:
        """Writes results.parquet from `count` shards; ValueError unless each of the clips is there once."""
        _, _, parquet = libraries()
        table = self.table(count)
        found = table.column("index").to_pylist()
        if len(found) != clips or len(set(found)) != clips:
            raise ValueError(f"{self.shards} holds {len(found)} rows of {len(set(found))} clips; expected "
                             f"each of {clips} once. Remove the folder and start again")
        whole.write(self.results, _packed(table, parquet))
        for left in [*self.path.glob(f"{whole.PREFIX}*"), *self.shards.glob(f"{whole.PREFIX}*")]:
            left.unlink(missing_ok=True)  # of processes that were killed while they wrote

    def table(self, count: int):
        """The rows of the finished ones of `count` shards, as a pyarrow Table in the order of the clips."""
        _, arrow, parquet = libraries()
        parts = [parquet.read_table(self.rows(shard)) for shard in range(count) if self.done(shard)]
        return arrow.concat_tables(parts) if parts else None


class Maps:
    """Grad-CAM maps by number of row: `maps[i]` is float16 (T,H,W) in [0,1], None where there is none."""

    def __init__(self, folder: Folder, shards: Sequence[int], places: Sequence[int | None]):
        self.folder, self.shards, self.places = folder, list(shards), list(places)
        self._open: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> np.ndarray | None:
        shard, place = self.shards[row], self.places[row]
        if place is None:
            return None
        if self._open is None or self._open[0] != shard:
            path = self.folder.maps(shard)
            if not path.exists():
                raise ValueError(f"{path} is not there: this results folder was handed on without its maps")
            self._open = shard, np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(self._open[1][place])


def _packed(table, parquet) -> bytes:
    target = io.BytesIO()
    parquet.write_table(table, target, compression="zstd")
    return target.getvalue()
