"""The exact search against brute force: known answers, all 2^T masks of random networks, budgets, trees, counts."""

import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interp import recipes
from interp.core import exact, perturb
from interp.core.exact import MaskOrder, best_masks
from interp.core.masks import find_masks
from interp.core.windows import best_windows, penalty

RECIPE = recipes.SOMETHING_MASK
KNOWN = np.load(Path(__file__).parent / "data" / "exact.npz")


class Toy(nn.Module):
    """Two layers over the whole clip: every order of its frames has a score of its own."""

    def __init__(self, *weights):
        super().__init__()
        self.w1, self.b1, self.w2, self.b2 = (nn.Parameter(weight) for weight in weights)
        self.clips_seen, self.stop_after = 0, float("inf")

    def forward(self, clips):
        self.clips_seen += len(clips)
        if self.clips_seen > self.stop_after:
            raise KeyboardInterrupt
        return torch.tanh(clips.flatten(1) @ self.w1.T + self.b1) @ self.w2.T + self.b2


def toy(num_frames, seed, batch=1, classes=3, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    shapes = [(6, 2 * num_frames), (6,), (classes, 6), (classes,)]
    model = Toy(*(scale * torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes))
    return model, torch.rand(batch, 1, num_frames, 2, 1, generator=g, dtype=torch.float64)


def all_masks(num_frames):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=num_frames)), dtype=torch.float64)


def brute_force(model, clip, target, recipe, perturbation):
    masks = all_masks(clip.shape[1])
    with torch.no_grad():
        mixed = perturb.apply(perturbation, clip.expand(len(masks), -1, -1, -1, -1), masks)
        scores = torch.cat([model(part).softmax(1)[:, target] for part in mixed.split(256)])
    losses = penalty(masks, recipe) + scores
    return losses.min(), masks[losses < losses.min() + 1e-9]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 2e-6)])
@pytest.mark.parametrize("case", range(int(KNOWN["count"])))
def test_known_answers(case, dtype, tolerance):
    known = {key[4:]: KNOWN[key] for key in KNOWN.files if key.startswith(f"c{case:02d}_")}
    model = Toy(*(torch.tensor(known[name], dtype=dtype) for name in ("w1", "b1", "w2", "b2")))
    recipe = dataclasses.replace(RECIPE, **{name: float(known[name]) for name in ("lambda1", "lambda2", "beta")})
    clip, perturbation = torch.tensor(known["clip"], dtype=dtype)[None], str(known["perturbation"])
    truth, arguments = float(known["loss"]), (model, clip, perturbation, int(known["target"]), recipe)
    best = best_masks(*arguments)
    assert best.proven.all() and best.gap == 0 and abs(float(best.losses) - truth) <= tolerance
    clips = [perturb.apply(perturbation, clip, torch.tensor(mask, dtype=dtype)[None]) for mask in known["optima"]]
    assert any(torch.equal(perturb.apply(perturbation, clip, best.masks), other) for other in clips)
    needed = MaskOrder(clip.shape[2], recipe, perturbation).count(float(best.losses))
    assert int(best.forwards) == model.clips_seen <= needed + exact.SHARE
    for budget in (1, 3, 10, 30):
        part = best_masks(*arguments, budget=budget)
        assert float(part.bounds) <= truth + tolerance and truth <= float(part.losses) + tolerance
        assert int(part.forwards) <= budget and (not part.proven or abs(float(part.losses) - truth) <= tolerance)


@pytest.mark.parametrize("perturbation", ["freeze", "reverse", "shuffle"])
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_against_all_masks(seed, perturbation):
    rng = random.Random(f"{seed} {perturbation}")
    num_frames = rng.choice([1, 2, 3, 5, 7, 9])
    recipe = dataclasses.replace(RECIPE, lambda1=rng.choice([0, 0.005, 0.02, 0.1]), beta=rng.choice([1, 2, 3]),
                                 lambda2=rng.choice([0, 0.01, 0.04, 0.2]), border=rng.choice(["paper", "even"]))
    model, clips = toy(num_frames, seed, batch=3, scale=rng.choice([0.3, 1, 3]))
    if rng.random() < 0.4:  # equal frames: many masks give the same clip
        clips[:, :, 1:] = clips[:, :, :-1].clone() if rng.random() < 0.5 else clips[:, :, :1].clone()
    for budget in (2000, 5, 40):
        best = best_masks(model, clips, perturbation, 1, recipe, budget=budget)
        for row, clip in enumerate(clips):
            least, optima = brute_force(model, clip, 1, recipe, perturbation)
            assert best.bounds[row] <= least + 1e-9 and least <= best.losses[row] + 1e-9
            if best.proven[row]:
                assert abs(best.losses[row] - least) < 1e-9
                shown = perturb.apply(perturbation, clip[None], best.masks[row, None])
                assert any(torch.allclose(shown, perturb.apply(perturbation, clip[None], m[None])) for m in optima)
        assert best.proven.all() or budget < 2000
        if perturbation == "freeze":
            assert best.masks[:, 0].eq(0).all()


def test_the_shown_mask_costs_what_the_loss_says_but_for_frame_0():
    model, clips = toy(6, 3, batch=8)
    best = best_masks(model, clips, "freeze", 0, RECIPE)
    both = torch.stack([best.masks, best.masks.index_fill(1, torch.tensor([0]), 1)])
    cheaper = torch.stack([penalty(masks, RECIPE) for masks in both]).amin(0)
    torch.testing.assert_close(best.losses, cheaper + best.scores)
    assert (best.losses <= best_windows(model, clips, "freeze", 0).losses + 1e-9).all()


def test_counts_without_a_model():
    for num_frames, recipe, perturbation, counts in [
        (16, RECIPE, "freeze", {0.2: 779, 0.3: 7_879, 99: 32_768}), (16, RECIPE, "reverse", {99: 5_842}),
        (16, RECIPE, "shuffle", {99: 2**16}), (32, recipes.KTH_MASK, "freeze", {0.3: 277, 0.5: 16_287}),
        (64, RECIPE, "freeze", {99: 2**63}),  # counted, never made
    ]:  # fmt: skip
        order = MaskOrder(num_frames, recipe, perturbation)
        assert {cost: order.count(cost) for cost in counts} == counts
    order = MaskOrder(9, RECIPE, "reverse")
    costs, codes = zip(*order.walk(), strict=True)
    assert codes[0] == 0 and len(set(codes)) == len(codes) == order.count(99) and list(costs) == sorted(costs)
    torch.testing.assert_close(penalty(order.masks(codes), RECIPE), torch.tensor(costs))
    assert [order.cost(code) for code in codes] == list(costs) and order.cost(0b10) == float("inf")


def test_equal_frames_cost_one_forward_pass():
    model, clips = toy(9, 5)
    still = best_masks(model, clips[:, :, :1].expand(-1, -1, 9, -1, -1), "freeze", 0, RECIPE)
    assert still.proven.all() and still.forwards == 1 and still.masks.sum() == 0
    ties = toy(5, 6)[0]
    nn.init.zeros_(ties.w1)  # the score is the same under every mask
    free = dataclasses.replace(RECIPE, lambda1=0.0, lambda2=0.0)
    best = best_masks(ties, torch.rand(1, 1, 5, 2, 1, dtype=torch.float64), "freeze", 0, free)
    assert best.ties[0].shape == (16, 5) and best.masks.sum() == 0


@pytest.mark.parametrize("seen", [1, 3, 40, 90])
def test_ctrl_c_gives_the_best_so_far_with_its_bound(seen):
    model, clips = toy(10, 7, batch=2)
    targets = model(clips).argmax(1)
    truth = [brute_force(model, clip, target, RECIPE, "freeze")[0] for clip, target in zip(clips, targets, strict=True)]
    model.clips_seen, model.stop_after = 0, seen + 1
    best = best_masks(model, clips, "freeze", targets, RECIPE, budget=300, batch_size=2)
    assert int(best.forwards.sum()) <= seen + 2 and not best.proven.all()
    for row, least in enumerate(truth):
        assert best.bounds[row] <= least + 1e-9 and least <= best.losses[row] + 1e-9


class Recurrent(nn.Module):
    """h[t] = tanh(x[t] + 0.7 h[t-1]), all read; as a tree it must give what it gives as a whole."""

    def __init__(self, num_frames):
        super().__init__()
        self.read = nn.Parameter(torch.randn(num_frames * 2, 3, generator=torch.Generator().manual_seed(1)).double())
        self.steps, self.clips_seen = 0, 0

    def step(self, frames, state):
        self.steps += len(frames)
        hidden = torch.tanh(frames.flatten(1) + (0 if state is None else 0.7 * state[0]))
        return hidden, (hidden,)

    def classify(self, outputs):
        return 3 * outputs.flatten(1) @ self.read

    def forward(self, clips):
        self.clips_seen += len(clips)
        outputs, state = [], None
        for frame in clips.unbind(2):
            output, state = self.step(frame, state)
            outputs.append(output)
        return self.classify(torch.stack(outputs, 1))


@pytest.mark.parametrize("perturbation", ["freeze", "reverse"])
def test_a_tree_gives_the_same_with_fewer_steps(perturbation):
    model, clips = Recurrent(10), toy(10, 8, batch=2)[1]
    targets = model(clips).argmax(1)
    model.steps = model.clips_seen = 0
    best = best_masks(model, clips, perturbation, targets, RECIPE, budget=800)
    assert model.clips_seen == 2 and best.proven.all() and best.forwards.min() > 50
    assert model.steps < 0.6 * 10 * int(best.forwards.sum())
    for row, (clip, target) in enumerate(zip(clips, targets, strict=True)):
        assert abs(best.losses[row] - brute_force(model, clip, target, RECIPE, perturbation)[0]) < 1e-9


@pytest.mark.parametrize("value, proven", [(-0.1, False), (1.5, False), (0.0, True)])
def test_no_proof_where_a_score_is_no_probability(value, proven, monkeypatch):
    model, clips = toy(6, 9)
    monkeypatch.setattr(exact, "score_table", lambda _model, _clips, masks, *_: torch.full((1, len(masks)), value))
    best = best_masks(model, clips, "freeze", 0, RECIPE)
    assert best.proven.item() is proven and (best.gap == 0).item() is proven
    assert (best.bounds == -float("inf")).item() is not proven
    monkeypatch.setattr(exact, "score_table", lambda _model, _clips, masks, *_: masks[None, :, 3] * float("nan"))
    with pytest.raises(ValueError, match="not finite for clip 0 .under a mask"):
        best_masks(model, clips, "freeze", 0, RECIPE)


def test_the_same_as_a_method_of_find_masks():
    model, clips = toy(6, 11, batch=2)
    best = best_masks(model, clips, "reverse", None, RECIPE, budget=20)
    same = find_masks(model, clips, None, RECIPE, "reverse", method="exact", budget=20)
    for name in ("masks", "losses", "bounds", "proven", "forwards"):
        assert torch.equal(getattr(best, name), getattr(same, name))
    for wrong in ({"start": "random"}, {"stop": True}, {"keep_path": True}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            find_masks(model, clips, method="exact", **wrong)


def test_errors_say_what_to_do():
    model, clips = toy(4, 10, batch=2)
    for wrong, message in [({"perturbation": "melt"}, "expected one of freeze"), ({"budget": 0}, "at least 1"),
                           ({"recipe": dataclasses.replace(RECIPE, lambda2=-1.0)}, "lambda2 of at least 0"),
                           ({"targets": 7}, r"classes 0\.\.2")]:
        with pytest.raises(ValueError, match=message):
            best_masks(model, clips, **wrong)
    clips[1, 0, 2] = float("nan")
    with pytest.raises(ValueError, match="not finite for clip b "):
        best_masks(model, clips, ids=["a", "b"])
