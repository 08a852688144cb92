"""Numbers about masks, scores and maps, each against a value counted by hand."""

import numpy as np
import pytest
import torch

from interp import measure, measure_maps

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


# 0111001100000001: runs 1-3, 6-7, 15. The second is a central start, the third only looks like one, the last is empty.
DIGITS = ["0111001100000001", "0001111111111000", "1111111111111111", "0001111001111000", "0000000000000000"]
BINARY = torch.tensor([[digit == "1" for digit in one] for one in DIGITS])


def test_runs_and_the_first_and_last_frame():
    assert measure.runs(BINARY).tolist() == [3, 1, 1, 2, 0]
    assert measure.first_frame(BINARY)[:4].tolist() == [1, 3, 0, 3]
    assert measure.last_frame(BINARY)[:4].tolist() == [15, 12, 15, 12]
    assert measure.first_frame(BINARY)[4].isnan() and measure.last_frame(BINARY)[4].isnan()
    assert measure.is_central_start(BINARY).tolist() == [False, True, False, False, False]
    assert measure.runs(MASKS).tolist() == [1, 0, 1]


def test_the_drop_and_its_share_of_the_fully_frozen_clip():
    OS, FS, frozen = torch.tensor([0.9, 0.5, 0.4]), torch.tensor([0.2, 0.6, 0.1]), torch.tensor([0.1, 0.2, 0.4])
    assert measure.drop(OS, FS).tolist() == pytest.approx([0.7, -0.1, 0.3])
    assert measure.drop(OS, FS, frozen)[:2].tolist() == pytest.approx([0.7 / 0.8, -0.1 / 0.3])
    assert measure.drop(OS, FS, frozen)[2].isnan()


def test_order_ratio_knows_how_finely_scores_are_printed():
    RS, FS = torch.tensor([0.4, 0.1, 0.0, 0.0]), torch.tensor([0.1, 0.0, 0.05, 0.0])
    assert measure.order_ratio(RS, FS, 0.001)[:3].tolist() == pytest.approx([4, 200, 0.01])
    assert measure.order_ratio(RS, FS, 0.001)[3].isnan()
    assert measure.order_ratio(RS, FS)[1].isinf() and measure.order_ratio(RS, FS)[3].isnan()
    with pytest.raises(ValueError, match="resolution"):
        measure.order_ratio(RS, FS, -1)


def test_pointing_in_time_shares_a_tie():
    values = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.0, 1.0, 1.0, 0.0], [0.9, 0.1, 0.0, 0.0]])
    known = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
    assert measure.pointing_in_time(values, known).tolist() == [1, 0.5, 0]


def test_blobs_by_hand():
    corner, two, empty = np.zeros((3, 4, 4))
    corner[0, 0] = 1  # a sixteenth of the picture, its middle 3/4 of the way to the corner
    two[0, 0] = two[3, 2] = two[3, 3] = 0.9
    two[1, 1] = 0.8  # shares only a corner with (0, 0): not the same blob
    found = measure_maps.blobs(np.stack([corner, two, empty]), grid=None)
    assert found.count.tolist() == [1, 3, 0]
    assert found.size[:2].tolist() == pytest.approx([1 / 16, 4 / 3 / 16])
    assert found.distance[0] == pytest.approx(0.75)
    far = np.hypot(0.75, 0.5) / np.sqrt(2)  # of the pair's middle
    assert found.distance[1] == pytest.approx((0.75 + 0.25 + 2 * far) / 4)
    assert np.isnan([found.size[2], found.distance[2]]).all()
    assert measure_maps.blobs(np.stack([two]), threshold=0.85, grid=None).count.tolist() == [2]


def test_blobs_do_not_depend_on_the_grid_of_the_layer():
    coarse = np.zeros((1, 4, 4))
    coarse[0, 1:3, 1:3] = 1
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    sizes = [float(measure_maps.blobs(maps).size[0]) for maps in (coarse, fine)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1) and sizes[1] == pytest.approx(0.25, rel=0.05)
    assert measure_maps.blobs(coarse).distance[0] == pytest.approx(0, abs=1e-9)


def test_the_distance_of_an_even_map_is_what_chance_gives():
    axis = (np.arange(400) + 0.5) / 200 - 1
    even = np.hypot(*np.meshgrid(axis, axis)).mean() / np.sqrt(2)
    assert measure_maps.UNIFORM_DISTANCE == pytest.approx(even, abs=1e-3)


def test_maps_against_boxes():
    maps = np.zeros((3, 4, 4))
    maps[0, 0, 0], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0] = maps[1, 3, 3] = 2
    boxes = [[(0, 0, 0.5, 0.5)], [(0, 0, 0.5, 0.5), (0.1, 0.1, 0.4, 0.4)], [(0, 0, 1, 1)]]
    assert measure_maps.share_in_boxes(maps, boxes)[:2].tolist() == [0.75, 0.5]
    assert measure_maps.pointing_in_space(maps, boxes)[:2].tolist() == [1, 0.5]
    assert np.isnan(measure_maps.share_in_boxes(maps, boxes)[2])
    assert np.isnan(measure_maps.pointing_in_space(maps, boxes)[2])
    assert measure_maps.share_in_boxes(np.ones((2, 4, 4)), boxes[:2]).tolist() == [0.25, 0.25]


def test_wrong_maps_are_told():
    with pytest.raises(ValueError, match="one map is map"):
        measure_maps.blobs(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="gradcam.normalise"):
        measure_maps.blobs(np.full((1, 4, 4), 3.0))
    with pytest.raises(ValueError, match="a list for each frame"):
        measure_maps.share_in_boxes(np.ones((2, 4, 4)), [[]])


def test_wrong_forms_are_told():
    with pytest.raises(ValueError, match="one mask is mask"):
        measure.length(MASKS[0])
    with pytest.raises(ValueError, match="like the masks"):
        measure.chance_agreement(MASKS, KNOWN[:2])
