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
import bench_networks  # noqa: E402
import harness  # noqa: E402
import reference  # noqa: E402


def linear(*more):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 2 * 2, 5), *more).double().eval()


@pytest.mark.parametrize("bench", [bench_masks, bench_loading, bench_networks])
def test_tables_and_results_agree(bench):
    name = bench.__name__.removeprefix("bench_")
    text = (harness.TABLES / f"{name}.md").read_text(encoding="utf-8")
    assert text == bench.text_of(harness.read(name)), f"run {bench.__name__}.py --page"


def test_table_of_networks_compares_like_with_like():
    def row(rate):
        return {"clips_per_second": 0, "clips_per_cpu_second": rate, "memory_mib": 7, "operations": 1e9,
                "precision": "fp32", "batch": 2}  # fmt: skip

    rows = {"reference, forward": row(10), "ours, forward": row(25), "reference": row(4), "ours": row(6)}
    found = {"machine": harness.machine("") | {"load_after": [0]}, "date": "today", "rounds": 3,
             "rates": {"fp32": 1e11}, "sizes": {"small": {"clstm": rows}}}  # fmt: skip
    text = bench_networks.text_of({"cpu": found})
    assert "| forward: ours | 25 | 2.50× | 7 | 25 % |" in text
    assert "| training: ours, float32 | 6 | 1.50× | 7 | 6 % |" in text


@pytest.mark.parametrize("padding, gate", [("same", "sigmoid"), ("valid", "hard_sigmoid")])
def test_the_baseline_layer_computes_the_same_network(padding, gate):
    torch.manual_seed(0)
    model = CLSTM(5, num_frames=4, size=32, filters=(4, 6), strides=(2, 1), pools=(2, 1), padding=padding, gate=gate)
    plain = reference.with_layers(model.double().eval(), reference.PerGate).eval()
    clips = torch.rand(2, 3, 4, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(plain(clips), model(clips))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux has the most memory that was held")
def test_memory_of_a_work_is_what_it_holds_at_once():
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


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_the_released_loop_finds_what_the_search_finds():
    model = linear(nn.Tanh())
    clips, start = torch.rand(16, 3, 6, 2, 2).double(), torch.linspace(-2, 2, 6).double()
    found = find_masks(model, clips, 3, recipes.MaskRecipe("ten", 0.01, 0.02, iterations=10), start=start)
    with frozen_eval(model):
        losses = reference.released(model, clips, 4, 3, start, 10)
    assert losses == pytest.approx(found.losses[4].tolist(), abs=1e-9)


def test_all_searches_are_compared_by_the_loss_of_their_binary_masks():
    model, clips = linear(), torch.rand(4, 3, 6, 2, 2).double()
    exact, found = (find_masks(model, clips, 3, method=method) for method in ("exact", "gradient"))
    losses = bench_masks.binary_losses(model, clips, exact)
    torch.testing.assert_close(losses, exact.losses)
    assert (bench_masks.binary_losses(model, clips, found) >= losses - 1e-9).all()
