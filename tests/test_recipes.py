"""The recipes: the paper's numbers, and that a mistake in one is an error."""

import dataclasses
import json

import pytest

from interp import recipes

# the website's table: dropout, weight decay, optimizer, epochs, momentum
PUBLISHED = {
    "i3d_something": (0.5, 0, "adam", 13, 0),
    "i3d_kth": (0.7, 5e-5, "adam", 30, 0),
    "clstm_something": (0, 0, "sgd", 105, 0.2),
    "clstm_kth": (0.5, 1e-4, "sgd", 21, 0.2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_training_rows(name):
    row = recipes.RECIPES[name]
    assert (row.dropout, row.weight_decay, row.optimizer, row.epochs, row.momentum) == PUBLISHED[name]
    assert set(row.chosen) == {"learning_rate", "batch_size"}
    assert row.schedule == "plateau" and not row.augment
    frames, size = (32, (120, 160)) if row.data == "kth" else (16, (224, 224))
    assert (row.num_frames, row.size) == (frames, size)
    assert recipes.find("paper", row.model, row.data) is row


def test_the_papers_mask_rows():
    for mask, weights in ((recipes.SOMETHING_MASK, (0.01, 0.02)), (recipes.KTH_MASK, (0.02, 0.04))):
        assert (mask.lambda1, mask.lambda2) == weights
        assert (mask.beta, mask.iterations, mask.learning_rate) == (3, 300, 0.2)
    assert recipes.SOMETHING_MASK_TABLE.learning_rate == recipes.KTH_MASK_TABLE.learning_rate == 0.001


def test_recipes_survive_json():
    for recipe in (*recipes.RECIPES.values(), *recipes.MASKS.values()):
        assert recipes.from_dict(json.loads(json.dumps(recipes.asdict(recipe)))) == recipe
        hash(recipe)


def test_the_border_of_masks_is_kept_and_older_records_have_none():
    even = dataclasses.replace(recipes.KTH_MASK, border="even")
    assert recipes.asdict(even)["border"] == "even" and recipes.from_dict(recipes.asdict(even)) == even
    record = recipes.asdict(recipes.KTH_MASK)
    assert record.pop("border") == "paper" and recipes.from_dict(record) == recipes.KTH_MASK
    with pytest.raises(ValueError, match="border: expected one of paper, even, got 'none'"):
        dataclasses.replace(even, border="none")


def test_change_merges_the_models_arguments():
    recipe = recipes.change(recipes.I3D_MOTION, epochs=2, model_args={"width": 0.5})
    assert recipe.config(12)["width"] == 0.5
    assert recipe.config(12)["spatial_strides"] == (2, 2, 2, 1, 1)
    assert (recipe.epochs, recipes.I3D_MOTION.config(12)["width"]) == (2, 0.25)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("optimizer", "lamb", "adam, adamw, sgd"),
        ("schedule", "step", "plateau, cosine"),
        ("epochs", 0, "above 0"),
        ("dropout", 1.0, "below 1"),
        ("size", (64,), "(height, width)"),
        ("weight_decay", -1.0, "at least 0"),
    ],
)
def test_a_mistake_is_told(field, value, words):
    with pytest.raises(ValueError, match=field) as error:
        recipes.change(recipes.I3D_MOTION, **{field: value})
    assert words in str(error.value)


def test_scale(monkeypatch):
    monkeypatch.delenv("INTERP_SCALE", raising=False)
    assert recipes.scale() == "book"
    monkeypatch.setenv("INTERP_SCALE", "quick")
    assert recipes.scale() == "quick"
    monkeypatch.setenv("INTERP_SCALE", "huge")
    with pytest.raises(ValueError, match="quick, book, paper"):
        recipes.scale()
