"""Every layout, written small, and wrong in each way a user's may be; the real files where they are here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from test_video import decoded, drawn, write  # noqa: E402

from interp.data import DataError, Sample, VideoDataset, even_indices, open_dataset, to_clip  # noqa: E402
from interp.data.dataset import list_left_out  # noqa: E402
from interp.data.folder import open_folder  # noqa: E402
from interp.data.kth import read_sequences  # noqa: E402
from interp.data.something import open_something, read_classes, reversals  # noqa: E402

REAL = Path(__file__).parents[2] / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="../shared is not here")

UP, DOWN, RIGHT, LEFT, PICK, CAMERA, HOLD, PLUG, DROP = NAMES = [
    "Moving something up", "Moving something down", "Pushing something from left to right",
    "Pushing something from right to left", "Picking something up", "Turning the camera left while filming something",
    "Holding something", "Plugging something in but pulling it right out", "Dropping something"]  # fmt: skip
CLASSES = {name: str(index) for index, name in enumerate(NAMES)}


def something(root, folder="20bn-something-something-v2", labels="labels"):
    """Three clips to train, one to validate, one to test."""
    videos, labels = root / folder, root / labels
    videos.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    for number in (1, 2, 3, 4, 5):
        write(videos / f"{number}.webm", "libvpx-vp9", drawn(8 + number, 48, 64), deadline="realtime")
    entry = {"label": "moving a cup <up>", "template": "Moving [something] up", "placeholders": ["a cup"]}
    save(labels / "labels.json", CLASSES)
    save(labels / "train.json", [{"id": "1", **entry}, {"id": "2", "template": HOLD}, {"id": "3", **entry}])
    save(labels / "validation.json", [{"id": "4", "template": "Pushing [something] from left to right"}])
    save(labels / "test.json", [{"id": "5"}])
    return labels


def save(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_something(tmp_path):
    something(tmp_path)
    train = open_dataset("something", tmp_path, "train", 4, (24, 32))
    assert train.ids == ["1", "2", "3"] and train.classes == NAMES and train.labels.tolist() == [0, 6, 0]
    assert train.samples[0].meta == {"label": "moving a cup <up>", "placeholders": ["a cup"]}
    part = train.subset([1])
    assert part.ids == ["2"] and part.mirror == train.mirror and part.size == train.size
    frames, label, index = train[1]
    assert frames.shape == (4, 24, 32, 3) and frames.dtype == np.uint8 and (label, index) == (6, 1)
    whole = decoded(tmp_path / "20bn-something-something-v2" / "4.webm")
    native = open_dataset("something", tmp_path, "validation", 4)
    np.testing.assert_array_equal(native[0][0], whole[even_indices(12, 4)])
    test = open_dataset("something", tmp_path, "test", 4, 16)
    assert test.samples[0].label is None and test[-1][1:] == (-1, 0) and test.labels.tolist() == [-1]


def test_something_as_people_keep_it(tmp_path):
    """Other folders, re-encoded clips, the label files' names of the release."""
    labels = something(tmp_path / "Grüße & <Co>", folder="videos", labels=".")
    for path in [*labels.glob("*.json")]:
        path.rename(path.with_name(f"something-something-v2-{path.name}"))
    write(labels / "videos" / "3.mp4", "libx264", drawn(11, 48, 64))
    (labels / "videos" / "3.webm").unlink()
    assert open_something(tmp_path / "Grüße & <Co>", "train", 4, 16)[2][0].shape == (4, 16, 16, 3)


ONE = {"id": "1", "template": HOLD}
WRONG = [
    ("labels", "{", "is not JSON: .*line 1 column 2"),
    ("labels", "[]", "expected an object"),
    ("labels", '{"a": "0", "a": "1"}', "the entry 'a' occurs twice"),
    ("labels", {"a": "0", "b": 0}, "the entries 'a' and 'b' have the same index 0"),
    ("labels", {"a": "0", "b": "2"}, "none with index 1"),
    ("labels", {"a": "zero"}, "the entry 'a' has index 'zero'"),
    ("labels", {"a": True}, "the entry 'a' has index True"),
    ("train", {}, "expected a list"),
    ("train", [], "expected a list of clips with at least one"),
    ("train", ["1"], "entry 0 has no id"),
    ("train", [{"id": "1"}], "the clip '1' has the template None, no class"),
    ("train", [ONE | {"template": "Eating [something]"}], "the template 'Eating .something.', no class of"),
    ("train", [ONE | {"template": 5}], "the clip '1' has the template 5, no class"),
    ("train", [ONE, ONE], "the id '1' occurs twice .entry 1"),
    ("train", [ONE | {"id": "../1"}], "which is no file name"),
    ("train", [ONE, ONE | {"id": "9"}], "1 of 2 listed videos are absent, the first is .*9.webm"),
    ("truth", {"2": {}}, "says nothing of the clip '1'"),
]


@pytest.mark.parametrize("name, content, reason", WRONG)
def test_something_wrong_in_one_place(tmp_path, name, content, reason):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "1.webm").touch()
    for file, good in {"labels": CLASSES, "train": [ONE], "truth": {"1": {}}}.items():
        save(tmp_path / f"{file}.json", good)
    open_something(tmp_path, truth=True)
    truth = name == "truth"
    save(tmp_path / f"{name}.json", content)
    with pytest.raises(DataError, match=reason) as caught:
        open_something(tmp_path, truth=truth, on_error="raise")
    assert caught.value.path == (tmp_path if "absent" in reason else tmp_path / f"{name}.json")


def test_something_not_there(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_something(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no folder of videos"):
        open_something(tmp_path)
    (tmp_path / "videos").mkdir()
    with pytest.raises(DataError, match="labels.json: there is no such file"):
        open_something(tmp_path)
    (tmp_path / "labels.json").write_bytes(b'{"caf\xe9": "0"}')
    with pytest.raises(DataError, match="is not JSON: .utf-8. codec"):
        open_something(tmp_path)
    with pytest.raises(ValueError, match="expected split to be one of train, validation, test, got 'val'"):
        open_something(tmp_path, "val")
    with pytest.raises(ValueError, match="got 'ucf'"):
        open_dataset("ucf", tmp_path)


def test_directed_classes_are_never_mirrored_onto_themselves():
    mirror, flip = reversals(NAMES)
    assert mirror == {n: n for n in (UP, DOWN, PICK, HOLD, PLUG, DROP)} | {RIGHT: LEFT, LEFT: RIGHT}  # no CAMERA right
    assert flip == {n: n for n in (RIGHT, LEFT, CAMERA, HOLD, PLUG)} | {UP: DOWN, DOWN: UP}  # not what has weight
    dataset = VideoDataset([], NAMES, mirror=mirror, flip=flip)
    assert dataset.mirror[2] == 3 and dataset.mirror[3] == 2 and 5 not in dataset.mirror and dataset.flip[0] == 1
    assert VideoDataset([], NAMES).mirror == {} == VideoDataset([], NAMES).flip


def test_motion_has_the_truth(tmp_path):
    save(something(tmp_path) / "truth.json", {"1": {"fps": 12}, "2": {}, "3": {}})
    dataset = open_dataset("motion", tmp_path, size=16)
    assert dataset.samples[0].meta["truth"] == {"fps": 12} and dataset.num_frames == 16
    assert dataset.mirror == {0: 0, 1: 1, 2: 3, 3: 2, 4: 4, 6: 6, 7: 7, 8: 8}
    assert dataset.flip == {0: 1, 1: 0, 2: 2, 3: 3, 5: 5, 6: 6, 7: 7, 8: 8}  # what is drawn has no weight


KTH_LIST = """What this file lists, in words.\r
\r
person01_boxing_d1\t\tframes\t1-8, 5-20, 31-36\r
person01_walking_d2    frames 3-4,10-40\r
\r
person02_running_d4 \t*missing*\r
person17_boxing_d1\t\tframes\t1-10\r
person17_jogging_d3\t\tframes\t1-12, 13-20\r
"""


def test_kth(tmp_path):
    (tmp_path / "boxing").mkdir()
    with pytest.raises(DataError, match="00sequences.txt: cannot be read .No such file"):
        open_dataset("kth", tmp_path)
    (tmp_path / "00sequences.txt").write_bytes(KTH_LIST.encode())
    path = write(tmp_path / "boxing" / "person01_boxing_d1_uncomp.avi", "mpeg4", drawn(36, 48, 64))
    write(tmp_path / "person17_boxing_d1_uncomp.avi", "mpeg4", drawn(10, 48, 64))
    with pytest.warns(UserWarning, match="1 of 2 listed videos are absent.*3 of 5 clips remain") as caught:
        train = open_dataset("kth", tmp_path, num_frames=8)
    assert len(caught) == 1
    assert train.ids == ["person01_boxing_d1_1", "person01_boxing_d1_2", "person01_boxing_d1_3"]
    assert [(s.start, s.end) for s in train.samples] == [(0, 8), (4, 20), (30, 36)]
    meta = {"subject": 1, "action": "boxing", "setting": 1, "repetition": 2, "short": "last"}
    assert train.samples[1].meta == meta and list(train.missing.values()) == [2]
    whole = decoded(path)
    # Counted by hand: frames start + ceil(i * L / 8) - 1 of the list, numbered from 1.
    np.testing.assert_array_equal(train[0][0], whole[0:8])
    np.testing.assert_array_equal(train[1][0], whole[4:20:2])
    np.testing.assert_array_equal(train[2][0], whole[[30, 31, 32, 33, 34, 35, 35, 35]])
    with pytest.warns(UserWarning):
        validation = open_dataset("kth", tmp_path, "validation")
    assert validation.num_frames == 32 and validation.ids == ["person17_boxing_d1_1"]
    assert train.mirror == {i: i for i in range(6)} and train.flip == {}
    (tmp_path / path.name).touch()
    with pytest.raises(DataError, match="'person01_boxing_d1' is there twice"):
        open_dataset("kth", tmp_path)


@pytest.mark.parametrize("line, reason", [
    ("person01_boxing_d1 frames 1-95", "'person01_boxing_d1' occurs twice .*line 9"),
    ("person03_boxing_d1 frames 95-1", "line 9, 'person03_boxing_d1': no frames lie in 95-1"),
    ("person03_boxing_d1 frames 0-9", "no frames lie in 0-9"),
    ("person03_boxing_d1 frames 1-", "line 9 is not"),
    ("person03_boxing_d5 frames 1-9", "line 9 is not"),
    ("person03_dancing_d1 frames 1-9", "line 9 has an unknown action"),
    ("person26_boxing_d1 frames 1-9", "line 9 has an unknown action or subject"),
])  # fmt: skip
def test_kth_wrong_line(tmp_path, line, reason):
    path = tmp_path / "00sequences.txt"
    path.write_text(KTH_LIST + line + "\n", newline="")
    with pytest.raises(DataError, match=reason) as caught:
        read_sequences(path)
    assert caught.value.path == path


def test_folder(tmp_path):
    for name in ("jump up", "Grüße <b>"):
        (tmp_path / name).mkdir()
        for actor in ("ada_1", "bo_1", "bo_2"):
            write(tmp_path / name / f"{actor}.avi", "mpeg4", drawn(6, 48, 64))
    (tmp_path / "index.csv").touch()
    (tmp_path / "jump up" / "notes.txt").touch()
    (tmp_path / ".hidden").mkdir()
    train, validation = (open_dataset("folder", tmp_path, split, 4, 16, split_pattern="bo_")
                         for split in ("train", "validation"))  # fmt: skip
    assert train.classes == ["Grüße <b>", "jump up"] and train.ids == ["Grüße <b>/ada_1.avi", "jump up/ada_1.avi"]
    assert validation.labels.tolist() == [0, 0, 1, 1] and validation[3][0].shape == (4, 16, 16, 3)
    assert train.mirror == {} and len(open_folder(tmp_path, "all")) == 6
    with pytest.raises(DataError, match="no video is left for train"):
        open_folder(tmp_path, split_pattern=".*")
    with pytest.raises(ValueError, match="is no regular expression"):
        open_folder(tmp_path, split_pattern="(")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        open_folder(tmp_path / "empty")
    (tmp_path / "empty" / "train").mkdir()
    with pytest.raises(DataError, match="a folder for each split"):
        open_folder(tmp_path / "empty")


def test_folder_without_a_pattern_splits_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(60):
        (tmp_path / "a" / f"{number}.mp4").touch()
    train, validation = set(open_folder(tmp_path).ids), set(open_folder(tmp_path, "validation").ids)
    assert not train & validation and len(train | validation) == 60 and 10 <= len(validation) <= 30
    (tmp_path / "a" / "5.mp4").unlink()
    assert set(open_folder(tmp_path).ids) == train - {"a/5.mp4"}


def test_folder_keeps_groups_on_one_side(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(90):
        (tmp_path / "a" / f"actor{number // 3}_{number}.mp4").touch()
    parts = [{name.split("_")[0] for name in open_folder(tmp_path, split, split_groups="(actor[0-9]+)_").ids}
             for split in ("train", "validation")]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 30 and 5 <= len(parts[1]) <= 15
    with pytest.raises(DataError, match="no group by the pattern"):
        open_folder(tmp_path, split_groups="scene")
    with pytest.raises(ValueError, match="got both"):
        open_folder(tmp_path, split_groups="a", split_pattern="b")


def test_kinetics(tmp_path):
    (tmp_path / "train" / "abseiling").mkdir(parents=True)
    for name in ("train/abseiling/abc_000010_000020.mp4", "train/-x_y_000000_000010.mp4", "plain.mp4"):
        (tmp_path / name).touch()
    head = "label,youtube_id,time_start,time_end,split\n"
    (tmp_path / "train.csv").write_text(
        head + "zumba,-x_y,0,10,train\nabseiling,abc,10,20,train\nzumba,plain,3,13,train\nzumba,lost,1,11,train\n")
    (tmp_path / "val.csv").write_text(head + "juggling,abc,10,20,val\n")
    with pytest.warns(UserWarning, match="1 of 4 listed videos are absent"):
        train = open_dataset("kinetics", tmp_path, "train")
    assert train.classes == ["abseiling", "juggling", "zumba"] and train.labels.tolist() == [2, 0, 2]
    assert train.ids == ["-x_y_000000_000010", "abc_000010_000020", "plain_000003_000013"]
    assert train.samples[1].path == tmp_path / "train/abseiling/abc_000010_000020.mp4"
    assert open_dataset("kinetics", tmp_path, "validation").labels.tolist() == [1]
    with pytest.raises(DataError, match="test.csv: there is no such file"):
        open_dataset("kinetics", tmp_path, "test")
    (tmp_path / "val.csv").write_text("label,youtube_id\na,b\n")
    with pytest.raises(DataError, match="line 2: expected the columns label, youtube_id"):
        open_dataset("kinetics", tmp_path, "validation")


def test_ucf101(tmp_path):
    lists, videos = tmp_path / "ucfTrainTestlist", tmp_path / "UCF-101" / "HandstandPushups"
    lists.mkdir()
    videos.mkdir(parents=True)
    for name in ("v_HandStandPushups_g01_c01", "v_HandStandPushups_g08_c01"):
        (videos / f"{name}.avi").touch()
    (lists / "classInd.txt").write_text("1 Biking\n2 HandstandPushups\n")
    (lists / "testlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g01_c01.avi\r\n")
    (lists / "trainlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g08_c01.avi 2\n")
    for split, name in (("train", "v_HandStandPushups_g08_c01"), ("validation", "v_HandStandPushups_g01_c01")):
        dataset = open_dataset("ucf101", tmp_path, split)
        assert dataset.ids == [name] and dataset.labels.tolist() == [1] and dataset.samples[0].path.exists()
    with pytest.raises(DataError, match="no trainlist02.txt"):
        open_dataset("ucf101", tmp_path, fold=2)
    (lists / "trainlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g01_c07.avi 2\n")
    with pytest.raises(DataError, match="'v_HandStandPushups_g01' is in both lists"):
        open_dataset("ucf101", tmp_path, "train")
    (lists / "trainlist01.txt").write_text("Diving/v_Diving_g01_c07.avi 2\n")
    with pytest.raises(DataError, match="line 1 names no video of a known class"):
        open_dataset("ucf101", tmp_path, "train")


def test_list_left_out(tmp_path):
    sentence = list_left_out(tmp_path / "list", 5, {"a": "is\nempty"}, {"b.webm": 2})
    assert sentence == f"3 of 7 clips are left out (1 cannot be read, 2 have no file): {tmp_path / 'list'}"
    assert (tmp_path / "list").read_text() == "a\tis empty\nb.webm\tthere is no such file (2 clips)\n"


def test_dataset_refuses_what_cannot_be(tmp_path):
    sample = Sample("a", tmp_path / "a.mp4", 1)
    with pytest.raises(ValueError, match="got 'a' twice"):
        VideoDataset([sample, sample], ["x"])
    with pytest.raises(ValueError, match="expected labels below 1, got 'a': 1"):
        VideoDataset([sample], ["x"])


def test_to_clip():
    frames = torch.arange(2 * 2 * 2 * 3 * 3).reshape(2, 2, 2, 3, 3).to(torch.uint8)
    clips = to_clip(frames)
    assert clips.shape == (2, 3, 2, 2, 3) and clips.dtype == torch.float32 and clips.is_contiguous()
    assert clips[1, 2, 0, 1, 2].item() == pytest.approx(frames[1, 0, 1, 2, 2].item() / 255)
    torch.testing.assert_close(to_clip(frames[0].numpy()), clips[0])
    for bad in (frames.float(), frames[..., :2], frames[0, 0]):
        with pytest.raises(ValueError, match="expected uint8"):
            to_clip(bad)


def all_read(dataset):
    return all(len(dataset[i][0]) == dataset.num_frames for i in range(len(dataset)))


@pytest.mark.real
@needs_real
def test_real_something():
    train, validation = (open_dataset("something", REAL / "something", split, 16, 64)
                         for split in ("train", "validation"))  # fmt: skip
    assert len(train.classes) == 174 and len(train) + len(validation) == 45 and not train.missing
    assert all_read(train) and all_read(validation)
    mirror, flip = reversals(train.classes)
    exchanged = sorted(name for name in train.classes if mirror[name] != name)
    assert len(exchanged) == 6 and all("left" in name or "right" in name for name in exchanged)
    camera = "Turning the camera {} while filming something".format
    assert sorted(name for name, other in flip.items() if name != other) == [
        DOWN, UP, camera("downwards"), camera("upwards")]  # fmt: skip
    classes = read_classes(REAL / "something" / "labels" / "labels.json")
    assert classes[167].startswith("Turning the camera right")


@pytest.mark.real
@needs_real
def test_real_kth():
    entries = read_sequences(REAL / "kth" / "00sequences.txt")
    assert len(entries) == 600 and sum(bool(ranges) for *_, ranges in entries) == 599
    assert sum(len(ranges) for *_, ranges in entries) == 2391
    assert len({subject for _, subject, *_ in entries}) == 25
    with pytest.warns(UserWarning, match="379 of 383 listed videos are absent"):
        train = open_dataset("kth", REAL / "kth", "train", size=(120, 160))
    assert len(train) == 16 and train[0][0].shape == (32, 120, 160, 3) and all_read(train)
    with pytest.raises(DataError, match="216 of 216"):
        open_dataset("kth", REAL / "kth", "validation")


@pytest.mark.real
@needs_real
def test_real_weizmann():
    train, validation = (open_dataset("folder", REAL / "weizmann", split, 16, 64, split_pattern="(lyova|moshe|shahar)_")
                         for split in ("train", "validation"))  # fmt: skip
    assert (len(train), len(validation), len(train.classes)) == (60, 30, 10)
    assert np.bincount(validation.labels).tolist() == [3] * 10 and all_read(validation)
