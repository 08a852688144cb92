"""Grad-CAM against answers computed by hand: a layer with maps over time, and one called once a time step."""

import pytest
import torch
from torch import nn

from interp.gradcam import grad_cam, normalise

BATCHES = [1, 2, 5]


class Weighed(nn.Module):
    """Logits are a layer's maps weighed per class, channel and time step: all gradients are known."""

    def __init__(self, weights):
        super().__init__()
        self.layer, self.weights = nn.Identity(), weights  # (K, F, T)

    def forward(self, clips):
        return torch.einsum("bfthw,kft->bk", self.layer(clips), self.weights.to(clips))


def maps_of(*numbers):
    """Maps (1, F=2, T=2, 2, 1) from eight numbers."""
    return torch.tensor(numbers, dtype=torch.float64).view(1, 2, 2, 2, 1)


# Channel 0: frames (1, 2), (3, 4); channel 1: frames (5, 6), (0, 1).
ACTIVATIONS = maps_of(1, 2, 3, 4, 5, 6, 0, 1)
# d logit / d A: class 0: channel 0 by 1 then 3, channel 1 by -1 then 1; class 1 the opposite sign.
SLOPES = torch.tensor([[[1, 3], [-1, 1]], [[-1, -3], [1, -1]]], dtype=torch.float64)


@pytest.mark.parametrize("batch", BATCHES)
def test_known_answers_of_a_layer_with_time(batch):
    model, clips = Weighed(SLOPES), ACTIVATIONS.repeat(batch, 1, 1, 1, 1)
    # Per clip: class 0 weighs channel 0 by the mean of 1 and 3, channel 1 by 0: 2 A0.
    per_clip = grad_cam(model, clips, 0, "layer", "clip", upsample=False)
    assert per_clip.flatten(1).tolist() == [[2, 4, 6, 8]] * batch
    # Per frame: A0 - A1 in the first frame (negative, so zero), 3 A0 + A1 in the second.
    per_frame = grad_cam(model, clips, 0, "layer", "frame", upsample=False)
    assert per_frame.flatten(1).tolist() == [[0, 0, 9, 13]] * batch
    # Class 1: -2 A0 per clip, all below zero; A1 - A0 in the first frame per frame.
    assert grad_cam(model, clips, 1, "layer", "clip", upsample=False).eq(0).all()
    opposite = grad_cam(model, clips, 1, "layer", "frame", upsample=False)
    assert opposite.flatten(1).tolist() == [[4, 4, 0, 0]] * batch


@pytest.mark.parametrize("batch", BATCHES)
def test_each_clip_has_its_own_target_and_the_guess_is_the_default(batch):
    model = Weighed(SLOPES)
    clips = ACTIVATIONS * torch.tensor([1.0, -1.0] * 3)[:batch, None, None, None, None]
    guesses = model(clips).argmax(1)
    assert guesses.tolist() == [0, 1, 0, 1, 0][:batch]
    own = grad_cam(model, clips, None, "layer")
    torch.testing.assert_close(own, grad_cam(model, clips, guesses, "layer"))
    together = grad_cam(model, clips, guesses, "layer", "frame")
    alone = [grad_cam(model, clips[i:i + 1], int(guesses[i]), "layer", "frame") for i in range(batch)]
    torch.testing.assert_close(together, torch.cat(alone))


class Recurrent(nn.Module):
    """h[t] = x[t] + h[t-1] / 2, by a cell called once a time step; the logit is the sum of a[t] h[t]."""

    def __init__(self, read=(0.0, 0.0, 1.0), tuple_output=False):
        super().__init__()
        self.cell = Cell(tuple_output)
        self.read = nn.Parameter(torch.tensor([read, [-r for r in read]], dtype=torch.float64))

    def forward(self, clips):
        state, logits = torch.zeros_like(clips[:, :, 0]), 0
        for step, frame in enumerate(clips.unbind(2)):
            state = self.cell(frame, state)
            state = state[0] if isinstance(state, tuple) else state
            logits = logits + state.sum((1, 2, 3))[:, None] * self.read[:, step]
        return logits


class Cell(nn.Module):
    def __init__(self, tuple_output):
        super().__init__()
        self.tuple_output = tuple_output

    def forward(self, frame, state):
        state = frame + state / 2
        return (state, (state, frame)) if self.tuple_output else state


@pytest.mark.parametrize("tuple_output", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_known_answers_of_a_layer_called_once_a_step(batch, tuple_output):
    clips = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64).view(1, 1, 3, 1, 1).expand(batch, 1, 3, 2, 2)
    # h = 4, 4, 3. Only the last step is read, yet every step counts: the gradient is 1/4, 1/2, 1.
    model = Recurrent(tuple_output=tuple_output)
    per_frame = grad_cam(model, clips, 0, model.cell, "frame", upsample=False)
    assert per_frame.shape == (batch, 3, 2, 2)
    assert per_frame[:, :, 0, 0].tolist() == [[1, 2, 3]] * batch
    per_clip = grad_cam(model, clips, 0, "cell", "clip", upsample=False)
    torch.testing.assert_close(per_clip[:, :, 0, 1], clips.new_tensor([[4, 4, 3]] * batch) * (1.75 / 3))
    assert grad_cam(model, clips, 1, "cell").eq(0).all()
    # With every step read: 1 + (1 + 1/2) / 2, 1 + 1/2, 1.
    model = Recurrent((1.0, 1.0, 1.0), tuple_output)
    all_read = grad_cam(model, clips, 0, "cell", "frame", upsample=False)
    assert all_read[:, :, 1, 1].tolist() == [[4 * 1.75, 4 * 1.5, 3 * 1.0]] * batch


@pytest.mark.parametrize("batch", BATCHES)
def test_steps_that_the_score_does_not_see_are_zero(batch):
    class Forgetful(Recurrent):
        def forward(self, clips):
            steps = [self.cell(frame, torch.zeros_like(frame)) for frame in clips.unbind(2)]
            return steps[1].sum((1, 2, 3))[:, None] * self.read[:, 2]

    maps = grad_cam(Forgetful(), torch.ones(batch, 1, 3, 2, 2, dtype=torch.float64), 0, "cell", "frame")
    assert maps[:, :, 0, 0].tolist() == [[0, 1, 0]] * batch


@pytest.mark.parametrize("batch", BATCHES)
def test_frames_folded_into_the_batch(batch):
    class Folded(Weighed):
        def forward(self, clips):
            frames = self.layer(clips.transpose(1, 2).flatten(0, 1))  # (B*T, F, H, W)
            maps = frames.unflatten(0, (len(clips), -1)).transpose(1, 2)
            return torch.einsum("bfthw,kft->bk", maps, self.weights)

    clips = ACTIVATIONS.repeat(batch, 1, 1, 1, 1)
    maps = grad_cam(Folded(SLOPES), clips, 0, "layer", "frame", upsample=False)
    assert maps.flatten(1).tolist() == [[0, 0, 9, 13]] * batch


def test_a_layer_followed_by_a_change_in_place():
    class InPlace(Weighed):
        def forward(self, clips):
            return torch.einsum("bfthw,kft->bk", self.layer(clips).mul_(2), self.weights)

    clips = ACTIVATIONS.clone()
    maps = grad_cam(InPlace(SLOPES), clips, 0, "layer", "clip", upsample=False)
    assert maps.flatten().tolist() == [4, 8, 12, 16] and torch.equal(clips, ACTIVATIONS)


def test_probability_differs_from_the_logit_by_the_other_classes():
    model = Weighed(SLOPES)
    chance = model(ACTIVATIONS / 50).softmax(1)[0, 0]
    logit = grad_cam(model, ACTIVATIONS / 50, 0, "layer")
    probability = grad_cam(model, ACTIVATIONS / 50, 0, "layer", score="probability")
    torch.testing.assert_close(probability, logit * 2 * chance * (1 - chance))  # two opposite classes


def test_upsampling_is_linear_with_cells_at_their_centres():
    class Half(Weighed):
        def forward(self, clips):
            return super().forward(nn.functional.avg_pool3d(clips, 2))

    frames = torch.tensor([1.0, 1.0, 3.0, 3.0], dtype=torch.float64).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 4)
    maps = grad_cam(Half(torch.ones(1, 1, 1, dtype=torch.float64)), frames, 0, "layer")
    assert maps.shape == (1, 4, 2, 4) and maps[0, :, 0, 0].tolist() == [1, 1.5, 2.5, 3]


def test_normalise():
    maps = torch.zeros(2, 2, 1, 2)
    maps[0] = torch.tensor([[[1.0, 2.0]], [[4.0, 0.0]]])
    assert normalise(maps, "clip")[0].tolist() == [[[0.25, 0.5]], [[1, 0]]]
    assert normalise(maps, "frame")[0].tolist() == [[[0.5, 1]], [[1, 0]]]
    for per in ("clip", "frame"):
        assert normalise(maps, per)[1].eq(0).all()
        assert normalise(maps * 1e-42, per).isfinite().all() and normalise(maps[0], per).shape == (2, 1, 2)
    for wrong in (maps - 1, maps * float("nan"), maps.bool(), maps[0, 0]):
        with pytest.raises(ValueError, match="maps: expected"):
            normalise(wrong)
    with pytest.raises(ValueError, match='"clip" or "frame"'):
        normalise(maps, "video")


@pytest.mark.parametrize("stops", [None, RuntimeError("power cut"), KeyboardInterrupt()])
def test_no_state_is_left(stops):
    class Net(nn.Module):
        gradcam_layer = "conv"

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)
            self.drop, self.head = nn.Dropout(0.5), nn.Linear(4, 2)

        def forward(self, clips):
            pooled = self.drop(self.norm(self.conv(clips)).mean((2, 3, 4)))
            if stops is not None:
                raise stops
            return self.head(pooled)

    torch.manual_seed(0)
    model, clips = Net().train(), torch.rand(2, 3, 4, 6, 6, requires_grad=True)
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    if stops is None:
        with torch.no_grad():
            first = grad_cam(model, clips, 0)
        assert torch.equal(first, grad_cam(model, clips, 0)) and first.shape == (2, 4, 6, 6)
    else:
        with pytest.raises(type(stops)):
            grad_cam(model, clips, 0)
    assert clips.grad is None and all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert model.training and model.conv.training and not model.norm.training
    assert model.conv.weight.requires_grad and not model.head.bias.requires_grad
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_errors_say_what_to_do():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.block = nn.Conv3d(3, 4, 2, 2), nn.Linear(4, 2)
            self.spare = nn.Conv3d(3, 4, 1)

        def forward(self, clips):
            return self.block(self.embed(clips).flatten(2).transpose(1, 2)).mean(1)

    model, clips = Tokens(), torch.rand(2, 3, 4, 4, 4)
    assert grad_cam(model, clips, 0, "embed").shape == (2, 4, 4, 4)
    for layer, message in [(None, "has no gradcam_layer; give layer=.*'embed'"),
                           ("nowhere", "no layer 'nowhere'"), ("block", "tokens or vectors"),
                           ("spare", "'spare' was not called"),
                           (nn.Conv3d(3, 4, 1), "no part of the model")]:
        with pytest.raises(ValueError, match=message):
            grad_cam(model, clips, 0, layer)
    for wrong, message in [({"weights": "both"}, '"clip" or "frame"'), ({"score": "loss"}, '"logit"'),
                           ({"targets": 2}, r"classes 0\.\.1")]:
        with pytest.raises(ValueError, match=message):
            grad_cam(model, clips, layer="embed", **wrong)
    with pytest.raises(ValueError, match="does not depend"):
        grad_cam(nn.Sequential(nn.Conv3d(3, 4, 1), Blind()), clips, 0, "0")
    with pytest.raises(ValueError, match="to_clip"):
        grad_cam(model, clips.byte(), 0, "embed")
    with pytest.raises(ValueError, match="not finite for clip b "):
        grad_cam(model, clips / torch.tensor([1.0, 0]).view(2, 1, 1, 1, 1), 0, "embed", ids=["a", "b"])


class Blind(nn.Module):
    def forward(self, maps):
        return maps.detach().mean((2, 3, 4))
