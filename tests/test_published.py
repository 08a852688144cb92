"""The paper's own tables as packaged: the known means come out, and claims are judged by the numbers alone."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interp import measure, published, published_claims
from interp.published_claims import CLAIMS, COUNT, LENGTH, RATIO, Claim

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
    assert measure.length(masks(dataset, model)).float().mean().item() == pytest.approx(mean, abs=0.006)


def test_first_frames_are_the_known_ones():
    first = [measure.first_frame(masks("something", model)).mean().item() for model in published.MODELS]
    assert first == pytest.approx([5.7, 2.9], abs=0.05)


def test_29_of_i3ds_masks_are_not_of_an_initial_shape():
    assert (~measure.is_central_start(masks("something", "i3d"))).sum() == 29


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


def made_up(shift, number=12, dataset="something"):
    """Clips of six classes whose masks are `shift` frames longer under I3D, and whose RS/FS is 10**shift higher."""
    found = []
    for clip in range(number):
        for model, extra in (("i3d", shift), ("clstm", 0)):
            mask = np.arange(16) < 7 + extra + (clip % 3 == 0) * np.sign(extra)
            ratio = 10.0 ** (extra / 4 + clip / 100 * np.sign(extra))
            found.append(published.Result(dataset, f"class {clip % 6}", str(clip), model, mask,
                                          OS=0.9, FS=0.02, RS=0.02 * ratio))  # fmt: skip
    return found


SHORTER = Claim("shorter", "something", LENGTH, -1)
HIGHER = Claim("higher", "something", RATIO, 1)


@pytest.mark.parametrize(("shift", "words"), [(-3, ("supported", "contradicted")), (0, ("not decided", "not decided")),
                                              (3, ("contradicted", "supported"))])  # fmt: skip
def test_verdicts_follow_made_up_numbers_in_both_directions(shift, words):
    rows = published_claims.judge(made_up(shift), (SHORTER, HIGHER), resamples=500)
    assert tuple(row.verdict.word for row in rows) == words
    assert published_claims.summary(rows) == (
        f"2 tests of the paper's claims: {words.count('supported')} supported, {words.count('contradicted')} "
        f"contradicted, {words.count('not decided')} not decided.")  # fmt: skip


def test_a_small_difference_in_a_few_clips_decides_nothing():
    few = [one for one in made_up(-3) if one.id in "0123"]
    assert published_claims.judge(few, (SHORTER,), resamples=500)[0].verdict.word == "not decided"


@pytest.mark.parametrize(("turns", "others", "word"), [(0, -4, "supported"), (-4, 0, "contradicted"),
                                                       (-4, -4, "not decided")])  # fmt: skip
def test_the_exception_for_camera_turns_follows_the_numbers(turns, others, word):
    def named(results, prefix):
        return [replace(one, id=prefix + one.id, class_name=f"{prefix} {one.class_name}") for one in results]

    results = named(made_up(turns), published.CAMERA_TURNS) + named(made_up(others), "Moving")
    assert published_claims.exception(results).word == word


def test_clips_without_a_number_are_left_out_with_the_reason():
    rows = {row.claim.words: row for row in published_claims.judge(published.results(), resamples=99)}
    row = next(row for words, row in rows.items() if "RS/FS" in words)
    reasons = dict(row.left_out)
    assert row.result.clips == 29 and set(reasons) == {"73154", "213899"}
    assert "no scores" in reasons["73154"] and "0.000" in reasons["213899"]
    assert rows[CLAIMS[0].words].left_out == ()


def test_holm_is_over_all_the_claims():
    alone = published_claims.judge(published.results(), CLAIMS[:1], resamples=99)[0]
    among = published_claims.judge(published.results(), resamples=99)[0]
    assert alone.p == alone.result.p < among.p


def test_a_clip_under_one_model_is_told():
    with pytest.raises(ValueError, match="only one model"):
        published_claims.judge(made_up(1)[1:], (SHORTER,))
    with pytest.raises(ValueError, match="expected one of something, kth"):
        published.results("ssv2")


def test_rows_of_a_results_folder_meet_the_same_tests():
    row = {"label_name": "Moving something up", "id": "7", "mask": [0.1, 0.6, 0.9, 0.2], "OS": 0.9, "FS": 0.1,
           "RS": 0.2, "CS": None, "P": "Moving something up", "error": None}  # fmt: skip
    peak = np.zeros((4, 8, 8), np.float32)
    peak[:, 3:5, 3:5] = 1
    one, = published.from_rows([{"error": "damaged"}, row], "i3d", maps=[None, peak])
    assert one.mask.tolist() == [False, True, True, False] and (one.dataset, one.FS) == ("motion", 0.1)
    assert (LENGTH.of(one), COUNT.of(one)) == (2, 1) and RATIO.of(one) == pytest.approx(np.log10(2))


def test_pairs_are_drawn_where_the_numbers_say():
    from interp import plots_pairs

    figure = plots_pairs.against({"length": {"a": ([1, 1, 3], [2, 2, 5]), "b": ([4], [4])}})
    axes = figure.axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[1, 2], [3, 5]]
    assert axes.collections[0].get_sizes().tolist() == [56, 28]  # two clips on one point
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("I3D", "C-LSTM")
    with pytest.raises(ValueError, match="the same clips"):
        plots_pairs.against({"length": {"a": ([1], [2, 3])}})
