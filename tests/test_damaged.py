"""Damaged files: whatever is broken in them, decoding ends in frames or in a VideoError, and soon.

Another process reads the files, so that a crash or a hang of the library fails the test and names the file.
"""

import random
import subprocess
import sys

import pytest

pytest.importorskip("av")

from test_video import CONTAINERS, drawn, write  # noqa: E402

SECONDS_PER_FILE = 10
READER = """
import faulthandler, sys, time, warnings
from interp.data.video import VideoError, read_clip
warnings.simplefilter("ignore")
faulthandler.enable()
for path in sys.stdin.read().splitlines():
    print("?", path, flush=True)
    begin = time.monotonic()
    try:
        frames = read_clip(path, 16, [None, (32, 40)][len(path) % 2])
        assert frames.dtype == "uint8" and frames.ndim == 4 and frames.shape[0] == 16 and frames.shape[3] == 3
        outcome = "frames"
    except VideoError as error:
        outcome = "error"
    print(outcome, "%.2f" % (time.monotonic() - begin), path, flush=True)
"""


def scattered(data, rng):
    data = bytearray(data)
    for _ in range(20):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def swapped(data, rng):
    a, b = sorted(rng.sample(range(len(data)), 2))
    return data[b:] + data[a:b] + data[:a]


def replaced(data, place, new, length=None):
    return data[:place] + new + data[place + (len(new) if length is None else length) :]


DAMAGES = {
    "cut": lambda data, rng: data[: rng.randrange(1, len(data))],
    "zeros": lambda data, rng: replaced(data, rng.randrange(len(data)), bytes(64)),
    "scattered": scattered,
    "removed": lambda data, rng: replaced(data, rng.randrange(len(data)), b"", rng.randrange(1, 400)),
    "swapped": swapped,
    "header": lambda data, rng: replaced(data, rng.randrange(min(len(data), 1500)), rng.randbytes(4)),
    "index": lambda data, rng: replaced(data, rng.randrange(max(0, len(data) - 1500), len(data)), rng.randbytes(4)),
}


def damaged_files(folder, count_each):
    """The whole file of each container, and `count_each` damaged ones, in all the ways above."""
    for suffix, (codec, options) in CONTAINERS.items():
        whole = write(folder / f"whole.{suffix}", codec, drawn(24, 48, 64), **options)
        data, rng = whole.read_bytes(), random.Random(suffix)
        for number in range(count_each):
            name = list(DAMAGES)[number % len(DAMAGES)]
            (folder / f"{number:03}_{name}.{suffix}").write_bytes(DAMAGES[name](data, rng))
    return sorted(folder.iterdir())


def read_all(paths):
    """{path: (outcome, seconds)}; fails, naming the file, on a crash, a hang or anything but VideoError."""
    try:
        done = subprocess.run([sys.executable, "-c", READER], input="\n".join(map(str, paths)), capture_output=True,
                              text=True, timeout=60 + len(paths))  # fmt: skip
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"reading hangs at {((error.stdout or b'').decode().splitlines() or ['the start'])[-1]}")
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        pytest.fail(f"exit code {done.returncode} at {lines[-1] if lines else 'the start'}\n{done.stderr[-3000:]}")
    rows = [line.split(" ", 2) for line in lines if not line.startswith("?")]
    return {path: (outcome, float(seconds)) for outcome, seconds, path in rows}


@pytest.mark.parametrize("count_each", [20, pytest.param(210, marks=pytest.mark.slow)])
def test_a_hundred_and_a_thousand_damaged_files(tmp_path, count_each):
    paths = damaged_files(tmp_path, count_each)
    results = read_all(paths)
    assert len(results) == len(paths)
    assert [path for path, (_, seconds) in results.items() if seconds > SECONDS_PER_FILE] == [], "hold the decoder"
    outcomes = {outcome for outcome, _ in results.values()}
    assert outcomes == {"frames", "error"}, "the damage is too weak or too strong to test anything"
    assert [path for path, (outcome, _) in results.items() if "whole" in path and outcome != "frames"] == []


def test_a_crash_would_be_seen(monkeypatch):
    monkeypatch.setitem(globals(), "READER", 'import os\nprint("? bad.mp4", flush=True)\nos.abort()')
    with pytest.raises(pytest.fail.Exception, match=r"exit code -6 at \? bad.mp4"):
        read_all(["bad.mp4"])
