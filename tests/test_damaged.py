"""Damaged files: whatever is broken in them, decoding ends in frames or in a VideoError, and soon.

The files are read by another process, so that a crash or a hang of the library fails the test and names
the file.
"""

import random
import subprocess
import sys

import pytest

pytest.importorskip("av")

from test_video import CONTAINERS, drawn, write  # noqa: E402

SECONDS_PER_FILE = 10

READER = """
import faulthandler, sys, time
from interp.data.video import VideoError, read_clip
import warnings
warnings.simplefilter("ignore")
faulthandler.enable()
for path in sys.stdin.read().splitlines():
    print("?", path, flush=True)
    begin = time.monotonic()
    size = [None, (32, 40)][len(path) % 2]
    try:
        frames = read_clip(path, 16, size)
        assert frames.dtype == "uint8" and frames.ndim == 4 and frames.shape[0] == 16 and frames.shape[3] == 3
        outcome = "frames"
    except VideoError as error:
        outcome = "error"
    print(outcome, "%.2f" % (time.monotonic() - begin), path, flush=True)
"""


def cut(data, rng):
    return data[: rng.randrange(1, len(data))]


def zeros(data, rng):
    place = rng.randrange(len(data))
    return data[:place] + bytes(min(64, len(data) - place)) + data[place + 64 :]


def scattered(data, rng):
    data = bytearray(data)
    for _ in range(20):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def removed(data, rng):
    place = rng.randrange(len(data))
    return data[:place] + data[place + rng.randrange(1, 400) :]


def swapped(data, rng):
    a, b = sorted(rng.sample(range(len(data)), 2))
    return data[b:] + data[a:b] + data[:a]


def header(data, rng):
    place = rng.randrange(min(len(data), 1500))
    return data[:place] + rng.randbytes(4) + data[place + 4 :]


def index(data, rng):
    place = rng.randrange(max(0, len(data) - 1500), len(data))
    return data[:place] + rng.randbytes(4) + data[place + 4 :]


DAMAGES = (cut, zeros, scattered, removed, swapped, header, index)


def damaged_files(folder, count_each):
    """`count_each` damaged files of each container, in all the ways above, and the whole ones."""
    paths = []
    for suffix, (codec, options) in CONTAINERS.items():
        whole = write(folder / f"whole.{suffix}", codec, drawn(24, 48, 64), **options)
        data, rng = whole.read_bytes(), random.Random(suffix)
        paths.append(whole)
        for number in range(count_each):
            damage = DAMAGES[number % len(DAMAGES)]
            path = folder / f"{number:03}_{damage.__name__}.{suffix}"
            path.write_bytes(damage(data, rng))
            paths.append(path)
    return paths


def read_all(paths):
    """{path: (outcome, seconds)}; fails, naming the file, on a crash, a hang or anything but VideoError."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", READER],
            input="\n".join(map(str, paths)),
            capture_output=True,
            text=True,
            timeout=60 + len(paths),
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode()
        pytest.fail(f"reading hangs at {output.splitlines()[-1] if output else 'the start'}")
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        pytest.fail(
            f"exit code {done.returncode} at {lines[-1] if lines else 'the start'}\n{done.stderr[-3000:]}"
        )
    results = {}
    for line in lines:
        if not line.startswith("?"):
            outcome, seconds, path = line.split(" ", 2)
            results[path] = outcome, float(seconds)
    return results


def check(paths):
    results = read_all(paths)
    assert len(results) == len(paths)
    slow = [path for path, (_, seconds) in results.items() if seconds > SECONDS_PER_FILE]
    assert not slow, f"these hold the decoder for more than {SECONDS_PER_FILE} s: {slow}"
    outcomes = {outcome for outcome, _ in results.values()}
    assert outcomes == {"frames", "error"}, "the damage is too weak or too strong to test anything"
    for path, (outcome, _) in results.items():
        assert outcome == "frames" or "whole" not in path


def test_a_hundred_damaged_files(tmp_path):
    check(damaged_files(tmp_path, 20))


@pytest.mark.slow
def test_a_thousand_damaged_files(tmp_path):
    check(damaged_files(tmp_path, 210))


def test_a_crash_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "READER", 'import os\nprint("? bad.mp4", flush=True)\nos.abort()')
    with pytest.raises(pytest.fail.Exception, match=r"exit code -6 at \? bad.mp4"):
        read_all(["bad.mp4"])
