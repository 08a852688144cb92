"""The page of benchmarks says what was measured, and the rivals do what they are said to do. Nothing is timed."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from interp import masks, recipes

FOLDER = Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import harness  # noqa: E402
import masks_page  # noqa: E402
import reference  # noqa: E402


def test_page_and_results_agree():
    text = masks_page.PAGE.read_text(encoding="utf-8")
    for mark, content in masks_page.blocks(harness.read(masks_page.RESULTS)).items():
        assert harness.between(text, mark, content) == text, f"{mark}: run bench_masks.py --page"


def test_rivals_find_what_the_search_finds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 2 * 2, 5), nn.Tanh()).double().eval()
    clips, start = torch.rand(16, 3, 6, 2, 2).double(), torch.linspace(-2, 2, 6).double()
    recipe = recipes.MaskRecipe("ten", 0.01, 0.02, iterations=10)
    found = masks.find_masks(model, clips, 3, recipe, start=start)
    for rival in (reference.released, reference.single):
        losses = rival(model, clips, 4, 3, start, 10)
        assert losses == pytest.approx(found.losses[4].tolist(), abs=1e-9)
    assert not any(weight.grad is not None for weight in model.parameters())


def test_marks_are_asked_for():
    assert harness.between("a <!-- t -->\nold<!-- /t --> b", "t", "new\n") == "a <!-- t -->\nnew\n<!-- /t --> b"
    with pytest.raises(ValueError, match="put both where the table belongs"):
        harness.between("no marks", "t", "new")
