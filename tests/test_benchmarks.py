"""The page of benchmarks says what was measured, and the baselines do what they are said to do. Nothing is timed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interp import find_masks, recipes
from interp.core.inference import frozen_eval
from interp.data import open_dataset
from interp.models import CLSTM

pytest.importorskip("av")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import bench_loading  # noqa: E402
import bench_masks  # noqa: E402
import harness  # noqa: E402
import networks_page  # noqa: E402
import networks_reference  # noqa: E402
import reference  # noqa: E402


@pytest.mark.parametrize("bench", [bench_masks, bench_loading])
def test_page_and_results_agree(bench):
    text = bench.PAGE.read_text(encoding="utf-8")
    for mark, content in bench.blocks(harness.read(bench.RESULTS)).items():
        assert harness.between(text, mark, content) == text, f"{mark}: run {bench.__name__}.py --page"


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
def test_baseline_layers_compute_the_same_network(kind, padding, gate):
    torch.manual_seed(0)
    model = CLSTM(5, num_frames=4, size=32, filters=(4, 6), strides=(2, 1), pools=(2, 1), padding=padding, gate=gate)
    plain = networks_reference.with_layers(model.double().eval(), getattr(networks_reference, kind)).eval()
    clips = torch.rand(2, 3, 4, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(plain(clips), model(clips))


def test_memory_of_a_work_is_what_it_holds_at_once():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux has the most memory that was held")
    held = harness.memory(lambda: torch.ones(2**24), torch.device("cpu"))  # 64 MiB
    assert 60 * 2**20 < held < 100 * 2**20


def test_the_baseline_loads_the_same_frames(tmp_path, monkeypatch):
    monkeypatch.setitem(bench_loading.VIDEOS, "short", (1, 12, 72, 96))
    bench_loading.make(tmp_path, 2, "short")
    dataset = open_dataset("folder", tmp_path, "all", bench_loading.FRAMES, bench_loading.SIZE)
    baseline = bench_loading.EveryFrame(dataset)
    for i in range(2):
        frames = baseline[i][0].astype(int)
        assert np.abs(frames - dataset[i][0]).max() <= 3 and frames.std() > 10 and baseline[i][1:] == dataset[i][1:]
        assert np.abs(frames[0] - frames[-1]).mean() > 5  # it moves


def test_the_released_loop_finds_what_the_search_finds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 2 * 2, 5), nn.Tanh()).double().eval()
    clips, start = torch.rand(16, 3, 6, 2, 2).double(), torch.linspace(-2, 2, 6).double()
    found = find_masks(model, clips, 3, recipes.MaskRecipe("ten", 0.01, 0.02, iterations=10), start=start)
    with frozen_eval(model):
        losses = reference.released(model, clips, 4, 3, start, 10)
    assert losses == pytest.approx(found.losses[4].tolist(), abs=1e-9)
    assert not any(weight.grad is not None for weight in model.parameters())


def test_all_searches_are_compared_by_the_loss_of_their_binary_masks():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 2 * 2, 5)).double().eval()
    clips = torch.rand(4, 3, 6, 2, 2).double()
    exact, found = (find_masks(model, clips, 3, method=method) for method in ("exact", "gradient"))
    losses = bench_masks.binary_losses(model, clips, exact)
    torch.testing.assert_close(losses, exact.losses)
    assert (bench_masks.binary_losses(model, clips, found) >= losses - 1e-9).all()


def test_marks_are_needed():
    assert harness.between("a <!-- t -->\nold<!-- /t --> b", "t", "new\n") == "a <!-- t -->\nnew\n<!-- /t --> b"
    with pytest.raises(ValueError, match="put both where the table belongs"):
        harness.between("no marks", "t", "new")
