"""A dataset in a results folder: rows as `explain` gives them, kills anywhere, processes, damaged files."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from toy import damaged

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from interp import masks, recipes, runs, runs_job  # noqa: E402
from interp.__main__ import main  # noqa: E402
from interp.data import VideoError, open_dataset, to_clip  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.masks import best_windows  # noqa: E402
from interp.models import I3D, weights  # noqa: E402
from interp.windows import penalty  # noqa: E402

torch.set_num_threads(1)
explain = importlib.import_module("interp.explain").explain
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=4)
DAMAGED = 5  # the clip of this place has lost most of its file
PYTHON = {"env": os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}, "text": True}


class Small(torch.nn.Module):
    """A convolution and what moves; deterministic, and in milliseconds."""

    gradcam_layer = "layer"
    config = {"model": "small"}

    def __init__(self, classes):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Conv3d(3, 4, (3, 5, 5), stride=(1, 4, 4), padding=(1, 0, 0))
            self.head = torch.nn.Linear(8, len(classes))
        self.classes = list(reversed(classes))  # another order than the dataset's

    def forward(self, clips):
        maps = self.layer(clips).relu().mean((3, 4))  # (B, 4, T)
        return 9 * self.head(torch.cat([maps.mean(2), 9 * maps.diff(dim=2).abs().mean(2)], 1))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = generate(tmp_path_factory.mktemp("motion"), 0, 12, size=32, workers=1, progress=False)
    return damaged(root, DAMAGED)


@pytest.fixture(scope="module")
def dataset(root):
    return open_dataset("motion", root, "validation", 8, 32)


@pytest.fixture(scope="module")
def model(dataset):
    return Small(dataset.classes)


@pytest.fixture(scope="module")
def whole(dataset, model, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    runs.write(folder, model, dataset, SHORT, shard_size=5)
    return folder


@pytest.fixture(scope="module")
def checkpoint(dataset, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    record = {"recipe": {"name": "none", "num_frames": 8, "size": [32, 32]}}
    weights.save(path, I3D(12, width=0.125).eval(), dataset.classes, record)
    return path


def assert_same(first, second):
    """All columns but the time are equal to the bit, and so are the maps and what made them."""
    one, two = (runs.read(folder) for folder in (first, second))
    assert one.finished and two.finished
    same = [part.table.drop(columns="seconds").to_dict("list") for part in (one, two)]
    np.testing.assert_equal(*same)
    for i in range(len(one.maps)):
        np.testing.assert_array_equal(one.maps[i], two.maps[i])
    assert {**one.run, "chunk": 0} == {**two.run, "chunk": 0}


def test_rows_are_what_explain_gives(dataset, model, whole):
    found = runs.read(whole)
    table = found.table
    assert found.finished and table["id"].tolist() == dataset.ids and len(found.maps) == 12
    indices = [i for i in range(12) if i != DAMAGED]
    clips = torch.stack([to_clip(dataset[i][0]) for i in indices])
    targets = [11 - dataset.samples[i].label for i in indices]
    records = explain(model, clips, targets, SHORT, ids=[dataset.ids[i] for i in indices])
    best = best_windows(model, clips, "freeze", [record.guess for record in records], SHORT)
    for i, record, target, cost, window in zip(
        indices, records, targets, best.losses, best.masks, strict=True
    ):
        row = table.loc[i]
        assert (row["guess"], row["target"], row["P"]) == (record.guess, target, record.P)
        assert row["label"] == i % 12 and row["label_name"] == dataset.classes[i % 12]
        assert model.classes[target] == row["label_name"]
        for key in ("OS", "FS", "RS"):
            assert row[key] == pytest.approx(getattr(record, key), abs=1e-5)
        assert np.isnan(row["CS"]) if record.CS is None else row["CS"] == pytest.approx(record.CS, abs=1e-5)
        np.testing.assert_allclose(row["mask"], record.mask, atol=1e-4)
        assert row["steps"] == 4 and row["first_loss"] == pytest.approx(float(record.losses[0]), abs=1e-5)
        assert row["last_loss"] == pytest.approx(float(record.losses[-1]), abs=1e-4)
        loss = float(penalty(record.mask[None], SHORT)) + record.FS
        assert row["loss"] == pytest.approx(loss, abs=1e-4)
        assert row["window_loss"] == pytest.approx(float(cost), abs=1e-5)
        assert row["regret"] == pytest.approx(loss - float(cost), abs=1e-4)
        assert row["window_last"] - row["window_first"] + 1 == window.sum()
        assert found.maps[i].dtype == np.float16
        np.testing.assert_allclose(found.maps[i], record.map, atol=2e-3)
        assert row["seconds"] > 0
    text = (whole / "run.json").read_text()
    assert found.run["recipe"]["name"] == "short" and "torch" in found.run["versions"] and "date" not in text
    assert len(found.run["model"]["weights"]) == len(found.run["data"]["files"]) == 64


def test_a_long_clip_is_certified_by_the_windows_between_its_parts(dataset, model, tmp_path):
    few = dataset.subset([0, 1, 2])
    found = runs.write(tmp_path / "parts", model, few, SHORT, parts=4)
    assert found.run["search"]["parts"] == 4
    every = runs.write(tmp_path / "every", model, few, SHORT)
    assert "parts" not in every.run["search"]
    clips = torch.stack([to_clip(few[i][0]) for i in range(3)])
    best = best_windows(model, clips, "freeze", found.table["explained"].tolist(), SHORT, parts=4)
    assert found.table["window_loss"].tolist() == pytest.approx(best.losses.tolist(), abs=1e-6)
    assert (found.table["window_loss"] >= every.table["window_loss"] - 1e-6).all()
    assert found.table["loss"].tolist() == pytest.approx(every.table["loss"].tolist(), abs=1e-6)  # the same search
    with pytest.raises(ValueError, match="search.parts was 4, is None"):
        runs.write(tmp_path / "parts", model, few, SHORT)  # another run
    with pytest.raises(ValueError, match="which windows certify"):
        runs.write(tmp_path / "none", model, few, SHORT, parts=4, certify=False)
    with pytest.raises(ValueError, match="parts is 0"):
        runs.write(tmp_path / "none", model, few, SHORT, parts=0)


def test_the_start_from_the_best_window_scores_the_windows_once(dataset, model, tmp_path, monkeypatch):
    few, options = dataset.subset([0, 1, 2]), {"start": "best-window", "stop": True}
    long = recipes.MaskRecipe("long", lambda1=0.01, lambda2=0.02, iterations=50)
    once = runs.write(tmp_path / "once", model, few, long, **options)
    assert once.run["search"]["start"] == "best-window"
    told = once.table
    monkeypatch.setattr(runs_job, "best_windows", lambda *_, **__: pytest.fail("windows scored"))
    alone = runs.write(tmp_path / "alone", model, few, long, **options, certify=False).table
    for key in ("guess", "OS", "FS", "RS", "steps", "first_loss", "last_loss", "loss", "frozen"):
        assert told[key].tolist() == alone[key].tolist(), key  # to the bit
    np.testing.assert_array_equal(np.stack(told["mask"]), np.stack(alone["mask"]))
    monkeypatch.setattr(masks, "score_windows", lambda *_, **__: pytest.fail("windows scored twice"))
    monkeypatch.setattr(runs_job, "best_windows", best_windows)
    again = runs.write(tmp_path / "again", model, few, long, **options).table
    np.testing.assert_array_equal(np.stack(told["mask"]), np.stack(again["mask"]))
    clips = torch.stack([to_clip(few[i][0]) for i in range(3)])
    still = model(clips[:, :, :1].expand_as(clips)).softmax(1).gather(1, torch.tensor(told["explained"])[:, None])
    np.testing.assert_allclose(told["frozen"], still[:, 0].detach(), atol=1e-6)


def test_a_damaged_file_is_a_row_and_strict_stops(dataset, model, whole, tmp_path):
    found = runs.read(whole)
    row = found.table.loc[DAMAGED]
    assert dataset.samples[DAMAGED].path.name in row["error"] and row["id"] == dataset.ids[DAMAGED]
    assert found.maps[DAMAGED] is None and row[["guess", "OS", "mask", "regret"]].isna().all()
    assert found.table["error"].notna().sum() == 1
    with pytest.raises(VideoError):
        runs.write(tmp_path / "strict", model, dataset, SHORT, shard_size=5, strict=True)
    only = dataset.subset([DAMAGED])
    assert runs.write(tmp_path / "none", model, only, SHORT).table["error"].notna().all()


def test_a_score_that_is_not_finite_is_a_row(dataset, model, tmp_path):
    bright = float(to_clip(dataset[2][0])[0, 0, 0, 0])

    class Brittle(Small):
        def forward(self, clips):
            return super().forward(clips) * torch.where(clips[:, 0, 0, 0, 0] == bright, torch.nan, 1)[:, None]

    table = runs.write(tmp_path / "run", Brittle(dataset.classes), dataset, SHORT).table
    assert table.index[table["error"].notna()].tolist() == [2, DAMAGED]
    assert f"not finite for clip {dataset.ids[2]}" in table.loc[2, "error"]


@pytest.mark.parametrize("options", [{"shard_size": 1}, {"shard_size": 12, "chunk": 3}])
def test_rows_depend_neither_on_shards_nor_on_chunks(dataset, model, whole, tmp_path, options):
    one, two = runs.read(whole).table, runs.write(tmp_path / "run", model, dataset, SHORT, **options).table
    for key in ("OS", "FS", "RS", "CS", "loss", "window_loss"):
        np.testing.assert_allclose(one[key], two[key], atol=1e-4)
    assert one["guess"].equals(two["guess"]) and one["window_first"].equals(two["window_first"])


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_before_and_after_every_file_and_continued(dataset, model, tmp_path, monkeypatch):
    events, replace, few = {"left": 0}, os.replace, dataset.subset([3, 4, DAMAGED, 6])
    whole = tmp_path / "whole"
    runs.write(whole, model, few, SHORT, shard_size=2)

    def deadly(*arguments):
        for moment in ("before", "after"):
            events["left"] -= 1
            if events["left"] == 0:
                raise Killed
            if moment == "before":
                replace(*arguments)

    monkeypatch.setattr(os, "replace", deadly)
    places = 0
    while True:
        places += 1
        events["left"], folder = places, tmp_path / str(places)
        try:
            runs.write(folder, model, few, SHORT, shard_size=2)
            break
        except Killed:
            runs.write(folder, model, few, SHORT, shard_size=2)
        assert_same(folder, whole)
        kept = {path.name for path in folder.iterdir()} | {path.suffix for path in folder.glob("shards/*")}
        assert kept == {"run.json", "results.parquet", "shards", ".parquet", ".npy"}
        shutil.rmtree(folder)
    assert places == 2 * 6 + 1  # run.json, two files for each of two shards, results.parquet


def command(root, checkpoint, out, *options):
    return ["explain", "--data", "motion", "--root", str(root), "--model", str(checkpoint),
            "--out", str(out), "--iterations", "4", "--shard-size", "2", "--chunk", "2",
            "--device", "cpu", *options]  # fmt: skip


@pytest.fixture(scope="module")
def reference(root, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    assert main(command(root, checkpoint, folder)) == 0
    return folder


def test_sigkill_in_the_middle_and_continued(root, checkpoint, reference, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-m", "interp", *command(root, checkpoint, out)], **PYTHON)
    limit = time.monotonic() + 120
    while not list(out.glob("shards/*.parquet")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    with pytest.warns(UserWarning, match="of 12 clips are in"):
        assert 0 < len(runs.read(out).table) < 12
    with pytest.raises(ValueError, match="finished first"):
        runs.merge(out)
    assert main(command(root, checkpoint, out)) == 0
    assert_same(out, reference)


WORKER = """
import os, signal, sys, pathlib, torch
from interp import runs_table
from interp.__main__ import main
torch.set_num_threads(1)
marks, save = pathlib.Path(sys.argv[1]), runs_table.Folder.save
rank, first = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
def marked(folder, shard, *parts):
    (marks / f"{os.getpid()}-{shard}").touch()
    if first and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)  # its clips are in flight
    save(folder, shard, *parts)
runs_table.Folder.save = marked
sys.exit(main(sys.argv[2:]))
"""


def test_two_processes_of_which_one_is_killed_give_the_rows_of_one(root, checkpoint, reference, tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "marks").mkdir()
    out = tmp_path / "run"
    launcher = "-m torch.distributed.run --standalone --nproc_per_node=2 --max-restarts=1".split()
    told = subprocess.run([sys.executable, *launcher, tmp_path / "worker.py", tmp_path / "marks",
                           *command(root, checkpoint, out)], capture_output=True, timeout=300, **PYTHON)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("11 of 12 clips explained") == 1
    shards = [int(path.name.split("-")[1]) for path in (tmp_path / "marks").iterdir()]
    assert set(shards) == set(range(6)) and 1 <= len(shards) - 6 <= 2  # again: only what was in flight
    assert_same(out, reference)


def test_a_folder_of_another_run_is_refused(dataset, model, whole, tmp_path):
    def again(folder=whole, net=model, data=dataset, recipe=SHORT, **options):
        runs.write(folder, net, data, recipe, **{"shard_size": 5} | options)

    before = {path: path.stat().st_mtime_ns for path in whole.glob("shards/*")}
    with pytest.raises(ValueError, match="recipe.lambda1 was 0.01, is 0.5"):
        again(recipe=recipes.MaskRecipe("short", lambda1=0.5, lambda2=0.02, iterations=4))
    other = Small(dataset.classes)
    with torch.no_grad():
        other.head.bias += 1
    with pytest.raises(ValueError, match="model.weights was"):
        again(net=other)
    with pytest.raises(ValueError, match="data.clips was 12, is 11"):
        again(data=dataset.subset(range(11)))
    for options, words in (({"stop": True}, "search.stop"), ({"shard_size": 3}, "shards.size"),
                           ({"perturbation": "reverse"}, "'freeze', is 'reverse'")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            again(**options)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="notes.txt and no run.json"):
        again(folder=tmp_path)
    with pytest.raises(ValueError, match="no run.json"):
        runs.read(tmp_path)
    again()  # the same is not refused, and nothing is made again
    assert {path: path.stat().st_mtime_ns for path in whole.glob("shards/*")} == before


def test_other_versions_continue_and_are_told(dataset, model, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    run = json.loads((whole / "run.json").read_text())
    first = run["versions"] | {"torch": "1.0"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run | {"versions": first}))
    for _ in range(2):
        found = runs.write(tmp_path / "run", model, dataset, SHORT, shard_size=5)
        assert found.run["versions"] == first and found.run["continued_with"] == [run["versions"]]


def test_reverse_stop_random_starts_and_a_limit(dataset, model, tmp_path):
    long = recipes.MaskRecipe("long", lambda1=0.01, lambda2=0.02, iterations=60)
    options = {"perturbation": "reverse", "start": "random", "stop": True, "limit": 4, "maps": False}
    one = runs.write(tmp_path / "one", model, dataset, long, **options, seed=1)
    assert len(one.table) == 4 and one.table["label"].nunique() == 4  # every class at most once
    assert (one.table["steps"].dropna() <= 60).all() and one.maps[0] is None
    assert not list(tmp_path.glob("one/shards/*.npy"))
    two = runs.write(tmp_path / "two", model, dataset, long, **options, seed=2)
    assert one.table["id"].tolist() != two.table["id"].tolist()
    options |= {"limit": 7, "certify": False}
    more = runs.write(tmp_path / "more", model, dataset, long, **options, seed=1)
    assert set(one.table["id"]) < set(more.table["id"]) and more.table["regret"].isna().all()
    shared = more.table.set_index("id").loc[one.table["id"]]
    np.testing.assert_allclose(shared["first_loss"], one.table["first_loss"], atol=1e-4)
    shuffled = runs.write(tmp_path / "shuffle", model, dataset, SHORT, perturbation="shuffle", limit=2)
    table = shuffled.table
    np.testing.assert_allclose(table["loss"] - table["window_loss"], table["regret"])


def test_interrupted_command_says_how_to_continue(root, checkpoint, tmp_path, capsys, monkeypatch):
    save, out = runs.Folder.save, tmp_path / "run"

    def interrupted(folder, shard, *parts):
        save(folder, shard, *parts)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Folder, "save", interrupted)
    assert main(command(root, checkpoint, out, "--limit", "3")) == 130
    told = capsys.readouterr()
    assert told.err.strip() == f"interrupted: 2 of 3 clips are in {out}; the same command continues"
    monkeypatch.undo()
    assert main(command(root, checkpoint, out, "--limit", "3")) == 0
    assert "of 3 clips explained, in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give video files or --data"),
        (["a.mp4", "--data", "motion"], "one of the two"),
        (["--data", "motion"], "needs --out"),
        (["--data", "motion", "--out", "run"], "needs --root"),
        (["--data", "motion", "--out", "run", "--root", "nowhere"], "one --model"),
        (["--data", "motion", "--out", "run", "--root", "no", "--model", "CHECKPOINT"], "no such folder"),
    ],
)
def test_command_tells_wrong_options_in_one_line(checkpoint, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *(str(checkpoint) if one == "CHECKPOINT" else one for one in options)]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1 and not (tmp_path / "run").exists()


def test_missing_libraries_name_the_extra(dataset, model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"interp\[results\]"):
        runs.write(tmp_path / "run", model, dataset, SHORT)
    assert not (tmp_path / "run").exists()
