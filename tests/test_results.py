"""A dataset in a results folder: rows as `explain` gives them, kills, processes, damaged files, exact masks."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from toy import damaged

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from interp import recipes  # noqa: E402
from interp.core.explanation import explain  # noqa: E402
from interp.core.gradcam import grad_cam, normalise  # noqa: E402
from interp.core.windows import best_windows, penalty  # noqa: E402
from interp.data import VideoError, open_dataset, to_clip  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.study import results  # noqa: E402

torch.set_num_threads(1)
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=4)
DAMAGED = 5  # the clip of this place has lost most of its file


class Small(torch.nn.Module):
    """A convolution and frame differences; deterministic, and in milliseconds."""

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


def write(*arguments, **options):
    return results.write(*arguments, **{"method": "gradient"} | options)


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
    write(folder, model, dataset, SHORT, shard_size=5)
    return folder


def assert_same(first, second):
    """All columns but the time, the maps and run.json are equal to the bit."""
    one, two = (results.read(folder) for folder in (first, second))
    assert one.finished and two.finished
    same = [part.table.drop(columns="seconds").to_dict("list") for part in (one, two)]
    np.testing.assert_equal(*same)
    for first_map, second_map in zip(one.maps, two.maps, strict=True):
        np.testing.assert_array_equal(first_map, second_map)
    assert one.run == two.run


def test_rows_are_what_explain_gives(dataset, model, whole):
    found = results.read(whole)
    table = found.table
    assert found.finished and table["id"].tolist() == dataset.ids and len([*found.maps]) == 12
    indices = [i for i in range(12) if i != DAMAGED]
    clips = torch.stack([to_clip(dataset[i][0]) for i in indices])
    targets = [11 - dataset.samples[i].label for i in indices]
    records = explain(model, clips, targets, SHORT, method="gradient", ids=[dataset.ids[i] for i in indices])
    still = model(clips[:, :, :1].expand_as(clips)).softmax(1)
    for i, record, target, frozen in zip(indices, records, targets, still, strict=True):
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
        assert row["frozen"] == pytest.approx(float(frozen[record.guess]), abs=1e-6)
        assert found.maps[i].dtype == np.float16
        np.testing.assert_allclose(found.maps[i], record.map, atol=2e-3)
        assert row["seconds"] > 0
    text = (whole / "run.json").read_text()
    assert found.run["recipe"]["name"] == "short" and "torch" in found.run["versions"] and "date" not in text
    assert len(found.run["model"]["weights"]) == len(found.run["data"]["files"]) == 64


def test_exact_masks_have_bounds(dataset, model, tmp_path):
    run = write(tmp_path / "exact", model, dataset.subset([0, 1, DAMAGED]), SHORT, method="exact", budget=600)
    table = run.table.iloc[:2]
    assert run.run["search"]["budget"] == 600 and table["proven"].tolist() == [True, True]
    np.testing.assert_array_equal(table["bound"], table["loss"])
    assert table[["steps", "first_loss"]].isna().all(axis=None) and (table["forwards"] <= 600).all()
    masks = torch.tensor(np.stack(table["mask"]))
    clips = torch.stack([to_clip(dataset[i][0]) for i in range(2)])
    best = best_windows(model, clips, "freeze", table["explained"].tolist(), SHORT)
    assert (table["loss"] <= best.losses.numpy() + 1e-6).all()
    still = torch.stack([clip[:, [0, *(int(t) for t in _sources(1 - mask))]] for clip, mask in
                         zip(clips, masks, strict=True)])  # fmt: skip
    kept = model(still).softmax(1).gather(1, torch.tensor(table["explained"].tolist())[:, None])[:, 0]
    np.testing.assert_allclose(table["kept"], kept.detach(), atol=1e-6)
    assert run.table.loc[2, ["proven", "kept"]].isna().all()


def _sources(mask):
    """For each frame from 1 on the frame that is shown: the last one before it that is off, or frame 0."""
    source = 0
    for t in range(1, len(mask)):
        source = t if mask[t] == 0 else source
        yield source


def test_a_damaged_file_is_a_row_or_an_error(dataset, model, whole, tmp_path):
    found = results.read(whole)
    row = found.table.loc[DAMAGED]
    assert dataset.samples[DAMAGED].path.name in row["error"] and row["id"] == dataset.ids[DAMAGED]
    assert found.maps[DAMAGED] is None and row[["guess", "OS", "mask", "loss"]].isna().all()
    assert found.table["error"].notna().sum() == 1
    with pytest.raises(VideoError):
        write(tmp_path / "raise", model, dataset, SHORT, shard_size=5, on_error="raise")
    only = dataset.subset([DAMAGED])
    assert write(tmp_path / "none", model, only, SHORT).table["error"].notna().all()


def test_a_score_that_is_not_finite_is_a_row(dataset, model, tmp_path):
    bright = float(to_clip(dataset[2][0])[0, 0, 0, 0])

    class Brittle(Small):
        def forward(self, clips):
            return super().forward(clips) * torch.where(clips[:, 0, 0, 0, 0] == bright, torch.nan, 1)[:, None]

    table = write(tmp_path / "run", Brittle(dataset.classes), dataset, SHORT).table
    assert table.index[table["error"].notna()].tolist() == [2, DAMAGED]
    assert f"not finite for clip {dataset.ids[2]}" in table.loc[2, "error"]


def test_rows_depend_neither_on_shards_nor_on_batches(dataset, model, whole, tmp_path):
    one = results.read(whole).table
    two = write(tmp_path / "run", model, dataset, SHORT, shard_size=12, batch_size=3).table
    for key in ("OS", "FS", "RS", "CS", "loss", "frozen"):
        np.testing.assert_allclose(one[key], two[key], atol=1e-4)
    assert one["guess"].equals(two["guess"])


WORKER = """
import os, signal, sys, torch
from interp import recipes
from interp.data import open_dataset
from interp.study import results
sys.path.insert(0, os.path.dirname(sys.argv[1]))
from test_results import SHORT, Small, write
dataset = open_dataset("motion", sys.argv[2], "validation", 8, 32)
atomic_path = results.atomic_path
def killed(path):
    if os.environ["KILL"] == "1" and path.name == "00003.parquet":
        os.kill(os.getpid(), signal.SIGKILL)  # its clips are explained, their maps written, their rows not
    return atomic_path(path)
results.atomic_path = killed
write(sys.argv[3], Small(dataset.classes), dataset, SHORT, shard_size=2)
"""


def test_a_killed_process_leaves_shards_that_another_run_completes(root, dataset, model, tmp_path):
    write(tmp_path / "whole", model, dataset, SHORT, shard_size=2)
    (tmp_path / "worker.py").write_text(WORKER)
    out, codes = tmp_path / "run", []
    for kill in "10":  # the second time all shards but 3 and 5 are there
        processes = [subprocess.Popen(
            [sys.executable, "-W", "ignore", tmp_path / "worker.py", __file__, root, out],
            env=os.environ | {"RANK": rank, "WORLD_SIZE": "2", "KILL": kill, "OMP_NUM_THREADS": "1"})
            for rank in "01"]
        codes.append([process.wait(120) for process in processes])
        names = sorted(path.stem for path in out.glob("shards/*.parquet"))
        if kill == "1":
            assert names == ["00000", "00001", "00002", "00004"]
            times = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.parquet")}
            with pytest.warns(UserWarning, match="8 of 12 clips are in .*; the run is not finished"):
                assert results.read(out).table["index"].tolist() == [0, 1, 2, 3, 4, 5, 8, 9]
    assert codes == [[0, -signal.SIGKILL], [0, 0]]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert_same(out, tmp_path / "whole")


def test_a_folder_of_another_run_is_refused(dataset, model, whole, tmp_path):
    def again(folder=whole, net=model, data=dataset, recipe=SHORT, **options):
        write(folder, net, data, recipe, **{"shard_size": 5} | options)

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
    with pytest.raises(ValueError, match="'freeze', is 'reverse'"):
        again(perturbation="reverse")
    with pytest.raises(ValueError, match="limit: expected at least 1, got 0"):
        again(limit=0)
    with pytest.raises(ValueError, match="run.json: there is no such file"):
        results.read(tmp_path)
    again()  # the same is not refused, and nothing is made again
    assert {path: path.stat().st_mtime_ns for path in whole.glob("shards/*")} == before


def test_reverse_stop_and_a_limit(dataset, model, tmp_path):
    long = recipes.MaskRecipe("long", lambda1=0.01, lambda2=0.02, iterations=60)
    options = {"perturbation": "reverse", "start": "best-window", "stop": True, "limit": 4, "maps": False}
    one = write(tmp_path / "one", model, dataset, long, **options, seed=1)
    assert len(one.table) == 4 and one.table["label"].nunique() == 4  # every class at most once
    assert one.maps[0] is None and not list(tmp_path.glob("one/shards/*.npy"))
    two = write(tmp_path / "two", model, dataset, long, **options, seed=2)
    assert one.table["id"].tolist() != two.table["id"].tolist()
    more = write(tmp_path / "more", model, dataset, long, **options | {"limit": 7}, seed=1)
    assert set(one.table["id"]) < set(more.table["id"])
    shared = more.table.set_index("id").loc[one.table["id"]]
    np.testing.assert_allclose(shared["first_loss"], one.table["first_loss"], atol=1e-4)


def test_a_folder_of_an_earlier_version_is_refused(dataset, model, whole, tmp_path):
    run = json.loads((whole / "run.json").read_text())
    del run["search"]["method"]
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    for use in (results.read, lambda folder: write(folder, model, dataset, SHORT, shard_size=5)):
        with pytest.raises(ValueError, match="an earlier version of interp wrote this"):
            use(tmp_path / "run")


def test_maps_as_the_paper_places_them(dataset, model, tmp_path):
    found = write(tmp_path / "run", model, dataset.subset([0]), SHORT, align="corners")
    maps = grad_cam(model, to_clip(dataset[0][0])[None], found.table["explained"].tolist(), align="corners")
    np.testing.assert_allclose(found.maps[0], normalise(maps)[0], atol=2e-3)
    with pytest.raises(ValueError, match="search.align was 'corners', is 'field'"):
        write(tmp_path / "run", model, dataset.subset([0]), SHORT)


def test_missing_libraries_name_the_extra(dataset, model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"interp\[results\]"):
        write(tmp_path / "run", model, dataset, SHORT)
    assert not (tmp_path / "run").exists()
