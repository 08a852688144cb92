"""Computing the first convolution once changes nothing: logits, gradients and whole searches, in float64."""

import pytest
import torch
from torch import nn

from interp import recipes
from interp.core import masks, perturb, windows
from interp.models import CLSTM, I3D
from interp.models import network as networks

SHORT = recipes.MaskRecipe("short", 0.01, 0.02, iterations=8)
I3D_SMALL = dict(width=0.125, pixel_range=(-1, 1))
CLSTM_SMALL = dict(filters=(4, 5), strides=(2, 1), pools=(2, 2), kernel_size=3, pixel_range=(-1, 3))
NETWORKS = {
    "i3d, stride 2 in time": lambda: I3D(5, temporal_strides=(2, 1, 1), **I3D_SMALL),
    "i3d, stride 1 in time": lambda: I3D(5, temporal_strides=(1, 1, 2), **I3D_SMALL),
    "clstm, same": lambda: CLSTM(5, num_frames=6, size=(22, 19), padding="same", **CLSTM_SMALL),
    "clstm, valid": lambda: CLSTM(5, num_frames=6, size=(22, 19), padding="valid", **CLSTM_SMALL),
}


def network(name):
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    for module in model.modules():  # as if trained: an untrained norm would hide a wrong scale
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model, torch.rand(3, 3, 6, 22, 19, dtype=torch.float64)


@pytest.fixture
def dim():
    """A perturbation whose rows do not sum to one: black is not the middle of the pixel range."""
    perturb.register("dim")(lambda masks: torch.diag_embed(1 - masks))
    yield "dim"
    del perturb._REGISTRY["dim"]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients_are_the_models_own(name, dim):
    model, clips = network(name)
    stem = model.stem_for(clips)
    responses = stem.responses(clips)
    for kind in ("freeze", "reverse", "blur", dim):
        found = []
        for masked in (lambda w: stem.logits(stem.mix(w, responses)), lambda w: model(perturb.mix(w, clips))):
            logits = torch.linspace(-3, 3, 18, dtype=torch.float64).view(3, 6).requires_grad_()
            answer = masked(perturb.time_mixing(kind, logits.sigmoid()))
            found.append((answer, *torch.autograd.grad(answer.softmax(1)[:, 1].sum(), logits)))
        for own, expected in zip(*found, strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_search_is_the_same_and_hooks_still_run(name, monkeypatch):
    model, clips = network(name)
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape[1:])))
    for chunk in (2, 3):
        found = masks.find_masks(model, clips, recipe=SHORT, batch_size=chunk)
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "stem_for", lambda *_: None)
            expected = masks.find_masks(model, clips, recipe=SHORT)
        torch.testing.assert_close(found.losses, expected.losses, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.masks, expected.masks, rtol=0, atol=1e-8)
    assert set(seen) == {(3, 6, 22, 19)}


def test_no_stem_where_it_would_not_hold_or_not_pay(monkeypatch):
    model, clips = network("clstm, same")
    assert model.stem_for(clips.half()) is None
    with monkeypatch.context() as patch:
        patch.setattr(networks, "MOST_BYTES", 1)
        assert model.stem_for(clips) is None
    nn.utils.parametrizations.weight_norm(model.layers[0], "weight_input")
    assert model.stem_for(clips) is None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("chunk", [None, 5])
def test_masks_are_scored_the_same(name, chunk, monkeypatch):
    """I3D by its stem, C-LSTM by steps that masks share; soft masks show mixed frames, which have no steps to share."""
    model, clips = network(name)
    monkeypatch.setattr(windows, "STEM_FROM", 1)
    every = windows.windows(6).double()
    for kind, table in (("freeze", every), ("reverse", every), ("blur", every), ("freeze", 0.8 * every)):
        found = windows.score_table(model, clips, table, None, SHORT, kind, chunk)
        expected = torch.stack([model(perturb.apply(kind, clips, mask.expand(3, -1))).softmax(1) for mask in table], 1)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        assert found.std(1).amax(1).min() > 1e-5  # the windows do differ
