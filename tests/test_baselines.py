"""Other explainers over time, against definitions written out and against what they must sum to."""

import itertools

import pytest
import torch
from test_exact import toy

from interp.core import perturb
from interp.study.baselines import EXPLAINERS, frame_importance


def score(model, clip, frozen, target):
    """The score with these frames frozen, as the perturbation is defined."""
    mask = torch.zeros(1, clip.shape[1], dtype=clip.dtype)
    mask[0, list(frozen)] = 1
    return float(model(perturb.apply("freeze", clip[None], mask)).softmax(1)[0, target])


def test_shapley_values_are_the_mean_over_all_orders():
    model, clips = toy(5, 1, batch=2)
    found = frame_importance(model, clips, "Shapley", 1, groups=5)
    for clip, values in zip(clips, found, strict=True):
        expected = torch.zeros(5)
        orders = list(itertools.permutations(range(5)))
        for order in orders:  # frames are shown one after the other
            for place, frame in enumerate(order):
                hidden = set(order[place:])
                expected[frame] += score(model, clip, hidden - {frame}, 1) - score(model, clip, hidden, 1)
        torch.testing.assert_close(values.float(), expected / len(orders), atol=1e-6, rtol=0)


def test_groups_share_their_value_and_all_values_sum_to_what_freezing_takes():
    model, clips = toy(7, 1, batch=2)
    for explainer, tolerance in (("Shapley", 1e-9), ("integrated gradients", 1e-3)):
        if explainer != "Shapley":
            pytest.importorskip("captum", reason="captum is not installed")
        found = frame_importance(model, clips, explainer, 0, groups=3, steps=200)
        for clip, values in zip(clips, found, strict=True):
            whole = score(model, clip, (), 0) - score(model, clip, range(7), 0)
            assert float(values.sum()) == pytest.approx(whole, abs=tolerance)
            if explainer == "Shapley":
                assert values[0] == values[1] == values[2] and values[3] == values[4] and values[5] == values[6]


def test_occlusion_and_rise_by_hand():
    model, clips = toy(4, 2, batch=2)
    occlusion = frame_importance(model, clips, "occlusion", 0)
    rise = frame_importance(model, clips, "RISE", 0, samples=64, generator=torch.Generator().manual_seed(3))
    masks = torch.rand(64, 4, generator=torch.Generator().manual_seed(3)) < 0.5
    for clip, single, random in zip(clips, occlusion, rise, strict=True):
        for frame in range(4):
            assert float(single[frame]) == pytest.approx(score(model, clip, (), 0) - score(model, clip, [frame], 0))
            scores = torch.tensor([score(model, clip, mask.nonzero()[:, 0].tolist(), 0) for mask in masks])
            shown, frozen = scores[~masks[:, frame]].mean(), scores[masks[:, frame]].mean()
            assert float(random[frame]) == pytest.approx(float(shown - frozen), abs=1e-6)


def test_a_clip_does_not_depend_on_its_neighbours_and_errors_say_what_is_expected():
    model, clips = toy(4, 2, batch=2)
    for explainer in EXPLAINERS[:3]:
        both = frame_importance(model, clips, explainer, [0, 1])
        torch.testing.assert_close(both[1:], frame_importance(model, clips[1:], explainer, 1))
    with pytest.raises(ValueError, match="expected one of occlusion"):
        frame_importance(model, clips, "LIME")
