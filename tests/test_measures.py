"""Numbers about masks, scores and maps, each against a value counted by hand; MEASURES over hand-made rows."""

import importlib

import numpy as np
import pytest
import torch

from interp.study import measures
from interp.study.measures import MEASURES, column

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy")

MASKS = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.0, 0.5, 0.4, 0.0], [1.0, 1.0, 1.0, 1.0]])
KNOWN = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0]])


def test_length_counts_frames_above_the_threshold():
    assert measures.length(MASKS).tolist() == [2, 0, 4]
    assert measures.length(MASKS > 0.5).tolist() == [2, 0, 4]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_agreement_is_intersection_over_union(dtype):
    assert measures.agreement(MASKS, KNOWN.to(dtype)).tolist() == pytest.approx([1 / 3, 0, 1 / 2])


def test_chance_is_the_mean_over_every_place_of_the_run():
    # Two frames against frames 2 and 3 of four: places 0, 1, 2 give 0, 1/3, 1. The whole clip has one place.
    assert measures.chance_agreement(MASKS, KNOWN).tolist() == pytest.approx([4 / 9, 0, 1 / 2])


def test_chance_is_what_drawing_at_random_tends_to():
    generator = torch.Generator().manual_seed(0)
    known = (torch.arange(16) // 5 == 1).expand(4000, -1)
    first = torch.randint(0, 12, (4000, 1), generator=generator)  # runs of five in sixteen frames
    runs = ((torch.arange(16) >= first) & (torch.arange(16) < first + 5)).float()
    drawn = measures.agreement(runs, known).mean().item()
    assert measures.chance_agreement(runs[:1], known[:1]).item() == pytest.approx(drawn, abs=0.02)


# 0111001100000001: runs 1-3, 6-7, 15. The last is empty.
DIGITS = ["0111001100000001", "0001111111111000", "1111111111111111", "0001111001111000", "0000000000000000"]
BINARY = torch.tensor([[digit == "1" for digit in one] for one in DIGITS])


def test_runs_and_the_first_and_last_frame():
    assert measures.runs(BINARY).tolist() == [3, 1, 1, 2, 0]
    assert measures.first_frame(BINARY)[:4].tolist() == [1, 3, 0, 3]
    assert measures.last_frame(BINARY)[:4].tolist() == [15, 12, 15, 12]
    assert measures.first_frame(BINARY)[4].isnan() and measures.last_frame(BINARY)[4].isnan()
    assert measures.runs(MASKS).tolist() == [1, 0, 1]


def test_the_drop_and_its_share_of_the_fully_frozen_clip():
    OS, FS, frozen = torch.tensor([0.9, 0.5, 0.4]), torch.tensor([0.2, 0.6, 0.1]), torch.tensor([0.1, 0.2, 0.4])
    assert measures.drop(OS, FS).tolist() == pytest.approx([0.7, -0.1, 0.3])
    assert measures.drop(OS, FS, frozen)[:2].tolist() == pytest.approx([0.7 / 0.8, -0.1 / 0.3])
    assert measures.drop(OS, FS, frozen)[2].isnan()


def test_order_ratio_knows_how_finely_scores_are_printed():
    RS, FS = torch.tensor([0.4, 0.1, 0.0, 0.0]), torch.tensor([0.1, 0.0, 0.05, 0.0])
    assert measures.order_ratio(RS, FS, 0.001)[:3].tolist() == pytest.approx([4, 200, 0.01])
    assert measures.order_ratio(RS, FS, 0.001)[3].isnan()
    assert measures.order_ratio(RS, FS)[1].isinf() and measures.order_ratio(RS, FS)[3].isnan()


def test_pointing_in_time_shares_a_tie():
    values = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.0, 1.0, 1.0, 0.0], [0.9, 0.1, 0.0, 0.0]])
    known = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
    assert measures.pointing_in_time(values, known).tolist() == [1, 0.5, 0]


def test_blobs_by_hand():
    corner, two, empty = np.zeros((3, 4, 4))
    corner[0, 0] = 1  # a sixteenth of the picture, its middle 3/4 of the way to the corner
    two[0, 0] = two[3, 2] = two[3, 3] = 0.9
    two[1, 1] = 0.8  # shares only a corner with (0, 0): not the same blob
    found = measures.blobs(np.stack([corner, two, empty]), grid=None)
    assert found.count.tolist() == [1, 3, 0]
    assert found.size[:2].tolist() == pytest.approx([1 / 16, 4 / 3 / 16])
    assert found.distance[0] == pytest.approx(0.75)
    far = np.hypot(0.75, 0.5) / np.sqrt(2)  # of the pair's middle
    assert found.distance[1] == pytest.approx((0.75 + 0.25 + 2 * far) / 4)
    assert np.isnan([found.size[2], found.distance[2]]).all()
    assert measures.blobs(np.stack([two]), threshold=0.85, grid=None).count.tolist() == [2]


def test_blobs_do_not_depend_on_the_grid_of_the_layer():
    coarse = np.zeros((1, 4, 4))
    coarse[0, 1:3, 1:3] = 1
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    sizes = [float(measures.blobs(maps).size[0]) for maps in (coarse, fine)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1) and sizes[1] == pytest.approx(0.25, rel=0.05)
    assert measures.blobs(coarse).distance[0] == pytest.approx(0, abs=1e-9)


def test_the_distance_of_an_even_map_is_what_chance_gives():
    axis = (np.arange(400) + 0.5) / 200 - 1
    even = np.hypot(*np.meshgrid(axis, axis)).mean() / np.sqrt(2)
    assert measures.UNIFORM_DISTANCE == pytest.approx(even, abs=1e-3)


def test_squares_that_lie_anywhere_are_as_far_off_centre_as_their_size_makes_them():
    side, grid = 10, 40
    maps = np.zeros(((grid - side + 1) ** 2, grid, grid))
    for place, (y, x) in enumerate(np.ndindex(grid - side + 1, grid - side + 1)):
        maps[place, y : y + side, x : x + side] = 1
    found = measures.blobs(maps, grid=None)
    size, distance = (torch.tensor(values) for values in (found.size, found.distance))
    assert (size == side**2 / grid**2).all()
    assert measures.off_centre(size, distance).mean() == pytest.approx(0, abs=0.015)
    assert (distance.mean() - measures.UNIFORM_DISTANCE) < -0.1  # without this, a larger square seems more central


def test_the_window_round_the_largest_change():
    clips = torch.zeros(2, 3, 6, 2, 2)
    clips[0, :, 4:] = 1
    clips[1, 0, 1], clips[1, :, 2:] = 0.5, 1
    assert measures.largest_change(clips).tolist() == [4, 2]
    assert measures.largest_change(clips[:, :, :1]).tolist() == [0, 0]
    masks = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1.0]])
    assert measures.change_windows(masks, torch.tensor([4, 2])).tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0]]
    assert measures.change_windows(masks, torch.tensor([0, 5])).tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]
    assert measures.change_windows(0 * masks, torch.tensor([0, 5])).sum() == 0


def test_maps_against_boxes():
    maps = np.zeros((3, 4, 4))
    maps[0, 0, 0], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0] = maps[1, 3, 3] = 2
    boxes = [[(0, 0, 0.5, 0.5)], [(0, 0, 0.5, 0.5), (0.1, 0.1, 0.4, 0.4)], [(0, 0, 1, 1)]]
    assert measures.share_in_boxes(maps, boxes)[:2].tolist() == [0.75, 0.5]
    assert measures.pointing_in_space(maps, boxes)[:2].tolist() == [1, 0.5]
    assert np.isnan(measures.share_in_boxes(maps, boxes)[2])
    assert np.isnan(measures.pointing_in_space(maps, boxes)[2])
    assert measures.share_in_boxes(np.ones((2, 4, 4)), boxes[:2]).tolist() == [0.25, 0.25]


@pytest.mark.parametrize(("function", "arguments", "words"), [
    (measures.blobs, (np.zeros((4, 4)),), "one map is map"),
    (measures.blobs, (np.full((1, 4, 4), 3.0),), "gradcam.normalise"),
    (measures.share_in_boxes, (np.ones((2, 4, 4)), [[]]), "a list for each of 2 frames"),
    (measures.length, (MASKS[0],), "one mask is mask"),
    (measures.chance_agreement, (MASKS, KNOWN[:2]), "like the masks"),
])  # fmt: skip
def test_wrong_forms_are_errors(function, arguments, words):
    with pytest.raises(ValueError, match=words):
        function(*arguments)


ROW = {"mask": [0.1, 0.6, 0.9, 0.2], "known": [0, 0, 1, 1], "OS": 0.9, "FS": 0.1, "RS": 0.5, "frozen": 0.4,
       "blobs": 1.5, "blob_size": 0.1, "blob_distance": 0.3, "in_boxes": 0.6, "pointing": 0.75,
       "boxes_share": 0.2, "curve": [0.9, 0.5, 0.45, 0.1, 0.1], "change": 3, "error": None}  # fmt: skip
EXPECTED = {
    "length": 2, "runs": 1, "first": 1, "last": 2, "drop_freeze": 0.8, "drop_reverse": 0.4, "share_freeze": 1.6,
    "share_reverse": 0.8, "ratio": np.log10(5), "blobs": 1.5, "blob_size": 0.1, "blob_distance": 0.3,
    "in_boxes": 0.6, "pointing_in_space": 0.75, "boxes_share": 0.2, "agreement": 1 / 3,
    "chance_agreement": (0 + 1 / 3 + 1) / 3, "change_agreement": 1, "needed": 2,
    "off_centre": 0.3 - (1 - 0.1**0.5) * measures.UNIFORM_DISTANCE, "pointing_in_time": 1, "known_share": 0.5,
}  # fmt: skip


def test_every_measure_has_its_known_answer():
    table = pd.DataFrame([ROW])
    assert set(EXPECTED) == set(MEASURES)
    for key, value in EXPECTED.items():
        assert column(table, key).tolist() == pytest.approx([value]), key


def test_every_measure_names_a_function_and_columns_of_the_record():
    from interp.study import record

    for key, measure in MEASURES.items():
        module, name = measure.source.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(f"interp.{module}"), name)), key
        assert set(measure.needs) <= {*record.COLUMNS}


def test_rows_without_a_number():
    small, still, off, bad = dict(ROW), dict(ROW), dict(ROW), dict.fromkeys(ROW)
    small |= {"frozen": 0.85}
    still |= {"RS": 0.0002, "FS": 0.0001, "blob_size": None, "in_boxes": None}
    off |= {"mask": [0.1] * 4, "FS": None}
    bad |= {"error": "damaged"}
    table = pd.DataFrame([ROW, small, still, off, bad])
    assert np.isnan(column(table, "share_freeze")).tolist() == [False, True, False, True, True]
    for key, row in (("ratio", 2), ("ratio", 3), ("first", 3), ("blob_size", 2), ("in_boxes", 2), ("length", 4)):
        assert np.isnan(column(table, key)[row]), key
    assert column(table, "length")[:4].tolist() == [2, 2, 2, 0]


def test_masks_of_several_lengths_in_one_table():
    table = pd.DataFrame([ROW, {**ROW, "mask": [0.0] * 5 + [1.0] * 3, "known": [0] * 6 + [1] * 2}])
    assert column(table, "length").tolist() == [2, 3] and column(table, "agreement")[1] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="expected one of length"):
        column(table, "lenght")
    assert np.isnan(column(table.drop(columns="blobs"), "blobs")).all()


def test_means_of_a_map_by_hand():
    box, heat_map = [0.0, 0.0, 0.5, 0.5], np.zeros((4, 8, 8))
    heat_map[0, :4, :4] = 1  # all of it in the box
    heat_map[1, :4, 2:6] = 1  # half of it
    heat_map[2] = 1  # no box here; and an empty map in the last frame
    row = measures.map_means(heat_map, [[box], [box], [], [box]])
    assert (row["blobs"], row["in_boxes"], row["pointing"], row["boxes_share"]) == (0.75, 0.75, 0.75, 0.25)
    camera = measures.map_means(heat_map, [[]] * 4)
    assert camera["in_boxes"] is None and camera["blobs"] == 0.75
    assert set(measures.map_means(heat_map)) == {"blobs", "blob_size", "blob_distance"}
