"""Scores against hand-made answers, independence of neighbours, the sentence, and the command on files."""

import dataclasses
import json

import pytest
import torch
from torch import nn

import interp
from interp import recipes
from interp.core import perturb
from interp.core.explanation import explain
from interp.core.gradcam import grad_cam
from interp.models import I3D
from interp.models.network import clip_shape

SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=12)


class Movement(nn.Module):
    """Two classes by one number: how much changes over the frames; the convolution is Grad-CAM's layer."""

    gradcam_layer = "layer"
    classes = ["still", "moves"]
    config = {"model": "toy"}

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 1, bias=False)
        self.dropout = nn.Dropout(0.5)
        nn.init.ones_(self.layer.weight)

    def forward(self, clips):
        kept = self.dropout(self.layer(clips))
        moved = (kept[:, :, 1:] - kept[:, :, :-1]).square().mean((1, 3, 4)).sum(1)  # (B,)
        return torch.stack([torch.ones_like(moved), 20 * moved], dim=1)


def ramps(*moving, num_frames=8):
    """Clips (B,1,T,4,4) that grow by 0.5 on entering each of the given frames."""
    clips = torch.zeros(len(moving), 1, num_frames, 4, 4)
    for clip, frames in zip(clips, moving, strict=True):
        for frame in frames:
            clip[:, frame:] += 0.5
    return clips


def test_scores_are_the_models_own():
    model, clips = Movement(), ramps((3, 4), (), (2,))
    records = explain(model.train(), clips, [1, 1, -1], SHORT, ids=["a", "b", "c"])
    assert model.training and model.dropout.training
    model.eval()
    for i, record in enumerate(records):
        soft = record.mask[None]
        for score, shown in (
            (record.OS, clips[i : i + 1]),
            (record.FS, perturb.freeze(clips[i : i + 1], soft)),
            (record.RS, perturb.reverse(clips[i : i + 1], soft)),
        ):
            assert score == pytest.approx(float(model(shown).softmax(1)[0, record.guess].detach()), abs=1e-6)
    assert [r.P for r in records] == ["moves", "still", "moves"]
    assert [r.target for r in records] == [1, 1, None]
    one_over = float(torch.tensor([1.0, 0.0]).softmax(0)[1])  # class 1 has logit 0 on a still clip
    assert records[1].CS == pytest.approx(one_over, abs=1e-6)
    assert records[0].CS is None and records[2].CS is None
    assert records[0].OS == pytest.approx(float(torch.tensor([1.0, 10.0]).softmax(0)[1]), abs=1e-6)
    assert all(record.map.shape == (8, 4, 4) and float(record.map.max()) in (0.0, 1.0) for record in records)


def test_a_frozen_flash_is_gone_and_a_reversed_one_is_not():
    clips = torch.zeros(1, 1, 8, 4, 4)
    clips[:, :, 3:5] = 0.5
    record = explain(Movement(), clips, method="gradient")[0]
    assert record.steps == 300 and record.binary_mask[3] and 1 <= int(record.binary_mask.sum()) <= 4
    assert record.OS > 0.999 and record.FS < 0.35 and record.RS > 0.9  # a still clip scores 0.27
    assert torch.equal(record.map[:3], torch.zeros(3, 4, 4)) and record.map[3:5].sum() >= 0


def test_a_clip_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = I3D(5, width=0.125).eval()
    clips = torch.rand(3, 3, 8, 32, 32)
    together = explain(model, clips, recipe=SHORT)
    alone = [explain(model, clips[i : i + 1], recipe=SHORT)[0] for i in range(3)]
    chunked = explain(model, clips, recipe=SHORT, batch_size=2)
    for other in (alone, chunked):
        for one, two in zip(together, other, strict=True):
            assert torch.allclose(one.mask, two.mask, atol=1e-4)
            assert torch.allclose(one.map, two.map, atol=1e-3)
            assert one.guess == two.guess and one.FS == pytest.approx(two.FS, abs=1e-4)


def test_the_target_can_be_explained_instead():
    model, clips = Movement(), ramps((3, 4))
    record = explain(model, clips, 0, SHORT, explained_class="target")[0]
    assert (record.guess, record.explained, record.target) == (1, 0, 0)
    assert record.OS == record.CS == pytest.approx(float(torch.tensor([1.0, 10.0]).softmax(0)[0]), abs=1e-6)


def test_nothing_is_computed_twice():
    """On one clip of T = 16 with 5 steps: the clip, 8 central windows, 5 steps, FS, RS and the map."""
    seen, model = [], Movement()
    grad_cam(model, ramps((3,), num_frames=16))  # where the layer's cells look is measured once
    model.layer.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    explain(model, ramps((3,), num_frames=16), recipe=dataclasses.replace(SHORT, iterations=5), method="gradient")
    assert sum(seen) == 1 + 8 + 5 + 2 + 1
    seen.clear()
    (record,) = explain(model, ramps((3,), num_frames=16), recipe=SHORT, method="exact")
    assert sum(seen) == record.steps + 2  # RS and the map; the search has the clip's score and FS


def test_the_exact_mask_is_as_good_as_any():
    (exact,) = explain(Movement(), ramps((3, 4)), recipe=recipes.SOMETHING_MASK, method="exact")
    (found,) = explain(Movement(), ramps((3, 4)), recipe=recipes.SOMETHING_MASK, method="gradient")
    assert exact.proven and exact.gap == 0 and (found.proven, found.gap) == (None, None)
    assert set(exact.mask.tolist()) <= {0.0, 1.0}
    binary = perturb.freeze(ramps((3, 4)), found.binary_mask.float()[None])
    score = float(Movement().eval()(binary).softmax(1)[0, 1].detach())
    assert float(exact.losses[-1]) <= float(interp.penalty(found.binary_mask.float()[None])) + score + 1e-6


def test_to_dict_is_json_and_short():
    record = explain(Movement(), ramps((2, 3)), [0], SHORT, ids=["clip"])[0]
    told = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert told["P"] == "moves" and told["target_name"] == "still" and told["recipe"]["name"] == "short"
    assert told["steps"] == 12 and told["last_loss"] < told["first_loss"] + 1e-6
    assert told["binary_mask"] == [int(value > 0.5) for value in told["mask"]]
    assert [one["class"] for one in told["top"]] == ["moves", "still"]
    assert len(json.dumps(told)) < 3000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clips": torch.zeros(1, 8, 4, 4)}, "clip\\[None\\]"),
        ({"clips": torch.zeros(1, 1, 8, 4, 4, dtype=torch.uint8)}, "to_clip"),
        ({"targets": 2}, "classes 0..1"),
        ({"targets": [0, 1]}, "1 class indices"),
        ({"ids": ["a", "b"]}, "ids"),
        ({"explained_class": "both"}, "'predicted' or 'target'"),
        ({"perturbation": "melt"}, "melt"),
    ],
)
def test_errors_say_what_to_do(change, words):
    given = {"model": Movement(), "clips": ramps((2,)), "recipe": SHORT} | change
    with pytest.raises(ValueError, match=words):
        explain(**given)


def test_clip_shape_comes_from_config_then_record():
    model = nn.Identity()
    assert clip_shape(model) == (16, 64, 64)
    model.record = {"recipe": {"num_frames": 32, "size": [120, 160]}}
    assert clip_shape(model) == (32, 120, 160)
    model.config = {"num_frames": 8, "size": (24, 32)}
    assert clip_shape(model) == (8, 24, 32)
