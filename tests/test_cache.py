"""Decoded clips on disk: the decoder's own frames, decoded once, anew when a file changes, by one of many."""

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from test_video import drawn, write  # noqa: E402
from toy import RECIPE, net  # noqa: E402

from interp import train, train_log  # noqa: E402
from interp.batches import Batches  # noqa: E402
from interp.data import VideoError, cache, open_dataset  # noqa: E402
from interp.data.cache import cached, default_folder  # noqa: E402

torch.set_num_threads(1)
COUNT = 10
# Decodes slowly and says how many clips it decoded, and what it then reads.
BUILDER = """
import hashlib, json, sys, time
from interp.data import cache, open_dataset
from interp.data.dataset import VideoDataset
read, count = VideoDataset._read, []
def slow(self, sample):
    time.sleep(0.05)
    count.append(sample.id)
    return read(self, sample)
VideoDataset._read = slow
cache.CHUNK = 2
clips = cache.cached(open_dataset("folder", sys.argv[1], "all", 4, 16), sys.argv[2])
digest = hashlib.sha256(b"".join(clips[i][0].tobytes() for i in range(len(clips))))
print(json.dumps([len(count), digest.hexdigest()]))
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Grüße & <Co>"
    for number in range(COUNT):
        folder = root / ("left", "right <b>")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{number}.avi", "mpeg4", drawn(6 + number, 24, 32)[:, :, :: 1 - 2 * (number % 2)])
    return root


@pytest.fixture
def root(videos, tmp_path):
    """A copy whose files may be changed."""
    import shutil

    return shutil.copytree(videos, tmp_path / videos.name)


def opened(root, num_frames=4, size=16, **options):
    return open_dataset("folder", root, "all", num_frames, size, **options)


def start(root, folder):
    arguments = [sys.executable, "-c", BUILDER, str(root), str(folder)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def digest(dataset):
    return hashlib.sha256(b"".join(dataset[i][0].tobytes() for i in range(len(dataset)))).hexdigest()


@pytest.fixture
def decoded(monkeypatch):
    """The ids that are decoded from here on."""
    from interp.data.dataset import VideoDataset

    read, ids = VideoDataset._read, []

    def noted(self, sample):
        ids.append(sample.id)
        return read(self, sample)

    monkeypatch.setattr(VideoDataset, "_read", noted)
    return ids


def test_the_cache_holds_the_decoders_frames_and_is_built_once(root, tmp_path, decoded):
    dataset = opened(root, num_frames=8)
    clips = cached(dataset, tmp_path / "cache", workers=2)
    assert sorted(decoded) == sorted(dataset.ids) and clips.ids == dataset.ids
    for i in (0, 3, 9, -1):
        frames, label, index = clips[i]
        np.testing.assert_array_equal(frames, dataset[i][0])
        assert (label, index) == dataset[i][1:]
    assert clips.check().short == dataset.check().short != ()
    decoded.clear()
    again = cached(dataset, tmp_path / "cache")
    assert digest(again) == digest(clips) and decoded == []
    assert cached(again) is again
    part = again.subset([7, 2])
    np.testing.assert_array_equal(part[1][0], clips[2][0])
    assert part.ids == [clips.ids[7], clips.ids[2]] and decoded == []
    frames = again[0][0]
    frames[:] = 0  # a copy
    assert again[0][0].any()
    (folder,) = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["frames.npy", "index.json", "part.lock"]
    assert np.load(folder / "frames.npy", allow_pickle=False).shape == (COUNT, 8, 16, 16, 3)


def test_whatever_decides_the_frames_makes_another_cache(root, tmp_path, decoded, monkeypatch):
    def folder(dataset):
        return cached(dataset, tmp_path / "cache").folder

    dataset = opened(root)
    first = folder(dataset)
    others = {folder(opened(root, num_frames=5)), folder(opened(root, size=(16, 18))), folder(dataset.subset([1, 2]))}
    path = dataset.samples[4].path
    write(path, "mpeg4", 255 - drawn(9, 24, 32))
    others.add(folder(dataset))
    np.testing.assert_array_equal(cached(dataset, tmp_path / "cache")[4][0], dataset[4][0])
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    others.add(folder(dataset))
    monkeypatch.setattr(cache.decord, "__version__", "99")
    others.add(folder(dataset))
    assert len(others) == 6 and first not in others
    before = len(decoded)
    relabelled = opened(root)
    relabelled.samples = [type(s)(s.id, s.path, 0) for s in relabelled.samples]
    assert folder(relabelled) in others and len(decoded) == before  # labels are not frames
    assert cached(relabelled, tmp_path / "cache")[1][1] == 0


def test_unreadable_clips_are_remembered_until_their_file_changes(root, tmp_path, decoded):
    dataset = opened(root)
    bad, gone = dataset.samples[3], dataset.samples[5]
    sound = bad.path.read_bytes()
    bad.path.write_bytes(b"")
    gone.path.unlink()
    with pytest.raises(VideoError, match="is empty"):
        cached(dataset, tmp_path / "cache", strict=True)
    clips = cached(dataset, tmp_path / "cache")
    assert list(clips.unreadable) == [bad.id, gone.id]
    decoded.clear()
    clips = cached(dataset, tmp_path / "cache")
    for sample, reason in ((bad, "is empty"), (gone, "there is no such file")):
        with pytest.raises(VideoError, match=reason) as caught:
            clips[dataset.samples.index(sample)]
        assert caught.value.path == sample.path
    with pytest.raises(VideoError, match="is empty"):
        cached(dataset, tmp_path / "cache", strict=True)
    batches = Batches(dataset, "cpu", cache="disk", cache_dir=tmp_path / "cache")
    assert batches.unreadable == {i: f"{s.path}: {why}" for i, s, why in
                                  ((3, bad, "is empty"), (5, gone, "there is no such file"))}  # fmt: skip
    ((frames, labels, _),) = batches([[2, 3, 4]])
    assert labels.tolist() == [0, -1, 0] and not frames[1].any() and frames[0].any() and decoded == []
    bad.path.write_bytes(sound)
    assert list(cached(dataset, tmp_path / "cache").unreadable) == [gone.id]


def test_two_processes_build_one_cache(videos, tmp_path):
    processes = [start(videos, tmp_path) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert sorted(count for count, _ in told) == [0, COUNT]
    assert {found for _, found in told} == {digest(opened(videos))}


def test_a_killed_build_goes_on_where_it_was(videos, tmp_path, decoded):
    process = start(videos, tmp_path)
    try:
        while len([line for log in tmp_path.glob("*/part.jsonl") for line in log.read_text().splitlines()]) < 4:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    (log,) = tmp_path.glob("*/part.jsonl")
    done = len(log.read_text().splitlines())
    with open(log, "a") as file:
        file.write('{"row": 9, "no')  # a line cut short
    clips = cached(opened(videos), tmp_path)
    assert len(decoded) == COUNT - done < COUNT
    assert digest(clips) == digest(opened(videos)) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["frames.npy", "index.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_cache_cut_short_is_built_again(videos, tmp_path, name, damage):
    path = cached(opened(videos), tmp_path).folder / name
    path.write_bytes(path.read_bytes()[:-9]) if damage == "cut" else path.unlink()
    assert digest(cached(opened(videos), tmp_path)) == digest(opened(videos))


def test_what_cannot_be_cached_is_told(root, tmp_path, monkeypatch):
    dataset = opened(root, size=None)
    write(dataset.samples[2].path, "mpeg4", drawn(5, 32, 32))
    with pytest.raises(ValueError, match=r"4.avi is \(4, 32, 32, 3\), others are .* give a size"):
        cached(dataset, tmp_path / "cache")
    with pytest.raises(ValueError, match="got a list; only clips that come from files"):
        cached([1, 2])
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="do not fit on the disk"):
        cached(opened(root), tmp_path / "cache")
    for sample in dataset.samples:
        sample.path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="no clip can be read; the first, 'left/0.avi': is not a video"):
        cached(opened(root), tmp_path / "cache")


def test_a_full_disk_leaves_no_cache_that_looks_whole(videos, tmp_path, monkeypatch):
    real = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cached(opened(videos), tmp_path)
    assert not list(tmp_path.glob("*/index.json"))
    monkeypatch.setattr(os, "fsync", real)
    assert digest(cached(opened(videos), tmp_path)) == digest(opened(videos))


def test_without_locks_each_process_builds_for_itself(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "fcntl", None)
    clips = cached(opened(videos), tmp_path)
    assert digest(clips) == digest(opened(videos))
    assert sorted(path.name for path in clips.folder.iterdir()) == ["frames.npy", "index.json", "part.lock"]


def test_worker_processes_get_the_map_and_not_the_frames(videos, tmp_path):
    clips = cached(opened(videos), tmp_path)
    clips[0]
    assert clips._frames is not None and copy.deepcopy(clips)._frames is None  # what a spawned worker is sent
    batches = Batches(opened(videos), "cpu", workers=1, cache="disk", cache_dir=tmp_path)
    for frames, labels, indices in batches([[4, 1], [9, 0]]):
        for got, label, index in zip(frames, labels.tolist(), indices.tolist(), strict=True):
            np.testing.assert_array_equal(got, clips[index][0])
            assert label == index // 5


def test_where_caches_go(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.delenv("INTERP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "interp"


def test_training_from_the_cache_takes_the_same_steps(videos, tmp_path):
    for name in ("memory", "disk"):
        sets = [opened(videos, size=8) for _ in range(2)]
        options = {"cache": name, "cache_dir": tmp_path / "cache", "progress": False, "precision": "fp32"}
        train.train(RECIPE, *sets, tmp_path / name, device="cpu", model=net(), **options)
    drop = ("seconds", "clips_per_second", "waiting")
    logs = [[{k: v for k, v in line.items() if k not in drop} for line in train_log.read(tmp_path / name / "log.jsonl")]
            for name in ("memory", "disk")]  # fmt: skip
    assert logs[0] == logs[1] and len(logs[0]) == 3


class Slow:
    """A clip takes 30 ms."""

    classes, ids = ["a"], [str(i) for i in range(8)]

    def __len__(self):
        return 8

    def __getitem__(self, i):
        time.sleep(0.03)
        return np.zeros((1, 2, 2, 3), np.uint8), 0, i


@pytest.mark.parametrize("workers", [0, 1])
def test_the_time_spent_waiting_is_told_with_workers_too(workers):
    batches = Batches(Slow(), "cpu", workers=workers, cache="none")
    begun = time.perf_counter()
    for _ in batches([[i] for i in range(8)]):
        pass
    whole = time.perf_counter() - begun
    assert 0.2 < batches.waited <= whole  # nothing else is done, so all is waiting
    batches.waited = 0.0
    for _ in batches([[i] for i in range(8)]):
        time.sleep(0.1)  # as if training; a worker has the next clip by then
    assert batches.waited > 0.2 if not workers else batches.waited < 0.4 * 8 * 0.1
