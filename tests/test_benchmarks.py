"""The page of benchmarks says what was measured, and the rivals do what they are said to do. Nothing is timed."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from interp import masks, recipes
from interp.models import CLSTM

FOLDER = Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import harness  # noqa: E402
import loading_page  # noqa: E402
import masks_page  # noqa: E402
import networks_page  # noqa: E402
import networks_reference  # noqa: E402
import reference  # noqa: E402


def test_page_and_results_agree():
    text = masks_page.PAGE.read_text(encoding="utf-8")
    for mark, content in masks_page.blocks(harness.read(masks_page.RESULTS)).items():
        assert harness.between(text, mark, content) == text, f"{mark}: run bench_masks.py --page"


def test_networks_table_and_results_agree():
    assert networks_page.PAGE.read_text(encoding="utf-8") == networks_page.table_of(
        harness.read(networks_page.RESULTS)), "run bench_networks.py --page"


def test_table_of_networks_compares_like_with_like():
    def row(rate):
        return {"clips_per_second": 0, "clips_per_cpu_second": rate, "memory_mib": 7, "operations": 1e9,
                "precision": "fp32", "batch": 2}
    rows = {"reference, forward": row(10), "ours, forward": row(25), "reference": row(4), "ours": row(6)}
    found = {"machine": {"processor": "P", "cores": 2, "threads": 1, "torch": "2", "load": [0], "load_after": [0],
                         "note": ""},
             "date": "today", "rounds": 3, "rates": {"fp32": 1e11}, "sizes": {"small": {"clstm": rows}}}
    text = networks_page.table_of({"cpu": found})
    assert "| forward: ours | 25 | 2.50× | 7 | 25 % |" in text
    assert "| training: ours, float32 | 6 | 1.50× | 7 | 6 % |" in text


@pytest.mark.parametrize("kind", ["PerGate", "ByAutograd"])
@pytest.mark.parametrize("padding, gate", [("same", "sigmoid"), ("valid", "hard_sigmoid")])
def test_rival_layers_compute_the_same_network(kind, padding, gate):
    torch.manual_seed(0)
    model = CLSTM(5, num_frames=4, size=32, filters=(4, 6), strides=(2, 1), pools=(2, 1), padding=padding, gate=gate)
    rival = networks_reference.with_layers(model.double().eval(), getattr(networks_reference, kind)).eval()
    clips = torch.rand(2, 3, 4, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(rival(clips), model(clips))


def test_memory_of_a_work_is_what_it_holds_at_once():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("Linux alone tells the most memory that was held")
    held = harness.memory(lambda: torch.ones(2**24), torch.device("cpu"))  # 64 MiB
    assert 60 * 2**20 < held < 100 * 2**20


def test_page_and_results_of_loading_agree():
    text = loading_page.PAGE.read_text(encoding="utf-8")
    for mark, content in loading_page.blocks(harness.read(loading_page.RESULTS)).items():
        assert harness.between(text, mark, content) == text, f"{mark}: run bench_loading.py --page"


def test_the_rival_loads_the_same_frames(tmp_path):
    pytest.importorskip("av")
    import bench_loading
    import numpy as np

    from interp.data import open_dataset

    bench_loading.VIDEOS["short"] = (1, 12, 72, 96)
    bench_loading.make(tmp_path, 2, "short")
    ours = open_dataset("folder", tmp_path, "all", bench_loading.FRAMES, bench_loading.SIZE)
    rival = bench_loading.EveryFrame(ours)
    for i in range(2):
        frames = rival[i][0].astype(int)
        assert np.abs(frames - ours[i][0]).max() <= 3 and frames.std() > 10 and rival[i][1:] == ours[i][1:]
        assert np.abs(frames[0] - frames[-1]).mean() > 5  # it moves


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
