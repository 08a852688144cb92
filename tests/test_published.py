"""The paper's own tables as packaged: the known means come out."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pandas")

from interp.study import measures, published  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "published"


def masks(dataset, model):
    return torch.from_numpy(np.stack([one.mask for one in published.results(dataset, model)]))


def test_there_are_31_and_8_clips_under_both_models_in_the_same_order():
    for dataset, number, frames in (("something", 31, 16), ("kth", 8, 32)):
        i3d, clstm = (published.results(dataset, model) for model in published.MODELS)
        assert len(i3d) == len(clstm) == number
        assert [(one.id, one.class_name) for one in i3d] == [(one.id, one.class_name) for one in clstm]
        assert all(one.mask.shape == (frames,) for one in i3d + clstm)
    assert len(published.results()) == 78
    assert len({one.class_name for one in published.results("something")}) == 11


@pytest.mark.parametrize(
    ("dataset", "model", "mean"),
    [("something", "i3d", 6.35), ("something", "clstm", 10.06), ("kth", "i3d", 14.875), ("kth", "clstm", 10.875)],
)
def test_mask_lengths_are_the_known_ones(dataset, model, mean):
    assert measures.length(masks(dataset, model)).float().mean().item() == pytest.approx(mean, abs=0.006)


def test_first_frames_are_the_known_ones():
    first = [measures.first_frame(masks("something", model)).mean().item() for model in published.MODELS]
    assert first == pytest.approx([5.7, 2.9], abs=0.05)


def test_29_of_i3ds_masks_are_not_of_an_initial_shape():
    found = masks("something", "i3d")
    before, after = measures.first_frame(found), found.shape[1] - 1 - measures.last_frame(found)
    assert ((measures.runs(found) == 1) & (before == after) & (before > 0)).sum() == 31 - 29


@pytest.mark.parametrize(("model", "means"), [("i3d", (0.800, 0.019, 0.235)), ("clstm", (0.468, 0.183, 0.246))])
def test_score_means_over_30_clips_are_the_known_ones(model, means):
    scored = [one for one in published.results("something", model) if one.OS is not None]
    assert len(scored) == 30
    for name, mean in zip(("OS", "FS", "RS"), means, strict=True):
        # .800 stands for 0.8005, which rounds either way
        assert np.mean([getattr(one, name) for one in scored]) == pytest.approx(mean, abs=0.00051)


def test_single_entries_are_those_of_the_page():
    one = next(r for r in published.results("something", "i3d") if r.id == "126217")
    assert "".join(str(int(on)) for on in one.mask) == "0000001111000000"
    assert (one.OS, one.FS, one.RS, one.CS, one.P, one.map.shape) == (0.686, 0.003, 0.0, None, None, (8, 7, 7))
    guess = next(r for r in published.results("something", "clstm") if r.id == "58874")
    assert (guess.CS, guess.P, guess.map.shape) == (0.002, "Closing something", (16, 5, 5))


def test_typing_errors_name_a_row_of_the_tables():
    known = {(one.id, one.model) for one in published.results()} | {(one.id, "") for one in published.results()}
    errors = published.typing_errors()
    assert len(errors) == 42 and all((one["video_id"], one["model"]) in known for one in errors)
    assert sum(one["kind"] == "name of the score missing" for one in errors) == 34


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here")
def test_the_packaged_tables_are_the_read_off_ones():
    with open(SHARED / "masks.csv", newline="") as file:
        read = {(r["video_id"], r["model"]): r["mask"] for r in csv.DictReader(file)}
    ours = {(r.id, r.model): "".join(str(int(on)) for on in r.mask) for r in published.results()}
    assert ours == read
    with np.load(SHARED / "gradcam_grid.npz", allow_pickle=False) as maps:
        for one in published.results("something"):
            name = next(n for n in maps.files if n.endswith(f"_{one.id}_{one.model}"))
            assert np.array_equal(maps[name].astype(np.float32), one.map)
    with open(SHARED / "scores.csv", newline="") as file:
        scores = {(r["video_id"], r["model"]): r for r in csv.DictReader(file)}
    for one in published.results("something"):
        row = scores.get((one.id, one.model), {})
        for key in ("OS", "FS", "RS", "CS"):
            assert getattr(one, key) == (float(row[key]) if row.get(key) else None)


def test_another_dataset_is_refused():
    with pytest.raises(ValueError, match="expected one of .*something"):
        published.results("ssv2")


def test_the_table_holds_the_results():
    table = published.table()
    assert len(table) == 78 and set(table["seed"]) == {0}
    row = table[(table["id"] == "126217") & (table["model"] == "i3d")].iloc[0]
    assert row["mask"].tolist() == [0.0] * 6 + [1.0] * 4 + [0.0] * 6 and (row["FS"], row["RS"]) == (0.003, 0.0)
    one = next(r for r in published.results("something", "i3d") if r.id == "126217")
    assert row["blobs"] == measures.blobs(one.map).count.mean() and row["cells"] == 49
    assert table["OS"].isna().sum() == 18  # KTH's, and one clip of Something-Something
