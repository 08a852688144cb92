"""Reports of a training, and the pictures of networks and maps: known answers on small tables."""

import json

import numpy as np
import pytest

from interp import figures, plots_maps, plots_networks, recipes, tables, train_log, train_report
from interp.models.anatomy import anatomy

COUNTS = [[8, 2, 0], [5, 5, 0], [0, 1, 9]]
NAMES = ["up", "down", "pass"]
OTHER = {"up": "down", "down": "up", "left": "right"}


def test_mistakes_are_sorted_and_shared_by_the_true_class():
    assert train_report.confusions(COUNTS, NAMES, most=2) == [("down", "up", 5, 0.5), ("up", "down", 2, 0.2)]
    assert train_report.confusions([[3, 0], [0, 3]], NAMES[:2]) == []


def test_taken_for_counts_only_classes_that_have_an_opposite_here():
    assert train_report.taken_for(COUNTS, NAMES, OTHER) == (7, 20)


def test_words_and_rows_hold_the_numbers():
    scores = {"count": 100, "top1": 0.9, "top5": 1.0, "macro_f1": 0.5, "confusion": COUNTS}
    backwards = scores | {"top1": 0.125, "confusion": [[0, 10, 0], [9, 1, 0], [0, 0, 10]]}
    words = train_report.accuracy_in_words(scores, backwards)
    assert "**90.0%**" in words and "3.0%" in words and "12.5%" in words
    words = train_report.mistakes_in_words(scores, backwards, NAMES, OTHER)
    assert "Of 20 clips" in words and "7 were taken" in words and "**19 of 20**" in words
    assert train_report.score_rows({"a": scores})[0]["mean F1"] == "0.500"


def test_facts_take_the_best_epoch_and_add_up_the_minutes(tmp_path):
    log = train_log.Log(tmp_path / "log.jsonl", {"command": "as typed", "recipe": {"epochs": 3}})
    with pytest.raises(ValueError, match="no epoch"):
        train_report.facts(log.path)
    for epoch, top1 in enumerate((0.2, 0.6, 0.4)):
        log.add({"epoch": epoch, "val_top1": top1, "val_loss": 1, "val_top5": 1, "val_top1_reversed": 0,
                 "seconds": 60})
    facts = train_report.facts(log.path)
    assert (facts["best epoch, from 0"], facts["top-1"], facts["minutes of training"]) == (1, 0.6, 3.0)
    assert facts["command"] == "as typed" and "cores" in facts["machine"]
    with pytest.raises(ValueError, match="no training log"):
        train_report.shipped_log("i3d", "nothing")


def test_recipes_as_rows_mark_what_the_paper_does_not_publish():
    first, second = train_report.recipe_rows([recipes.I3D_KTH, recipes.CLSTM_SOMETHING])
    assert first["clip"] == "32×120×160" and first["momentum"] == "–" and first["weight decay"] == "5e-05"
    assert first["learning rate"] == "0.008 *" and first["epochs"] == "30"
    assert second["momentum"] == "0.2" and second["batch"] == "16 *"
    own = train_report.recipe_rows([recipes.I3D_MOTION])[0]
    assert own["epochs"].endswith(" *") and own["momentum"] == "–"
    assert train_report.mask_rows([recipes.KTH_MASK]) == [
        {"recipe": "kth", "λ₁": "0.02", "λ₂": "0.04", "β": "3", "steps": "300", "learning rate": "0.2"}]


def test_plots_draw_what_they_are_given():
    stages = anatomy({"model": "i3d", "num_classes": 12, "width": 0.25}, (3, 16, 64, 64))
    texts = [text.get_text() for text in plots_networks.stages({"small": stages}).axes[0].texts]
    assert "Mixed_5c\n256 @ 8×2×2" in texts
    assert "<td>8×2×2</td>" in plots_networks.stage_table(stages)
    bars = plots_networks.f1_bars([0.5, 1], [0, 0.25], NAMES[:2]).axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.5, 1, 0, 0.25]
    assert [text.get_text() for text in plots_networks.confusion(COUNTS, NAMES).axes[0].texts] == [
        "8", "2", "5", "5", "1", "9"]
    grid = plots_networks.cells(np.zeros((64, 64, 3), np.uint8), {"a": (2, 2)}).axes[0]
    assert list(grid.get_xticks()) == [0, 1, 2]
    rows = plots_maps.frame_values({"I3D": {"clip": [1, 2, 3]}}, (0, 2)).axes[0]
    assert rows.lines[0].get_xydata().tolist() == [[1, 1], [2, 2], [3, 3]]


def test_strips_mark_the_named_frame_and_boxes_are_drawn_on_a_copy():
    frames = np.zeros((4, 40, 40, 3), np.uint8)
    strip = plots_maps.strips({"a": frames}, chosen=[1, 3], marks={"a": 3})
    assert [axes.get_xlabel() for axes in strip.axes] == ["2", "4 ●"]
    drawn = plots_maps.outlined(frames, [[], [(0.25, 0.25, 0.75, 0.75)], [], []])
    assert frames.max() == 0 and drawn[0].max() == 0
    assert tuple(drawn[1, 10, 20]) == plots_maps.GREEN and drawn[1, 20, 20].max() == 0
    assert len(plots_maps.pictures({"a": drawn[1]}).axes) == 1


def test_a_moving_picture_has_words_and_a_still():
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    html = tables.moving_html(frames, 'a "clip"', "a caption & more")
    assert 'alt="a &quot;clip&quot;"' in html and "<figcaption>a caption &amp; more" in html
    assert "prefers-reduced-motion" in html
    assert json.dumps(train_log.machine()) and figures.style() is None
