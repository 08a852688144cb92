"""Numbers about masks, each against a value counted by hand."""

import pytest
import torch

from interp import measure

MASKS = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.0, 0.5, 0.4, 0.0], [1.0, 1.0, 1.0, 1.0]])
KNOWN = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0]])


def test_length_counts_frames_above_the_threshold():
    assert measure.length(MASKS).tolist() == [2, 0, 4]
    assert measure.length(MASKS > 0.5).tolist() == [2, 0, 4]
    assert measure.length(MASKS, snap=0.15).tolist() == [3, 2, 4]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_agreement_is_intersection_over_union(dtype):
    assert measure.agreement(MASKS, KNOWN.to(dtype)).tolist() == pytest.approx([1 / 3, 0, 1 / 2])


def test_chance_is_the_mean_over_every_place_of_the_run():
    # Two frames against frames 2 and 3 of four: places 0, 1, 2 give 0, 1/3, 1. The whole clip has one place.
    assert measure.chance_agreement(MASKS, KNOWN).tolist() == pytest.approx([4 / 9, 0, 1 / 2])


def test_chance_is_what_drawing_at_random_tends_to():
    generator = torch.Generator().manual_seed(0)
    known = (torch.arange(16) // 5 == 1).expand(4000, -1)
    first = torch.randint(0, 12, (4000, 1), generator=generator)  # runs of five in sixteen frames
    runs = ((torch.arange(16) >= first) & (torch.arange(16) < first + 5)).float()
    drawn = measure.agreement(runs, known).mean().item()
    assert measure.chance_agreement(runs[:1], known[:1]).item() == pytest.approx(drawn, abs=0.02)


def test_wrong_forms_are_told():
    with pytest.raises(ValueError, match="one mask is mask"):
        measure.length(MASKS[0])
    with pytest.raises(ValueError, match="like the masks"):
        measure.chance_agreement(MASKS, KNOWN[:2])
