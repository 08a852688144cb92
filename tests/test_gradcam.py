"""Grad-CAM against maps computed by hand, in every layout a layer can have, and drawn where its cells look."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from interp.core import gradcam
from interp.core.gradcam import grad_cam, normalise
from interp.core.inference import frozen_eval
from interp.models import CLSTM, I3D

BATCHES = [1, 3]
pytestmark = pytest.mark.filterwarnings("ignore:clips. expected values")  # known maps are small whole numbers


class Weighted(nn.Module):
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
    model, clips = Weighted(SLOPES), ACTIVATIONS.repeat(batch, 1, 1, 1, 1)
    # Per clip: class 0 weighs channel 0 by the mean of 1 and 3, channel 1 by 0: 2 A0.
    per_clip = grad_cam(model, clips, 0, "layer", "clip", upsample=False)
    assert per_clip.flatten(1).tolist() == [[2, 4, 6, 8]] * batch
    # Per frame: A0 - A1 in the first frame (negative, so zero), 3 A0 + A1 in the second.
    per_frame = grad_cam(model, clips, 0, "layer", "frame", upsample=False)
    assert per_frame.flatten(1).tolist() == [[0, 0, 9, 13]] * batch
    # Class 1: -2 A0 per clip, all below zero; A1 - A0 in the first frame per frame.
    with pytest.warns(UserWarning, match="zero everywhere for clip 0"):
        assert grad_cam(model, clips, 1, "layer", "clip", upsample=False).eq(0).all()
    opposite = grad_cam(model, clips, 1, "layer", "frame", upsample=False)
    assert opposite.flatten(1).tolist() == [[4, 4, 0, 0]] * batch


@pytest.mark.parametrize("batch", BATCHES)
def test_each_clip_has_its_own_target_and_the_prediction_is_the_default(batch):
    model = Weighted(SLOPES)
    clips = ACTIVATIONS * torch.tensor([1.0, -1.0] * 3)[:batch, None, None, None, None]
    predictions = model(clips).argmax(1)
    assert predictions.tolist() == [0, 1, 0][:batch]
    torch.testing.assert_close(grad_cam(model, clips, None, "layer"), grad_cam(model, clips, predictions, "layer"))
    together = grad_cam(model, clips, predictions, "layer", "frame")
    alone = [grad_cam(model, clips[i:i + 1], int(predictions[i]), "layer", "frame") for i in range(batch)]
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


class Folded(Weighted):
    """As Weighted, with the frames of all clips in one batch of pictures."""

    def __init__(self, weights, time_first):
        super().__init__(weights)
        self.time_first = time_first

    def forward(self, clips):
        maps = clips.transpose(1, 2)  # (B, T, F, H, W)
        frames = self.layer((maps.transpose(0, 1) if self.time_first else maps).flatten(0, 1))
        if self.time_first:
            maps = frames.unflatten(0, (-1, len(clips))).permute(1, 2, 0, 3, 4)
        else:
            maps = frames.unflatten(0, (len(clips), -1)).transpose(1, 2)
        return torch.einsum("bfthw,kft->bk", maps, self.weights)


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_frames_folded_into_the_batch(batch, time_first):
    clips = torch.cat([ACTIVATIONS / (1 + row) for row in range(batch)])
    maps = grad_cam(Folded(SLOPES, time_first), clips, 0, "layer", "frame", upsample=False)
    for row in range(batch):
        torch.testing.assert_close(maps[row].flatten() * (1 + row), maps.new_tensor([0, 0, 9, 13]))


def test_channels_last():
    class Last(Weighted):
        def forward(self, clips):
            maps = self.layer(F.avg_pool3d(clips.repeat(1, 10, 1, 1, 1), (1, 2, 2)).movedim(1, -1))
            return torch.einsum("bthwf,kft->bk", maps, self.weights)

    weights, clips = torch.rand(2, 20, 4), torch.rand(2, 2, 4, 16, 12)

    class First(Weighted):
        def forward(self, clips):
            return super().forward(F.avg_pool3d(clips.repeat(1, 10, 1, 1, 1), (1, 2, 2)))

    for kind in ("clip", "frame"):
        torch.testing.assert_close(grad_cam(Last(weights), clips, 0, "layer", kind),
                                   grad_cam(First(weights), clips, 0, "layer", kind))


@pytest.mark.parametrize("shape, batch, read", [
    ((2, 8, 56, 56, 96), 2, (2, 96, 8, 56, 56)), ((1, 16, 28, 28, 192), 1, (1, 192, 16, 28, 28)),
    ((2, 512, 2, 7, 7), 2, (2, 512, 2, 7, 7)), ((8, 7, 7, 768), 2, (2, 768, 4, 7, 7)),
    ((2, 196, 768), 2, None), ((2, 64, 64, 7, 7), 2, None),
])  # fmt: skip
def test_layouts_that_a_shape_gives_away(shape, batch, read):
    def reading():
        return tuple(gradcam.as_maps([torch.randn(shape)], batch, (32, 224, 224)).shape)

    if read:
        assert reading() == read
    else:
        with pytest.raises(ValueError):
            reading()


def test_a_layer_followed_by_a_change_in_place():
    class InPlace(Weighted):
        def forward(self, clips):
            return torch.einsum("bfthw,kft->bk", self.layer(clips).mul_(2), self.weights)

    clips = ACTIVATIONS.clone()
    maps = grad_cam(InPlace(SLOPES), clips, 0, "layer", "clip", upsample=False)
    assert maps.flatten().tolist() == [4, 8, 12, 16] and torch.equal(clips, ACTIVATIONS)


def test_probability_differs_from_the_logit_by_the_other_classes():
    model = Weighted(SLOPES)
    chance = model(ACTIVATIONS / 50).softmax(1)[0, 0]
    logit = grad_cam(model, ACTIVATIONS / 50, 0, "layer")
    probability = grad_cam(model, ACTIVATIONS / 50, 0, "layer", score="probability")
    torch.testing.assert_close(probability, logit * 2 * chance * (1 - chance))  # two opposite classes


def test_upsampling_is_linear_with_cells_at_their_centres():
    class Half(Weighted):
        def forward(self, clips):
            return super().forward(nn.functional.avg_pool3d(clips, 2))

    frames = torch.tensor([1.0, 1.0, 3.0, 3.0], dtype=torch.float64).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 4)
    maps = grad_cam(Half(torch.ones(1, 1, 1, dtype=torch.float64)), frames, 0, "layer")
    assert maps.shape == (1, 4, 2, 4) and maps[0, :, 0, 0].tolist() == [1, 1.5, 2.5, 3]


class Padded(nn.Module):
    """Convolutions that sum up, with strides 2, 2 and 1; the score is the sum of the last one's maps."""

    def __init__(self, kernel, pads, pool=None):
        super().__init__()
        self.kernel, self.pads, self.pool, self.layer = kernel, pads, pool, nn.Identity()

    def forward(self, clips):
        maps, weight = clips.mean(1, keepdim=True), clips.new_ones(1, 1, 1, self.kernel, self.kernel)
        for _ in range(2):
            maps = F.conv3d(F.pad(maps, (*self.pads, *self.pads)), weight, stride=(1, 2, 2))
        if self.pool:  # as TensorFlow pads it: at the end alone
            maps = F.max_pool3d(F.pad(maps, (0, 1, 0, 1)), (1, 3, 3), (1, 2, 2))
        maps = self.layer(maps.relu()).sum((2, 3, 4))
        return torch.cat([maps, -maps], 1)


@pytest.mark.parametrize("kernel, pads, pool, off", [(7, (2, 3), 0, 1), (3, (0, 1), 1, 3), (4, (1, 1), 0, 0)])
def test_maps_are_drawn_where_cells_look(kernel, pads, pool, off):
    model, errors, pixels = Padded(kernel, pads, pool), {"field": [], "corners": []}, torch.arange(64.0)
    for top, left in [(24, 24), (25, 30), (27, 22), (30, 33), (22, 29), (26, 26), (31, 31), (28, 23)]:
        clips = torch.zeros(1, 3, 2, 64, 64)
        clips[..., top:top + 8, left:left + 8] = 1
        for align, rows in errors.items():
            heat = grad_cam(model, clips, 0, "layer", align=align)[0, 0]
            centre = [heat.sum(1 - axis) @ pixels / heat.sum() for axis in (0, 1)]
            rows.append([centre[0] - top - 3.5, centre[1] - left - 3.5])
    field, corners = (torch.tensor(errors[align]).mean(0) for align in ("field", "corners"))
    assert field.abs().max() < 0.5 and (corners + off).abs().max() < 1
    if not off:  # symmetric pads
        torch.testing.assert_close(errors["field"], errors["corners"])


def test_where_the_cells_of_both_networks_look():
    clips = torch.rand(1, 3, 16, 64, 64)
    i3d = I3D(4, width=0.125, temporal_strides=(2, 1, 1), spatial_strides=(2, 2, 2, 1, 1)).eval()
    clstm = CLSTM(4, size=64, filters=(4, 4), strides=(2, 1), pools=(2, 2), padding="same").eval()
    for model, expected in [(i3d, [(2, 1), (8, 7), (8, 7)]), (clstm, [(1, 0), (4, 2), (4, 2)])]:
        with frozen_eval(model):
            assert gradcam._receptive_field(model, model.gradcam_layer, clips) == expected
        assert not any(module._forward_hooks for module in model.modules())


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


@pytest.mark.parametrize("stops", [RuntimeError("power cut"), KeyboardInterrupt()])
def test_no_hook_and_no_gradient_is_left(stops):
    class Net(nn.Module):
        gradcam_layer = "conv"

        def __init__(self):
            super().__init__()
            self.conv, self.stops = nn.Conv3d(3, 4, 3), None

        def forward(self, clips):
            maps = self.conv(clips)
            if self.stops is not None:
                raise self.stops
            return maps.mean((2, 3, 4))

    model, clips = Net().train(), torch.rand(2, 3, 4, 6, 6, requires_grad=True)
    with torch.no_grad():
        assert torch.equal(grad_cam(model, clips, 0), grad_cam(model, clips, 0))
    model.stops = stops
    with pytest.raises(type(stops)):
        grad_cam(model, clips, 0)
    assert clips.grad is None and all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules()) and model.training


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
    for layer, message in [(None, "such as .'embed', 'spare'., got None"),
                           ("nowhere", "got 'nowhere'"), ("block", "tokens or vectors"),
                           ("spare", "'spare': it was not called"),
                           (nn.Conv3d(3, 4, 1), "a module of Tokens")]:
        with pytest.raises(ValueError, match=message):
            grad_cam(model, clips, 0, layer)
    for wrong, message in [({"weights": "both"}, "'clip' or 'frame'"), ({"score": "loss"}, "'logit'"),
                           ({"targets": 2}, r"classes 0\.\.1")]:
        with pytest.raises(ValueError, match=message):
            grad_cam(model, clips, layer="embed", **wrong)
    with pytest.raises(ValueError, match='output="probabilities"'):
        grad_cam(nn.Sequential(model, nn.Softmax(1)), clips, 0, "0.embed")
    torch.testing.assert_close(grad_cam(model, clips, 0, "embed", score="probability"), grad_cam(
        nn.Sequential(model, nn.Softmax(1)), clips, 0, "0.embed", score="probability", output="probabilities"))
    tokens = grad_cam(model, clips, 0, "block", reshape=lambda rows: rows.transpose(1, 2).unflatten(2, (2, 2, 2)))
    assert tokens.shape == (2, 4, 4, 4)
    with pytest.raises(ValueError, match="attention weights"):
        grad_cam(nn.Sequential(nn.Softmax(4), Pooled()), clips, 0, "0")
    with pytest.raises(ValueError, match="more cells than"):
        grad_cam(nn.Sequential(nn.Upsample(scale_factor=2), Pooled()), clips / 4, 0, "0")
    with pytest.raises(ValueError, match="does not depend"):
        grad_cam(nn.Sequential(nn.Conv3d(3, 4, 1), Blind()), clips, 0, "0")
    with pytest.raises(ValueError, match="to_clip"):
        grad_cam(model, clips.byte(), 0, "embed")
    with pytest.raises(ValueError, match="not finite for clip b "):
        grad_cam(model, clips / torch.tensor([1.0, 0]).view(2, 1, 1, 1, 1), 0, "embed", ids=["a", "b"])


class Blind(nn.Module):
    def forward(self, maps):
        return maps.detach().mean((2, 3, 4))


class Pooled(nn.Module):
    def forward(self, maps):
        return maps.square().mean((2, 3, 4))


def test_a_model_s_own_reshape_decides_before_the_order_of_frames_is_asked_for():
    """Where clips mix, the order of rows is unclear; a reshape makes it clear, and None leaves the usual layouts."""

    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, clips):
            maps = self.look(clips.transpose(1, 2).flatten(0, 1)).relu()  # (B*T,F,H,W)
            return self.head(maps.mean((2, 3)).unflatten(0, (len(clips), -1)).mean(1)) + maps.mean()

    torch.manual_seed(0)
    model, clips = Mixes(), torch.rand(2, 3, 4, 6, 6)
    with pytest.raises(ValueError, match="order of clips and frames is unclear"):
        gradcam.grad_cam(model, clips, 0, "look")
    model.gradcam_reshape = lambda maps: maps.unflatten(0, (2, -1)).transpose(1, 2)
    assert gradcam.grad_cam(model, clips, 0, "look").shape == (2, 4, 6, 6)
    model.gradcam_reshape = lambda maps: None
    with pytest.raises(ValueError, match="order of clips and frames is unclear"):
        gradcam.grad_cam(model, clips, 0, "look")
