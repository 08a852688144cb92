"""The stages of both networks: sizes that the paper publishes, parameters that are really there."""

import pytest
import torch

from interp import recipes
from interp.models import build
from interp.show.architecture import layer_summary, stage_rows


def test_i3d_ends_at_the_published_map_sizes():
    something = layer_summary(recipes.I3D_SOMETHING.config(174), (3, 16, 224, 224))
    kth = layer_summary(recipes.I3D_KTH.config(6), (3, 32, 120, 160))
    named = {stage.name: stage.after for stage in something}
    assert named["Mixed_5c"] == (1024, 8, 7, 7) and named["Logits"] == (174,)
    assert {stage.name: stage.after for stage in kth}["Mixed_5c"] == (1024, 16, 4, 5)
    assert sum(stage.parameters for stage in something) == 12_465_614
    assert something[0].kernel == (7, 7, 7) and something[0].stride == (1, 2, 2)


def test_clstm_ends_at_the_published_heat_map_sizes():
    maps = [[stage.after for stage in layer_summary(recipe.config(6)) if stage.kind == "ConvLSTM"][-1]
            for recipe in (recipes.CLSTM_SOMETHING, recipes.CLSTM_KTH)]
    assert maps == [(32, 16, 5, 5), (32, 32, 14, 18)]
    pooled = layer_summary(recipes.CLSTM_SOMETHING.config(6))[1]
    assert (pooled.kind, pooled.after[1]) == ("pooling, normalisation", 16)


@pytest.mark.parametrize("recipe", [recipes.I3D_MOTION, recipes.CLSTM_MOTION], ids=["i3d", "clstm"])
def test_stages_agree_with_the_real_network(recipe):
    config = recipe.config(12)
    stages = layer_summary(config, (3, recipe.num_frames, *recipe.size))
    model = build(config).eval()
    shapes = {}
    for stage in stages:
        model.get_submodule(stage.name).register_forward_hook(
            lambda m, i, out, name=stage.name: shapes.__setitem__(name, tuple(out.shape)))
    with torch.no_grad():
        model(torch.zeros(1, 3, recipe.num_frames, *recipe.size))
    for stage in stages:
        shape = shapes[stage.name]
        expected = (shape[1], recipe.num_frames, *shape[2:]) if len(shape) == 4 else shape[1:]
        assert stage.after == expected, stage.name
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())


def test_i3d_needs_a_clip_size():
    with pytest.raises(ValueError, match="give clip_size"):
        layer_summary({"model": "i3d", "num_classes": 12})


def test_rows_hold_the_sizes_and_counts():
    stages = layer_summary({"model": "i3d", "num_classes": 12, "width": 0.25}, (3, 16, 64, 64))
    rows = stage_rows(stages)
    assert rows[-3]["steps × rows × columns"] == "8×2×2" and rows[0]["kernel"] == "7×7×7"
    total = f"{sum(stage.parameters for stage in stages):,}"
    assert rows[-1] == dict.fromkeys(rows[0], "") | {"stage": "all", "parameters": total}
