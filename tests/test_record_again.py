"""A recorded clip computed again agrees, and whatever has been changed is found and named."""

import dataclasses

import pytest
import torch

pytest.importorskip("pandas")
pytest.importorskip("scipy")
pytest.importorskip("pyarrow.parquet")

from interp import recipes, record, record_again, runs  # noqa: E402
from interp.data import open_dataset  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.models import CLSTM, weights  # noqa: E402

torch.set_num_threads(1)
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("again")
    root = generate(place / "motion", 0, 4, size=32, workers=1, progress=False)
    dataset = open_dataset("motion", root, "validation", 8, 32)
    torch.manual_seed(0)
    model = CLSTM(12, num_frames=8, size=32, padding="same", filters=(4,), strides=(2,), pools=(2,))
    weights.save(place / "best.safetensors", model, dataset.classes, {"seed": 7})
    model = weights.read(place / "best.safetensors")
    source = {"kind": "motion", "root": str(root), "split": "validation"}
    runs.write(place / "run", model, dataset, SHORT, start="best-window", stop=True, source=source)
    return record.write([place / "run"], place / "record.parquet"), model, dataset


def test_what_was_recorded_comes_out_again(made):
    found, model, dataset = made
    told = record_again.again(found, model, dataset, dataset.ids[1:3])
    assert set(told) == set(record_again.TOLERANCES)
    assert all(column.largest <= 1e-4 for column in told.values())
    assert told["OS"].recorded == pytest.approx(told["OS"].computed) and len(told["mask"].computed) == 2


@pytest.mark.parametrize(("column", "value"), [("OS", 0.9), ("regret", 5.0), ("mask", [0.5] * 8), ("in_boxes", None),
                                               ("P", "another class")])  # fmt: skip
def test_what_was_changed_is_named(made, column, value):
    found, model, dataset = made
    table = found.table.copy()
    place = next(i for i in range(4) if table.loc[i, "in_boxes"] > 0)
    table.at[place, column] = value
    name = table.loc[place, "id"]
    with pytest.raises(ValueError, match=f"clip {name}.*"):
        record_again.again(dataclasses.replace(found, table=table), model, dataset, [name])


def test_other_weights_and_other_clips_are_told(made):
    found, model, dataset = made
    with pytest.raises(ValueError, match="clip none is not in both"):
        record_again.again(found, model, dataset, ["none"])
    other = CLSTM(12, num_frames=8, size=32, padding="same", filters=(4,), strides=(2,), pools=(2,))
    with pytest.raises(ValueError, match="no run of these weights"):
        record_again.again(found, other, dataset, dataset.ids[:1])
