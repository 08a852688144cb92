"""The mask search: step by step against known searches, each clip alone, the model restored."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interp import recipes
from interp.core import masks, perturb, windows

ANSWERS = np.load(Path(__file__).parent / "data" / "search.npz")
SHORT = dataclasses.replace(recipes.SOMETHING_MASK, iterations=12)


class Motion(nn.Module):
    """The model of the known answers: logits linear in neighbouring frames' mean squared difference."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.batches = []

    def forward(self, clips):
        self.batches.append(len(clips))
        return 40 * clips.diff(dim=2).square().mean((1, 3, 4)) @ self.weight.T + self.bias


def known(case):
    model = Motion(torch.from_numpy(ANSWERS[f"{case}_w"]), torch.from_numpy(ANSWERS[f"{case}_b"]))
    return model, torch.from_numpy(ANSWERS[f"{case}_clip"])[None], int(ANSWERS[f"{case}_class"])


def toy(seed=0, batch=5, num_frames=8):
    generator = torch.Generator().manual_seed(seed)
    model = Motion(3 * torch.randn(4, num_frames - 1, generator=generator), torch.zeros(4))
    return model, torch.rand(batch, 3, num_frames, 4, 4, generator=generator)


@pytest.mark.parametrize("recipe", [recipes.SOMETHING_MASK, recipes.SOMETHING_MASK_TABLE])
@pytest.mark.parametrize("perturbation", ["freeze", "reverse"])
@pytest.mark.parametrize("case", [0, 1, 2])
def test_known_searches(case, perturbation, recipe):
    model, clips, target = known(case)
    found = masks.find_masks(model, clips, target, recipe, perturbation)
    name = f"{case}_{perturbation}_lr{recipe.learning_rate}"
    assert abs(found.losses[0].numpy() - ANSWERS[f"{name}_loss"]).max() < 1e-6
    assert abs(found.masks[0].numpy() - ANSWERS[f"{name}_mask"]).max() < 1e-6
    assert found.steps.tolist() == [300]


@pytest.mark.parametrize("case", [0, 1, 2])
def test_known_central_start(case):
    model, clips, target = known(case)
    found = masks.find_masks(model, clips, target, dataclasses.replace(recipes.SOMETHING_MASK, iterations=1))
    assert found.starts[0].tolist() == ANSWERS[f"{case}_central_init"].tolist()


@pytest.mark.parametrize("num_frames, expected", [(2, [5, 5]), (3, [5, 5, 5]), (4, [-5, 5, 5, -5])])
def test_central_start_of_very_short_clips(num_frames, expected):
    model, clips = toy(num_frames=num_frames)
    found = masks.find_masks(model, clips, None, dataclasses.replace(recipes.SOMETHING_MASK, iterations=1))
    assert found.starts[0].tolist() == expected


def test_table_learning_rate_cannot_move_a_frame_across_one_half():
    model, clips, target = known(0)
    found = masks.find_masks(model, clips, target, recipes.SOMETHING_MASK_TABLE)
    assert torch.equal(found.binary_masks, (found.starts > 0).to(found.masks))


def test_total_variation():
    mask = torch.tensor([[0.0, 1.0, 0.5, 0.5, 0.0]], dtype=torch.float64)
    # Inner differences 0.5, 0 twice, the outer 1 and 0.5 once: 1 + 2 * 0.125 + 0.125.
    assert windows.total_variation(mask).tolist() == [1.375]
    assert windows.total_variation(mask, beta=1).tolist() == [1 + 2 * 0.5 + 0.5]
    constant = torch.full((2, 6), 0.5, requires_grad=True)
    windows.total_variation(constant).sum().backward()
    assert constant.grad.eq(0).all()
    assert windows.total_variation(torch.rand(3, 2)).tolist() == [0, 0, 0]
    answers = np.load(Path(__file__).parent / "data" / "perturb.npz")
    for name in (name for name in answers.files if name.endswith("tv")):
        own = windows.total_variation(torch.from_numpy(answers[name.replace("tv", "mask")])[None])
        assert abs(own.item() - answers[name]) < 1e-10
    with pytest.raises(ValueError, match="beta: expected at least 1"):
        windows.total_variation(mask, beta=0.5)


@pytest.mark.parametrize("perturbation", ["freeze", "reverse", "shuffle", "blur"])
@pytest.mark.parametrize("start", ["central", "best-window"])
def test_a_clip_depends_on_no_neighbour_and_no_batch_size(perturbation, start):
    model, clips = toy()
    ids = list("abcde")
    found = masks.find_masks(model, clips, None, SHORT, perturbation, start, ids=ids)
    for batch_size in (1, 2, 3):
        again = masks.find_masks(model, clips, None, SHORT, perturbation, start, ids=ids, batch_size=batch_size)
        torch.testing.assert_close(again.masks, found.masks, rtol=0, atol=1e-5)
        torch.testing.assert_close(again.losses, found.losses, rtol=0, atol=1e-5)
    for i, name in enumerate(ids):
        alone = masks.find_masks(model, clips[i:i + 1], None, SHORT, perturbation, start, ids=[name])
        torch.testing.assert_close(alone.masks[0], found.masks[i], rtol=0, atol=1e-5)


def test_batch_size_is_an_upper_bound():
    model, clips = toy(batch=7)
    masks.find_masks(model, clips, recipe=SHORT, batch_size=3)
    assert max(model.batches) == 3


def test_scores_are_of_the_masks_given():
    model, clips = toy()
    for stop in (None, True):
        found = masks.find_masks(model, clips, 1, stop=stop)
        with torch.no_grad():
            scores = model(perturb.freeze(clips, found.masks)).softmax(1)[:, 1]
            originals = model(clips).softmax(1)[:, 1]
        torch.testing.assert_close(found.scores, scores)
        torch.testing.assert_close(found.originals, originals)
        assert found.targets.tolist() == [1] * 5


def test_stopping_lets_clips_leave_and_keeps_their_least_loss():
    model, clips = toy(batch=6)
    whole = masks.find_masks(model, clips)
    stop = masks.Stop(patience=15, tolerance=0.02, minimum=10)
    found = masks.find_masks(model, clips, stop=stop, batch_size=4)
    assert len(set(found.steps.tolist())) > 1 and found.steps.max() < 300
    assert len(set(model.batches)) > 2  # the batch shrinks as clips leave
    for i, steps in enumerate(found.steps.tolist()):
        torch.testing.assert_close(found.losses[i, :steps], whole.losses[i, :steps], rtol=0, atol=1e-4)
        assert (found.losses[i, steps:] == found.losses[i, steps - 1]).all()
    final = windows.penalty(found.masks, found.recipe) + found.scores
    torch.testing.assert_close(final, found.losses.min(1).values, rtol=0, atol=1e-4)


def test_a_stop_that_is_none_is_refused():
    for wrong in ({"patience": 0}, {"tolerance": -1}, {"minimum": -1}):
        with pytest.raises(ValueError, match="Stop: expected"):
            masks.Stop(**wrong)


def test_path_leads_from_the_start_to_the_mask():
    model, clips = toy()
    found = masks.find_masks(model, clips, recipe=SHORT, keep_path=True)
    assert torch.equal(found.path[:, 0], found.starts.sigmoid())
    assert torch.equal(found.path[:, -1], found.masks)
    before = masks.find_masks(model, clips, recipe=dataclasses.replace(SHORT, iterations=11))
    torch.testing.assert_close(found.path[:, 11], before.masks, rtol=0, atol=1e-6)


def test_logits_as_start():
    model, clips = toy()
    logits = torch.linspace(-2, 2, 8)
    for start in (logits, logits.expand(5, 8)):
        found = masks.find_masks(model, clips, recipe=SHORT, start=start)
        assert torch.equal(found.starts, logits.expand(5, 8))


class Layered(nn.Module):
    """Batch norm, dropout, mixed modes and frozen weights: all that a search could leave behind."""

    def __init__(self, stops=None):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm, self.drop, self.lstm = nn.BatchNorm3d(4), nn.Dropout(0.5), nn.LSTM(4, 5, 2, dropout=0.3)
        self.head, self.stops = nn.Linear(5, 3), stops

    def forward(self, clips):
        if self.stops is not None and torch.is_grad_enabled() and clips.requires_grad:
            raise self.stops
        maps = self.drop(self.norm(self.conv(clips)).relu()).mean((3, 4))
        return self.head(self.lstm(maps.permute(2, 0, 1))[0][-1])


def state(model):
    return ({name: (module.training, len(module._forward_hooks)) for name, module in model.named_modules()},
            {name: (weight.requires_grad, weight.grad) for name, weight in model.named_parameters()},
            {name: value.clone() for name, value in model.state_dict().items()}, model.lstm.dropout)


@pytest.mark.parametrize("stops", [None, RuntimeError("power cut"), KeyboardInterrupt()])
def test_the_model_is_restored(stops):
    torch.manual_seed(0)
    model = Layered(stops).train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    before, clips = state(model), torch.rand(2, 3, 4, 6, 6)
    if stops is None:
        with torch.no_grad():  # also where the caller has switched gradients off
            first = masks.find_masks(model, clips, recipe=SHORT)
        with torch.inference_mode():
            second = masks.find_masks(model, clips + 0, recipe=SHORT)
        torch.testing.assert_close(first.masks, second.masks, rtol=0, atol=1e-5)  # eval mode: no dropout
    else:
        with pytest.raises(type(stops)):
            masks.find_masks(model, clips, recipe=SHORT, batch_size=2)
    after = state(model)
    assert after[0] == before[0] and after[1] == before[1] and after[3] == before[3]
    assert all(torch.equal(after[2][name], value) for name, value in before[2].items())


def test_scores_that_are_not_finite_name_the_clip():
    model, clips = toy()
    clips[3, 0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite for clip c33"):
        masks.find_masks(model, clips, ids=["c0", "c11", "c22", "c33", "c44"], recipe=SHORT)
    with pytest.raises(ValueError, match="not finite for clip 3 "):
        windows.best_windows(model, clips)

    class Breaks(Motion):
        def forward(self, clips):
            logits = super().forward(clips)
            return logits / (clips[:, :1, 1:2].mean((2, 3, 4)) > 0.9) if clips.requires_grad else logits

    model, clips = toy()
    clips[1] += 1  # the only clip whose score stays finite once its gradient is asked for
    with pytest.raises(ValueError, match="not finite for clip 0, 2, 3, 4 .during the search"):
        masks.find_masks(Breaks(model.weight.data, model.bias.data), clips, recipe=SHORT)


@pytest.mark.parametrize("arguments, message", [
    ({"clips": torch.zeros(2, 3, 8, 4, 4, dtype=torch.uint8)}, "to_clip"),
    ({"clips": torch.zeros(3, 8, 4, 4)}, r"clip\[None\]"),
    ({"targets": 4}, r"classes 0\.\.3, got"),
    ({"targets": [0, 1, 2]}, "2 class indices"),
    ({"start": "middle"}, "best-window"),
    ({"start": torch.zeros(3, 8)}, r"\(8,\) or \(2, 8\)"),
    ({"perturbation": "melt"}, "freeze, reverse"),
    ({"stop": 3}, "Stop.patience"),
    ({"batch_size": 0}, "at least 1"),
    ({"method": "exact", "start": "central"}, "takes no start"),
    ({"method": "exact", "keep_path": True}, "takes no start"),
    ({"method": "luck"}, "gradient"),
    ({"ids": ["a"]}, "each of the 2 clips"),
    ({"model": lambda clips: clips}, "nn.Module"),
    ({"model": nn.Flatten(2)}, r"expected logits \(B,K\)"),
])
def test_errors_say_what_to_do(arguments, message):
    model, clips = toy(batch=2)
    with pytest.raises(ValueError, match=message):
        masks.find_masks(**{"model": model, "clips": clips, "recipe": SHORT, **arguments})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_any_float_type_of_clip(dtype):
    model, clips = toy(batch=2)
    found = masks.find_masks(model, clips.to(dtype), recipe=SHORT)
    assert found.masks.dtype == torch.float32 and found.masks.isfinite().all()


def test_out_of_memory_halves_the_batch():
    class Small(Motion):
        def forward(self, clips):
            if len(clips) > 2 and clips.requires_grad:
                raise torch.cuda.OutOfMemoryError("too many")
            return super().forward(clips)

    model, clips = toy()
    small = Small(model.weight.data, model.bias.data)
    expected = masks.find_masks(model, clips, recipe=SHORT)
    found = masks.find_masks(small, clips, recipe=SHORT, batch_size=5)
    torch.testing.assert_close(found.masks, expected.masks, rtol=0, atol=1e-5)
