"""The record: one table of several results folders; what does not fit together is refused, what changed is found."""

import json

import numpy as np
import pytest
import torch
from toy import damaged

pytest.importorskip("pandas")
pytest.importorskip("scipy")
parquet = pytest.importorskip("pyarrow.parquet")

from interp import recipes  # noqa: E402
from interp.cli import main  # noqa: E402
from interp.data import open_dataset  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.data.truth import frame_boxes, interval_mask  # noqa: E402
from interp.models import CLSTM, I3D, weights  # noqa: E402
from interp.study import measures, record, results  # noqa: E402
from interp.training import log  # noqa: E402

torch.set_num_threads(1)
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=3)
DAMAGED = 1  # the clip of this place has lost most of its file


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = generate(tmp_path_factory.mktemp("motion"), 0, 4, size=32, workers=1, progress=False)
    return damaged(root, DAMAGED)


@pytest.fixture(scope="module")
def dataset(root):
    return open_dataset("motion", root, "validation", 8, 32)


def clstm():
    return CLSTM(12, num_frames=8, size=32, padding="same", filters=(4,), strides=(2,), pools=(2,))


def explained(folder, root, dataset, kind="i3d", seed=0, recipe=SHORT, **options):
    torch.manual_seed(seed)
    model = I3D(12, width=0.125) if kind == "i3d" else clstm()
    path = folder.parent / f"{folder.name}.safetensors"
    weights.save(path, model, dataset.classes, {"seed": seed, "metrics": {"top1": 0.5}})
    source = {"kind": "motion", "root": str(root), "split": "validation"}
    options = {"method": "gradient"} | options
    results.write(folder, weights.read(path), dataset, recipe, source=source, **options)
    return folder


@pytest.fixture(scope="module")
def folders(root, dataset, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return [explained(place / f"{kind}_{seed}", root, dataset, kind, seed)
            for kind in ("clstm", "i3d") for seed in (1, 0)]  # fmt: skip


def test_one_table_of_all_with_what_made_it(folders, dataset, tmp_path):
    found = record.write(folders, tmp_path / "record.parquet")
    table, about = found.table, found.about
    assert [*table.columns] == [*record.COLUMNS] and len(table) == 16
    assert list(dict.fromkeys(table[["model", "seed"]].itertuples(index=False, name=None))) == [
        ("i3d", 0), ("i3d", 1), ("clstm", 0), ("clstm", 1)]
    assert set(table["flavour"]) == {"something"}
    rows = record.of(table, "something", "i3d", 1)
    run = results.read(folders[2])
    for name in ("OS", "FS", "RS", "frozen", "loss"):
        assert rows[name].tolist() == pytest.approx(run.table[name].tolist(), nan_ok=True), name  # as computed
    for row, mask in zip(rows["mask"], run.table["mask"], strict=True):
        assert (row is None and mask is None) or row.tolist() == mask.tolist()
    run = next(run for run in about["runs"] if (run["model"], run["seed"]) == ("i3d", 1))
    assert run["recipe"]["name"] == "short" and run["weights"]["training"] == {"seed": 1, "top1": 0.5}
    assert len(run["weights"]["file"]) == 64 and "root" not in run["data"] and "torch" in about["versions"]
    assert str(tmp_path.parent) not in json.dumps(about)


def test_the_truth_and_the_maps_are_held_together(folders, dataset, tmp_path):
    rows = record.of(record.write(folders, tmp_path / "record.parquet").table, "something", "i3d", 1)
    run = results.read(folders[2])
    for number, row in enumerate(rows.to_dict("records")):
        truth = dataset.samples[number].meta["truth"]
        assert row["known"].tolist() == interval_mask(truth, 8).tolist()
        if number == DAMAGED:
            assert isinstance(row["error"], str) and np.isnan(row["blobs"])
            continue
        heat_map = run.maps[number]
        assert row["blobs"] == pytest.approx(measures.blobs(heat_map).count.mean())
        boxes = [[box for _, box in frame] for frame in frame_boxes(truth, 8)]
        frames = [t for t in range(8) if row["known"][t] and boxes[t] and heat_map[t].any()]
        share = measures.share_in_boxes(heat_map, boxes)[frames]
        assert np.isnan(row["in_boxes"]) if not frames else row["in_boxes"] == pytest.approx(share.mean())


def test_what_does_not_fit_together_is_refused(folders, root, dataset, tmp_path):
    out = tmp_path / "record.parquet"
    out.write_bytes(b"as it was")
    other = recipes.MaskRecipe("short", lambda1=0.5, lambda2=0.02, iterations=3)

    def refused(words, *named):
        with pytest.raises(ValueError, match=words):
            record.write(named, out)
        assert out.read_bytes() == b"as it was"

    refused("run.json: there is no such file", tmp_path)
    refused("two runs are of", folders[0], folders[0])
    refused("differ in 1 values, recipe.lambda1", folders[0],
            explained(tmp_path / "recipe", root, dataset, "i3d", 2, other))
    refused("differ in 2 values, clips.*1", folders[0],
            explained(tmp_path / "few", root, dataset.subset([0, 2]), "i3d", 2))
    unknown = explained(tmp_path / "unknown", root, dataset, "i3d", 3)
    text = (unknown / "run.json").read_text()
    (unknown / "run.json").write_text(text.replace('"seed": 3', '"seed_": 3'))
    refused("training seed None", unknown)
    (unknown / "run.json").write_text(text)
    (unknown / "results.parquet").unlink()
    refused("finish the run first", unknown)


def test_runs_join_a_record_that_is_there(folders, root, dataset, tmp_path):
    every = record.write(folders, tmp_path / "every.parquet")
    before = record.write(folders[:2], tmp_path / "record.parquet")  # both of C-LSTM
    joined = record.write(folders[2:], tmp_path / "record.parquet", onto=before)
    assert joined.table.equals(every.table) and joined.about == every.about
    with pytest.raises(ValueError, match="two runs are of .*'clstm', 1"):
        record.write(folders[:1], tmp_path / "record.parquet", onto=joined)
    table = before.table.copy()
    table.loc[table["seed"] == 0, "label_name"] = "Moving something down"
    with pytest.raises(ValueError, match="differ in 4 values, clips"):
        record.write(folders[2:], tmp_path / "record.parquet", onto=record.Record(table, before.about))
    assert record.read(tmp_path / "record.parquet").table.equals(every.table)


def test_files_that_are_not_a_record(folders, tmp_path):
    with pytest.raises(ValueError, match="expected a record, got FileNotFound"):
        record.read(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="expected a record, got Arrow"):
        record.read(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match="expected a record, got TypeError"):
        record.read(folders[0] / "results.parquet")


def test_the_command(folders, root, tmp_path, capsys):
    out = tmp_path / "record.parquet"
    assert main(["record", *map(str, folders), "--out", str(out)]) == 0
    row = capsys.readouterr().out
    assert row.count("4 clips") == 4 and "1 could not be explained" in row
    assert f"16 rows, {out.stat().st_size} bytes" in row
    part = tmp_path / "part.parquet"
    assert main(["record", *map(str, folders[:3]), "--out", str(part)]) == 0
    assert main(["record", str(folders[3]), "--onto", str(part), "--out", str(part)]) == 0
    assert record.read(part).table.equals(record.read(out).table)


def test_the_command_makes_the_runs_of_all_that_ships(root, dataset, tmp_path, monkeypatch, capsys):
    small = recipes.change(recipes.I3D_MOTION, num_frames=8, size=(32, 32))
    for name, model, seed in (("i3d_motion", I3D(12, width=0.125), 0), ("i3d_motion_seed1", I3D(12, width=0.125), 1),
                              ("clstm_motion", clstm(), 0), ("i3d_motion-kth", I3D(6, width=0.125), 0)):  # fmt: skip
        classes = dataset.classes if "kth" not in name else list("abcdef")
        weights.save(tmp_path / "ships" / f"{name}.safetensors", model, classes,
                     {"seed": seed, "recipe": recipes.asdict(small)})
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "ships")
    monkeypatch.setenv("INTERP_DATA", str(root))
    out, runs = tmp_path / "record.parquet", tmp_path / "runs"
    command = ["record", "--out", str(out), "--runs", str(runs), *"--flavours motion --clips 3 --budget 40".split(),
               "--gradient", "3"]  # fmt: skip
    assert main(command) == 0 and "5 of 5 runs to make, at most about " in capsys.readouterr().err
    table = record.read(out).table
    sizes = table.groupby(["model", "seed"], sort=False).size().to_dict()
    assert sizes == {("i3d", 0): 3, ("i3d", 1): 3, ("clstm", 0): 3}
    made = table[table["error"].isna()]
    assert made["proven"].notna().all() and (made["forwards"] <= 40).all()
    for row in made.to_dict("records"):
        assert len(row["curve"]) == 9 and row["curve"][0] == pytest.approx(row["OS"]) and row["change"] in range(1, 8)
    for name in ("gradient_mask", "gradient_loss"):
        assert (made[name].notna() == (made["seed"] == 0)).all()
    (runs / "i3d_motion_seed1" / "results.parquet").unlink()
    assert main(command) == 0 and "1 of 5 runs to make" in capsys.readouterr().err
    assert record.read(out).table.equals(table)
    assert main([*command, "--budget", "50"]) == 2  # finished runs of another search
    assert "search.budget was 40, is 50" in capsys.readouterr().err
    for option in ("--budget", "--clips"):  # 0 is a mistake, not the default
        assert main([*command, "--runs", str(tmp_path / "others"), option, "0"]) == 2
        assert ": expected at least 1" in capsys.readouterr().err
    assert {job["budget"] for job in record.plan(runs, flavours=["motion"])} == {record.BUDGET["motion"]}


AIMS = {("something", "i3d"): 0.96, ("something", "clstm"): 0.94, ("kth", "i3d"): 0.88, ("kth", "clstm"): 0.80}


def test_the_shipped_record_is_of_networks_that_ship_and_are_trained_alike():
    found, epochs = record.read(), {}
    assert record.PATH.stat().st_size <= 3_000_000
    assert [(run["flavour"], run["model"], run["seed"]) for run in found.about["runs"]] == [
        (*key, seed) for key in AIMS for seed in range(3)]  # fmt: skip
    for run in found.about["runs"]:
        flavour, name, seed = run["flavour"], run["model"], run["seed"]
        data = record.TRAINED_ON[flavour]
        assert run["weights"]["weights"] == weights.weights_hash(weights.load(name, data, seed))
        lines = log.read(log.shipped_log(name, data, seed))
        assert max(line["val_top1"] for line in lines) >= AIMS[flavour, name], (flavour, name, seed)
        assert len(lines) == epochs.setdefault((flavour, name), len(lines)) == run["weights"]["trained_with"]["epochs"]
        rows = record.of(found.table, flavour, name, seed)
        assert rows["label_name"].value_counts().min() >= 20 and run["search"]["method"] == "exact"
        assert rows["proven"].notna().all() and (rows["forwards"] <= record.BUDGET[run["data"]["kind"]]).all()
        assert (rows["bound"] <= rows["loss"] + 1e-6).all()
