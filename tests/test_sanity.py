"""Sanity checks: numbers by hand, toy models whose result is known, interruption, wrong folders, the shipped files."""

import json

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from interp import recipes  # noqa: E402
from interp.core.windows import penalty  # noqa: E402
from interp.data import open_dataset  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.models import I3D, weights  # noqa: E402
from interp.study import measures, results, sanity  # noqa: E402
from interp.study.sample import EvaluationSample, of_rows, open_run, plain, seeded  # noqa: E402

torch.set_num_threads(1)
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=4)
FRAME, FRAMES = 5, 8


class OneFrame(nn.Module):
    """Sees how far one frame differs from the one before it, in a corner of the picture, and nothing else."""

    gradcam_layer = "layer"

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(3, 1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.layer.weight.fill_(1 / 3)
            self.head.weight.copy_(torch.tensor([[0.0], [12.0]]))
            self.head.bias.copy_(torch.tensor([3.0, 0.0]))

    def forward(self, clips):
        maps = self.layer(clips)  # (B, 1, T, H, W)
        return self.head((maps[:, :, FRAME] - maps[:, :, FRAME - 1])[..., :2, :2].mean((2, 3)))


def toy_sample(count=3, frame=FRAME, **changes):
    """Clips in which frame FRAME lights up a corner, and frame 2 changes more, elsewhere."""
    clips = torch.zeros(count, 3, FRAMES, 4, 4)
    clips[:, :, FRAME:, :2, :2] = 0.9
    clips[:, :, 2:, 2:, :] = 1.0  # a larger difference that the model does not see
    masks, known = torch.zeros(2, count, FRAMES)
    masks[:, frame], known[:, FRAME] = 0.9, 1
    model = OneFrame().eval()
    with torch.no_grad():
        originals = model(clips).softmax(1)[:, 1]
    return EvaluationSample(model, clips, [f"clip-{i}" for i in range(count)], ["a", "b", "a"][:count],
                            torch.ones(count, dtype=torch.long), originals, masks, SHORT, known, **changes)  # fmt: skip


def test_rank_correlation_by_hand():
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6
    assert sanity.rank_correlation([[0.1, 0.2, 0.3, 0.4]], [[0.2, 0.1, 0.9, 0.5]]).tolist() == pytest.approx([0.6])
    # ranks 1 2 3 4 against 1.5 1.5 3 4, from their means: products 4.5, squares 5 and 4.5
    assert sanity.rank_correlation([[1, 2, 3, 4]], [[0, 0, 1, 2]])[0] == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    constant = sanity.rank_correlation([[0, 1, 2], [3, 3, 3]], [[5, 5, 5.001], [0, 1, 2]]).tolist()
    assert constant[0] == 0 and np.isnan(constant[1])  # differences below 0.01 do not count
    assert sanity.between_clip_correlation([[0, 1, 2], [2, 1, 0]]) == pytest.approx(-1)
    assert np.isnan(sanity.between_clip_correlation([[0, 1, 2]]))


def test_overlap_and_means_by_hand():
    first = torch.tensor([[0.0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    second = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert sanity.overlap(first, second).tolist() == pytest.approx([1 / 3, 1, 0])
    longer = torch.tensor([[0.0, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
    assert sanity.containment(first, longer).tolist() == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert sanity.containment(second, longer).tolist() == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    # a run of two frames has three places: in the last three frames lie 1, 2 and 2 of its frames
    assert sanity.chance_containment(first[:1], longer[:1]).tolist() == pytest.approx([(1 + 2 + 2) / 6])
    mean = toy_sample().means({"x": [1, 3, np.nan]})["x"]  # of classes a and b; the third value does not count
    assert mean == {"mean": 2, "low": 1, "high": 3, "clips": 2}
    assert plain({"a": torch.tensor([float("nan"), 1.0]), "b": np.int64(2)}) == {"a": [None, 1.0], "b": 2}


def test_random_masks_have_the_length_of_the_mask_and_never_equal_it():
    mask = torch.tensor([0.0, 0, 1, 1, 1, 0, 0, 0])
    scattered, runs = sanity.random_masks(mask, seeded(0, "a"), 50)
    for drawn in (scattered, runs):
        assert drawn.shape == (50, 8) and bool((drawn.sum(1) == 3).all())
        assert not bool((drawn == mask).all(1).any())
    begins = ((runs[:, 1:] - runs[:, :-1]) == 1).sum(1) + runs[:, 0]
    assert bool((begins == 1).all()) and len(torch.unique(runs, dim=0)) == 5  # six places without its own
    again = sanity.random_masks(mask, seeded(0, "a"), 50)
    assert torch.equal(scattered, again[0]) and torch.equal(runs, again[1])
    assert not torch.equal(scattered, sanity.random_masks(mask, seeded(0, "b"), 50)[0])


def test_shares_of_random_masks_that_are_beaten():
    for frame, share in ((FRAME, 1), (1, 0.5 * 6 / 7)):  # elsewhere a frame changes nothing; FRAME itself is better
        shares = sanity.shares_beaten(toy_sample(frame=frame))
        assert shares["runs_freeze"].tolist() == pytest.approx([share] * 3, abs=0.1) and len(shares) == 4
    assert sanity.shares_beaten(toy_sample(frame=slice(None)))["runs_blur"].isnan().all()  # all frames are on


def test_random_masks_are_held_against_a_random_network(monkeypatch):
    sample = toy_sample()
    numbers, clips, passed = sanity.random_masks_test(sample)
    assert clips["scattered_freeze"].tolist() == [1, 1, 1] and set(clips) > {"random_runs_blur", "gap_runs_blur"}
    assert numbers["gap_runs_blur"]["clips"] == 3  # no mask pays in the random network, but a run as long is compared
    monkeypatch.setattr(sanity, "randomise", lambda model, *_: model)  # the same network: nothing is gained
    numbers, clips, passed = sanity.random_masks_test(sample)
    assert numbers["gap_runs_blur"]["mean"] == 0 and passed["masks"] is None


def test_a_verdict_follows_the_whole_interval():
    low, middle, high = ({"low": x, "high": x + 0.2} for x in (0.1, 0.4, 0.7))
    assert sanity.decide(low, most=0.5) is True and sanity.decide(high, most=0.5) is False
    assert sanity.decide(middle, most=0.5) is None and sanity.decide(low, middle, most=0.5) is None
    assert sanity.decide(low, middle, high, most=0.5) is False
    assert sanity.decide({"low": np.nan, "high": np.nan}, least=0) is None


def test_baselines_by_hand():
    sample = toy_sample()
    peak = measures.largest_change(sample.clips[:1])

    def window(number):
        return measures.change_windows((torch.arange(8) < number)[None], peak)[0]

    assert window(1).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]  # not seen by the model
    assert window(3).nonzero()[:, 0].tolist() == [1, 2, 3] and window(8).sum() == 8
    numbers, clips, passed = sanity.baselines(sample)
    assert clips["change_score"].tolist() == pytest.approx(sample.originals.tolist(), abs=1e-6)
    assert clips["found_agreement"].tolist() == [1, 1, 1] and clips["change_agreement"].tolist() == [0, 0, 0]
    assert clips["chance_agreement"].tolist() == pytest.approx([1 / 8] * 3)
    still = float(torch.tensor([3.0, 0.0]).softmax(0)[1])  # the model's score for a picture that stands still
    assert numbers["found_score"]["mean"] == pytest.approx(still, abs=1e-4) and passed["masks"] is True
    assert numbers["agreement_to_change"]["mean"] == 1
    sample.masks = torch.eye(8)[[1] * 3]  # freezing frame 0 too changes nothing, and saves an edge
    cheaper = min(float(penalty(torch.eye(8)[rows].sum(0)[None], sample.recipe)) for rows in ([1], [0, 1]))
    values = sanity.baselines(sample)[1]
    assert (values["found_loss"] - values["found_score"]).tolist() == pytest.approx([cheaper] * 3)
    sample.masks = sample.search()
    sample.known = None
    numbers, clips, passed = sanity.baselines(sample)
    assert "found_agreement" not in clips and passed["masks"] is True  # by its score


def test_stages_are_the_blocks_in_the_order_of_their_call():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

        def forward(self, x):
            return self.head(self.body(x.flatten(1)[:, :4]))

    assert sanity.stages(Two(), torch.rand(1, 3, 2, 2, 2)) == ["body.0", "body.2", "head"]
    assert sanity.stages(nn.Sequential(Two()), torch.rand(1, 3, 2, 2, 2)) == ["0.body.0", "0.body.2", "0.head"]


def test_randomise_shuffles_only_the_named_stages():
    model, clips = I3D(12, width=0.125).eval(), torch.rand(2, 3, 8, 32, 32)
    assert sanity.stages(model, clips[:1])[::12] == ["Conv3d_1a_7x7", "Logits"]
    copy = sanity.randomise(model, ["Mixed_5c", "Logits"], clips)
    after = copy.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith(("Mixed_5c", "Logits")):
            assert torch.equal(value, after[key]), key
        elif key.endswith("weight") and value.dim() > 1:
            assert not torch.equal(value, after[key])
            assert torch.equal(value.flatten().sort().values, after[key].flatten().sort().values)
    assert not copy.training
    again = sanity.randomise(model, ["Mixed_5c", "Logits"], clips).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in after.items())


class Chosen(OneFrame):
    """Its weights choose the frame that counts: FRAME. With `use_weights` False they have no effect."""

    def __init__(self, use_weights):
        super().__init__()
        self.use_weights, self.head = use_weights, nn.Linear(2 * FRAMES, 2)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[1, FRAME] = 12.0
            self.head.bias.copy_(torch.tensor([3.0, 0.0]))

    def forward(self, clips):
        changes = self.layer(clips)[:, 0, :, :2, :2].mean((2, 3)).diff(dim=1, prepend=clips[:, 0, :1, 0, 0])
        if self.use_weights:
            return self.head(torch.cat([changes, changes.flip(1)], 1))
        fixed = torch.stack([torch.full_like(changes[:, 0], 3.0), 12 * changes[:, FRAME]], 1)
        return fixed + 0 * self.head(torch.cat([changes, changes], 1)).detach()


@pytest.mark.parametrize("use_weights", [True, False])
def test_random_weights_change_the_mask_only_of_a_model_that_uses_them(use_weights):
    sample = toy_sample()
    sample.clips = 0.8 * sample.clips + 0.02 * torch.arange(FRAMES)[:, None, None]  # every frame brings something new
    sample.model = Chosen(use_weights).eval()
    sample.recipe = recipes.MaskRecipe("long", lambda1=0.01, lambda2=0.02, iterations=60)
    numbers, clips, passed = sanity.random_layers(sample)
    assert numbers["stages"] == ["head", "layer"] and len(clips["maps"]) == 3
    if use_weights:
        assert numbers["median"]["masks"][-1] < 0.5 and passed["masks"] is True
    else:
        assert numbers["median"]["masks"][0] == pytest.approx(1) and passed["masks"] is False


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Model, training and validation clips, and a results folder of six clips."""
    torch.manual_seed(0)
    root = generate(tmp_path_factory.mktemp("motion"), 12, 12, size=32, workers=1, progress=False)
    train, validation = (open_dataset("motion", root, split, 8, 32) for split in ("train", "validation"))
    recipe = recipes.change(recipes.I3D_MOTION, num_frames=8, size=(32, 32), batch_size=4)
    path, folder = (tmp_path_factory.mktemp("run") / name for name in ("tiny.safetensors", "results"))
    model = I3D(12, width=0.125, bn_momentum=0.1).eval()
    weights.save(path, model, train.classes, {"recipe": recipes.asdict(recipe)})
    model = weights.read(path)
    results.write(folder, model, validation, SHORT, method="gradient", start="best-window", stop=True, limit=6)
    return model, train, validation, folder


def test_permuted_labels_are_the_same_labels_shuffled(tiny):
    original, permuted = sanity.permute_labels(tiny[1], 8)
    labels, shuffled = ([sample.label for sample in part.samples] for part in (original, permuted))
    assert sorted(labels) == sorted(shuffled) and labels != shuffled and original.ids == permuted.ids
    assert permuted[4][1] == shuffled[4] and torch.equal(*(torch.tensor(part[4][0]) for part in (original, permuted)))
    again, other = (sanity.permute_labels(tiny[1], 8, seed)[1] for seed in (0, 1))
    assert [sample.label for sample in again.samples] == shuffled != [sample.label for sample in other.samples]


def test_all_checks_from_a_folder_to_a_file(tiny, tmp_path):
    model, train, validation, folder = tiny
    sample = open_run(folder, model, validation, clips=2, train=train)
    report = sanity.run(sample, tmp_path / "checks", clips=8, epochs=1)
    assert report == sanity.read(tmp_path / "checks") and report["left_out"] == {}
    assert list(report["checks"]) == list(sanity.CHECKS)
    assert report["about"]["model"]["weights"] == weights.weights_hash(model)
    for record in report["checks"].values():
        assert record["versions"] and len(record["clips"]["id"]) == 2
        assert {verdict["word"] for verdict in record["verdicts"].values()} <= {"passed", "failed", "not decided"}
    labels = report["checks"]["labels"]
    assert labels["verdicts"]["masks"]["word"] == "not decided" and labels["numbers"]["train_clips"] == 8
    # checks.json alone, the model and the clips give the same values for a few of the clips
    few = of_rows(report["about"], model, validation, clips=1)
    for name in ("random", "baselines"):
        for key, values in plain(sanity.CHECKS[name](few)[1]).items():
            if key.startswith(("random", "gap")):
                continue  # the random network's batch normalisation takes the statistics of the clips at hand
            assert values[0] == pytest.approx(report["checks"][name]["clips"][key][0], abs=1e-3), (name, key)
    without = sanity.run(open_run(folder, model, validation, clips=2), tmp_path / "other", ["labels"])
    assert without["checks"] == {} and "training set" in without["left_out"]["labels"]


def test_checks_of_an_exact_run_search_exactly(tiny, tmp_path):
    model, _, validation, _ = tiny
    results.write(tmp_path / "run", model, validation, SHORT, method="exact", budget=60, limit=2)
    sample = open_run(tmp_path / "run", model, validation, clips=2)
    assert torch.equal(sample.unchanged, sample.masks)  # binary, and the same as the run's
    report = sanity.run(sample, tmp_path / "checks", ["labels", "lambdas"])
    assert report["checks"]["lambdas"]["numbers"]["lambda1 halved"]["overlap"]["clips"] == 2
    assert list(report["left_out"]) == ["labels"]


def test_an_interrupted_run_continues_with_the_check_that_was_cut(tiny, tmp_path, monkeypatch):
    model, _, validation, folder = tiny
    names, search, calls = ["perturbations", "lambdas"], EvaluationSample.search, []

    def make(out):
        return sanity.run(open_run(folder, model, validation, clips=3), out, names)["checks"]

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return search(self, *args, **kwargs)

    expected = make(tmp_path / "whole")
    monkeypatch.setattr(EvaluationSample, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut")
    checks = make(tmp_path / "cut")
    assert len(calls) == 6 + 5  # the four searches of the finished check are not made again
    for name in names:
        assert dict(checks[name], seconds=0) == dict(expected[name], seconds=0)
    make(tmp_path / "cut")
    assert len(calls) == 11


def test_wrong_models_clips_folders_and_files(tiny, tmp_path):
    model, train, validation, folder = tiny
    with pytest.raises(ValueError, match="masks of these weights"):
        open_run(folder, I3D(12, width=0.125).eval(), validation)
    with pytest.raises(ValueError, match="give the run's own data"):
        open_run(folder, model, train)
    out = tmp_path / "random"
    about = sanity.run(open_run(folder, model, validation, clips=2), out, ["random"])["about"]
    with pytest.raises(ValueError, match="checks of another run"):
        sanity.run(open_run(folder, model, validation, clips=3), out, ["random"])
    with pytest.raises(ValueError, match="got weather"):
        sanity.run(open_run(folder, model, validation, clips=2), out, ["weather"])
    about["clips"][1]["OS"] += 0.5
    with pytest.raises(ValueError, match="expected the run's score"):
        of_rows(about, model, validation)
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        open_run(folder, model, validation, clips=0)
    with pytest.raises(ValueError, match="expected finished checks"):
        sanity.read(tmp_path)
    for content, message in (('{"format": 2, "checks"', "is not JSON"), ('{"format": 9}', "format 2")):
        (out / "checks.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            sanity.read(out)


@pytest.mark.parametrize("data, count", [("motion", 24), ("kth", 12)])
def test_shipped_checks(data, count):
    shipped = sanity.shipped(data)
    assert [*shipped] == ["i3d", "clstm"]
    for report in shipped.values():
        assert set(report["checks"]) == set(sanity.CHECKS) and len(report["about"]["clips"]) == count
        clips = report["checks"]["baselines"]["clips"]  # an exact mask, found within a budget, and the best window
        assert np.mean(np.array(clips["found_loss"]) <= np.array(clips["window_loss"]) + 1e-6) > 0.9
        assert json.dumps(report)  # nothing but JSON values
