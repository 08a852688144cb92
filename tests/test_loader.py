"""ClipLoader: the same clips from memory, from this process and from workers; clips that cannot be read."""

import numpy as np
import pytest

pytest.importorskip("av")

from test_datasets import something  # noqa: E402

from interp.data import VideoError  # noqa: E402
from interp.data.loader import ClipLoader  # noqa: E402
from interp.data.something import open_something  # noqa: E402


@pytest.fixture
def dataset(tmp_path):
    something(tmp_path)
    return open_something(tmp_path, "train", 4, 16)


@pytest.mark.parametrize("keep, workers", [("none", 0), ("none", 1), ("memory", 0), ("auto", 1)])
def test_same_clips_in_the_order_asked_for(dataset, keep, workers):
    loader = ClipLoader(dataset, "cpu", keep=keep, workers=workers)
    (frames, labels, indices), (last, *_) = loader([[2, 0], [1]])
    assert indices.tolist() == [2, 0] and labels.tolist() == [0, 0] and len(loader) == 3
    np.testing.assert_array_equal(frames.numpy(), np.stack([dataset[2][0], dataset[0][0]]))
    np.testing.assert_array_equal(last[0].numpy(), dataset[1][0])
    assert len(loader) == 3 and len(loader.classes) == 9 and loader.unreadable == {}


@pytest.mark.parametrize("keep, workers", [("none", 1), ("memory", 0)])
def test_unreadable_clips(dataset, keep, workers):
    dataset.samples[1].path.write_bytes(b"")
    loader = ClipLoader(dataset, "cpu", keep=keep, workers=workers)
    ((frames, labels, _),) = loader([[0, 1, 2]])
    assert labels.tolist() == [0, -1, 0] and not frames[1].any() and frames[0].any()
    assert loader.unreadable == {1: f"{dataset.samples[1].path}: is empty"}
    with pytest.raises(VideoError, match="2.webm: is empty"):
        [*ClipLoader(dataset, "cpu", keep=keep, workers=workers, on_error="raise")([[0, 1, 2]])]


def test_refuses(dataset, monkeypatch):
    for options, words in (({"keep": "disk"}, "keep to be one of auto, memory, none, got 'disk'"),
                           ({"on_error": "stop"}, "on_error")):  # fmt: skip
        with pytest.raises(ValueError, match=f"expected {words}"):
            ClipLoader(dataset, "cpu", **options)
    with pytest.raises(ValueError, match="empty"):
        ClipLoader(dataset.subset([]), "cpu")
    monkeypatch.setattr(type(dataset), "__getitem__", lambda self, i: (np.zeros((1, 2, 2 + i, 3), np.uint8), 0, i))
    with pytest.raises(ValueError, match="clip 2 is .1, 2, 3, 3., others are .1, 2, 2, 3.; give a size"):
        ClipLoader(dataset, "cpu")
