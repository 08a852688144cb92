"""Any module from clips to logits: torchvision's video networks and a plain frame network with an LSTM."""

import dataclasses

import pytest
import torch
from torch import nn

from interp import recipes
from interp.core import masks, windows
from interp.core.gradcam import grad_cam

RECIPE = dataclasses.replace(recipes.SOMETHING_MASK, iterations=3)


class FrameNetwork(nn.Module):
    """What many would write first: a CNN on every frame, an LSTM over the frames."""

    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.lstm, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 5)

    def forward(self, clips):
        frames = self.cnn(clips.transpose(1, 2).flatten(0, 1)).mean((2, 3))  # (B*T, 6)
        return self.head(self.lstm(frames.unflatten(0, (len(clips), -1)))[0][:, -1])


def network(name, monkeypatch):
    torch.manual_seed(0)
    if name == "frames":
        return FrameNetwork(), (6, 12, 12), "cnn.0", "lstm"
    video = pytest.importorskip("torchvision.models.video")
    if name == "r3d_18":
        return video.r3d_18(), (4, 16, 16), "layer2", "fc"
    build = video.mvit._mvit  # the builder of mvit_v2_s knows one clip size only: ask it for a small one
    monkeypatch.setattr(video.mvit, "_mvit", lambda **given: build(
        **{**given, "spatial_size": (32, 32), "temporal_size": 4}))
    return video.mvit_v2_s(), (4, 32, 32), "conv_proj", "blocks.3"


@pytest.mark.parametrize("name", ["frames", "r3d_18", "mvit_v2_s"])
def test_masks_windows_and_maps(name, monkeypatch):
    model, size, layer, tokens = network(name, monkeypatch)
    clips = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    found = masks.find_masks(model, clips, recipe=RECIPE)
    alone = masks.find_masks(model, clips[1:], recipe=RECIPE)
    # Adam divides by the gradient's size, so that the noise of a tiny gradient shows.
    torch.testing.assert_close(alone.masks[0], found.masks[1], rtol=0, atol=2e-3)
    torch.testing.assert_close(alone.originals[0], found.originals[1], rtol=1e-3, atol=1e-5)
    expected = model.eval()(clips).softmax(1).detach()
    model.train()
    assert found.targets.tolist() == expected.argmax(1).tolist()
    torch.testing.assert_close(found.originals, expected.amax(1), rtol=1e-3, atol=1e-5)
    best = windows.best_windows(model, clips, "reverse", found.targets, RECIPE)
    assert best.scores.shape == (2, size[0] * (size[0] + 1) // 2) and best.scores.isfinite().all()
    for weights in ("clip", "frame"):
        maps = grad_cam(model, clips, layer=layer, weights=weights)
        assert maps.shape == (2, *size) and maps.min() >= 0 and maps.isfinite().all()
        single = grad_cam(model, clips[1:], layer=layer, weights=weights)
        torch.testing.assert_close(single[0], maps[1], rtol=1e-2, atol=1e-4 * maps.max().item())
    with pytest.raises(ValueError, match="tokens or vectors|expected a tensor"):
        grad_cam(model, clips, layer=tokens)
    assert model.training and all(weight.requires_grad for weight in model.parameters())
    assert all(weight.grad is None for weight in model.parameters())
