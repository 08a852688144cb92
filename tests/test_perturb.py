"""Perturbations against known answers, by hand, and as algebra."""

from pathlib import Path

import numpy as np
import pytest
import torch

from interp.core import perturb

SHARED = Path(__file__).parents[2] / "shared" / "masks" / "perturb.npz"
CARRIED = Path(__file__).parent / "data" / "perturb.npz"
BUILT_IN = ("freeze", "reverse", "shuffle", "blur")


def cases(path):
    answers = np.load(path)
    for case in sorted({name[:2] for name in answers.files}):
        keys = [name for name in answers.files if name[:2] == case]
        yield case, {name[3:]: torch.from_numpy(np.asarray(answers[name]))[None] for name in keys}


def random_masks(batch, num_frames, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, num_frames, generator=generator, dtype=torch.float64)


def frames(num_frames):
    """A clip whose frame t is filled with t + 1, so that a perturbed clip reads as a list of frames."""
    return torch.arange(1, num_frames + 1, dtype=torch.float64).view(1, 1, -1, 1, 1).expand(1, 2, -1, 3, 2)


def shown(clip):
    return clip[0, 0, :, 0, 0].tolist()


@pytest.mark.parametrize("path", [CARRIED, pytest.param(SHARED, marks=pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here"))])
@pytest.mark.parametrize("name", ["freeze", "reverse"])
def test_known_answers(path, name):
    for case, answer in cases(path):
        masks = answer["mask"].clone().requires_grad_()
        clips = answer["clip"]
        for layout in (clips, clips.contiguous(memory_format=torch.channels_last_3d)):
            perturbed = getattr(perturb, name)(layout, masks)
            assert (perturbed - answer[name]).abs().max() < 1e-10, case
            (gradient,) = torch.autograd.grad((perturbed * answer["functional"]).sum(), masks)
            assert (gradient - answer[f"grad_{name}"]).abs().max() < 1e-10, case


def test_binary_example_of_the_paper():
    masks = torch.tensor([[float(digit) for digit in "0001111100000110"]], dtype=torch.float64)
    clip = frames(16)
    assert shown(perturb.reverse(clip, masks)) == [1, 2, 3, 8, 7, 6, 5, 4, 9, 10, 11, 12, 13, 15, 14, 16]
    assert shown(perturb.freeze(clip, masks)) == [1, 2, 3, 3, 3, 3, 3, 3, 9, 10, 11, 12, 13, 13, 13, 16]
    assert torch.equal(perturb.reverse(perturb.reverse(clip, masks), masks), clip)


def test_soft_reverse_by_hand():
    # Run of frames 1..3 (the last is above 0.1, the first is not): 2 and 4 mix by 0.75, 3 is the middle.
    masks = torch.tensor([[0.1, 0.75, 0.5, 0.2, 0.0]], dtype=torch.float64)
    assert shown(perturb.reverse(frames(5), masks)) == [1, 2 * 0.25 + 4 * 0.75, 3, 4 * 0.25 + 2 * 0.75, 5]
    assert shown(perturb.reverse(frames(5), masks, threshold=0.6)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 16, 32])
def test_zeros_leave_the_clip_and_rows_sum_to_one(name, num_frames):
    clips = torch.rand(2, 3, num_frames, 2, 4, dtype=torch.float64)
    assert torch.equal(perturb.apply(name, clips, torch.zeros(2, num_frames, dtype=torch.float64)), clips)
    for masks in (random_masks(5, num_frames, 0), random_masks(5, num_frames, 1).round()):
        mixing = perturb.time_mixing(name, masks)
        torch.testing.assert_close(mixing.sum(dim=2), torch.ones_like(masks), rtol=0, atol=1e-12)
        assert mixing.min() >= 0


def test_ones_freeze_to_the_first_frame_reverse_all_and_blur_to_the_mean():
    clips = torch.rand(2, 3, 7, 4, 4, dtype=torch.float64)
    ones = torch.ones(2, 7, dtype=torch.float64)
    assert torch.equal(perturb.freeze(clips, ones), clips[:, :, :1].expand_as(clips))
    assert torch.equal(perturb.reverse(clips, ones), clips.flip(2))
    torch.testing.assert_close(perturb.apply("blur", clips, ones), clips.mean(2, keepdim=True).expand_as(clips))


def test_shuffle_reorders_each_run_within_itself():
    masks = torch.tensor([[1.0] * 6 + [0.0] * 2 + [1.0] * 8], dtype=torch.float64)
    once = shown(perturb.apply("shuffle", frames(16), masks))
    assert sorted(once[:6]) == [1, 2, 3, 4, 5, 6] and once[6:8] == [7, 8]
    assert sorted(once[8:]) == [*range(9, 17)] and once != sorted(once)
    assert once == shown(perturb.apply("shuffle", frames(16), masks))  # the order is the same every time


def test_blur_is_a_gaussian_that_grows_with_the_mask():
    mixing = perturb.time_mixing("blur", torch.full((1, 9), 0.5, dtype=torch.float64))[0, 4]
    weights = torch.tensor([0.5 ** (d * d) for d in range(-4, 5)], dtype=torch.float64)
    torch.testing.assert_close(mixing, weights / weights.sum())


@pytest.mark.parametrize("name", BUILT_IN)
def test_gradients_are_those_of_differences(name):
    # Away from the threshold of runs, and at masks of 0 and 1, where a product's gradient could be lost.
    clips = torch.rand(2, 2, 6, 2, 2, dtype=torch.float64)
    masks = torch.tensor([[0.3, 0.9, 0.5, 0.04, 0.7, 0.6], [1.0, 1.0, 0.5, 0.5, 0.8, 1.0]]).double()
    assert torch.autograd.gradcheck(lambda m: perturb.apply(name, clips, m), masks.requires_grad_())
    zeros = torch.zeros(1, 6, requires_grad=True)
    perturb.apply(name, clips[:1].float(), zeros).square().sum().backward()
    assert torch.isfinite(zeros.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_type_and_memory_format_stay(dtype):
    clips = torch.rand(2, 3, 4, 6, 6).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    frozen = perturb.freeze(clips, torch.ones(2, 4))
    assert frozen.dtype == dtype and frozen.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(frozen, clips[:, :, :1].expand_as(clips))


def test_register(monkeypatch):
    monkeypatch.setattr(perturb, "_REGISTRY", dict(perturb._REGISTRY))

    @perturb.register("dim")
    def dim(masks):
        return torch.diag_embed(1 - masks)

    clips = torch.rand(1, 3, 4, 2, 2)
    assert "dim" in perturb.names()
    assert torch.equal(perturb.apply("dim", clips, torch.full((1, 4), 0.5)), clips / 2)
    perturb.register("dim")(dim)  # a notebook's cell run twice
    perturb.register("wrong")(lambda masks: masks)
    with pytest.raises(ValueError, match=r"'wrong': expected matrices .* masks \(1, 4\), got \(1, 4\)"):
        perturb.apply("wrong", clips, torch.zeros(1, 4))
    with pytest.raises(ValueError, match="built-in"):
        perturb.register("freeze")


@pytest.mark.parametrize("clips, masks, name, message", [
    (torch.zeros(1, 3, 4, 2, 2, dtype=torch.uint8), torch.zeros(1, 4), "freeze", "to_clip"),
    (torch.zeros(3, 4, 2, 2), torch.zeros(1, 4), "freeze", r"clip\[None\]"),
    (torch.zeros(1, 3, 4, 2, 2), torch.zeros(4), "freeze", r"mask\[None\]"),
    (torch.zeros(1, 3, 4, 2, 2), torch.zeros(1, 4, dtype=torch.bool), "blur", r"masks\.float"),
    (torch.zeros(1, 3, 4, 2, 2), torch.zeros(1, 5), "freeze", r"expected \(1, 4\) for clips"),
    (torch.zeros(1, 3, 4, 2, 2), torch.zeros(1, 4), "melt", "'melt'; known: freeze, reverse, shuffle, blur"),
])
def test_errors_say_what_to_do(clips, masks, name, message):
    with pytest.raises(ValueError, match=message):
        perturb.apply(name, clips, masks)
