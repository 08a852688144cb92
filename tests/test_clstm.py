"""C-LSTM against Keras' ConvLSTM2D, and the paper's two configurations to the parameter."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from interp import recipes
from interp.models import CLSTM, ConvLSTM2d, build, load

DATA = Path(__file__).parent / "data" / "clstm_answers.npz"  # first clip, first 3 steps of ../shared's
SHARED = Path(__file__).parents[2] / "shared" / "clstm" / "known_answers.npz"
TAGS = ["ssv2_l1", "ssv2_l1_hard", "kth_l1", "same_s1", "same_s2"]
WHOLE = pytest.param(SHARED, marks=pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here"))


def from_keras(kernel, recurrent, bias, **options) -> ConvLSTM2d:
    """A layer with Keras' kernel (k,k,C,4F), recurrent kernel (k,k,F,4F) and bias (4F,); gates i, f, c, o."""
    kernel, recurrent, bias = (torch.from_numpy(a) for a in (kernel, recurrent, bias))
    filters = recurrent.shape[2]
    layer = ConvLSTM2d(kernel.shape[2], filters, tuple(kernel.shape[:2]), **options).to(kernel.dtype)
    order = torch.arange(4 * filters).view(4, filters)[[0, 1, 3, 2]].flatten()  # i,f,c,o to i,f,o,c
    with torch.no_grad():
        layer.weight_input.copy_(kernel.permute(3, 2, 0, 1)[order])
        layer.weight_recurrent.copy_(recurrent.permute(3, 2, 0, 1)[order])
        layer.bias.copy_(bias[order])
    return layer


def keras_layer(answers, tag, dtype=np.float32) -> ConvLSTM2d:
    config = str(answers[f"{tag}_config"])
    kernels = (answers[f"{tag}_{name}"].astype(dtype) for name in ("kernel", "recurrent_kernel", "bias"))
    return from_keras(*kernels, stride=2 if "strides=2" in config else 1,
                      padding="same" if "padding=same" in config else "valid",
                      gate="hard_sigmoid" if "hard_sigmoid" in config else "sigmoid")


@pytest.mark.parametrize("path", [DATA, WHOLE])
@pytest.mark.parametrize("tag", TAGS)
def test_known_answers_of_keras(path, tag):
    answers = np.load(path)
    x = torch.from_numpy(answers[f"{tag}_input"]).permute(0, 4, 1, 2, 3)  # (N,T,H,W,C) to (B,C,T,H,W)
    with torch.no_grad():
        got = keras_layer(answers, tag)(x).permute(0, 2, 3, 4, 1).numpy()
    np.testing.assert_allclose(got, answers[f"{tag}_output"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_one_cell_by_hand(gate):
    """A 1x1 layer with one filter is a scalar LSTM; its numbers follow from the four gates."""
    kernel, recurrent, bias = [0.5, -1.0, 2.0, 0.25], [1.0, 0.5, -0.5, 3.0], [0.1, 1.0, 0.0, -0.2]  # i, f, c, o
    arrays = [np.float64(values).reshape(shape) for values, shape in
              ((kernel, (1, 1, 1, 4)), (recurrent, (1, 1, 1, 4)), (bias, (4,)))]  # fmt: skip
    layer = from_keras(*arrays, gate=gate)
    x = [0.3, -1.5, 4.0]
    squash = (lambda z: 1 / (1 + np.exp(-z))) if gate == "sigmoid" else (lambda z: np.clip(0.2 * z + 0.5, 0, 1))
    h = c = 0.0
    expected = []
    for value in x:
        i, f, new, o = (value * k + h * r + b for k, r, b in zip(kernel, recurrent, bias, strict=True))
        c = squash(f) * c + squash(i) * np.tanh(new)
        h = squash(o) * np.tanh(c)
        expected.append(h)
    got = layer(torch.tensor(x, dtype=torch.float64).view(1, 1, 3, 1, 1)).flatten()
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("size", [(3, 5), (2, 4), (1, 2)], ids=str)
def test_states_are_the_equations_with_the_odd_rest_of_the_padding_after(gate, size):
    layer = ConvLSTM2d(2, 2, size, gate=gate, padding="same").double()
    x, (rows, columns) = torch.rand(2, 2, 4, 5, 4, dtype=torch.float64), size
    around = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
    squash = torch.sigmoid if gate == "sigmoid" else (lambda z: (0.2 * z + 0.5).clamp(0, 1))
    hidden = cell = torch.zeros(2, 2, 5, 4, dtype=torch.float64)
    for frame, got in zip(x.unbind(2), layer(x).unbind(2), strict=True):
        z = F.conv2d(F.pad(frame, around), layer.weight_input, layer.bias)
        z = z + F.conv2d(F.pad(hidden, around), layer.weight_recurrent)
        cell = squash(z[:, 2:4]) * cell + squash(z[:, :2]) * z[:, 6:].tanh()
        hidden = squash(z[:, 4:6]) * cell.tanh()
        torch.testing.assert_close(got, hidden, rtol=0, atol=1e-12)


def test_gradient_is_right_and_looks_back_only():
    answers = np.load(DATA)
    layer = keras_layer(answers, "same_s2", np.float64)
    x = torch.rand(1, 4, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    (gradient,) = torch.autograd.grad(layer(x)[:, :, 1].sum(), x)
    assert gradient[:, :, :2].abs().amax((0, 1, 3, 4)).min() > 0 and not gradient[:, :, 2].any()


@pytest.mark.parametrize(
    "recipe, changes, parameters",
    [(recipes.CLSTM_SOMETHING, {"padding": "same", "batch_norm": "shared"}, 1_324_014),  # the paper's count
     (recipes.CLSTM_SOMETHING, {"batch_norm": False}, 878_510),
     (recipes.CLSTM_SOMETHING, {}, 878_510 + 3 * 64),
     (recipes.CLSTM_KTH, {}, 202_438),
     (recipes.CLSTM_KTH, {"classifier": "sequence"}, 577_414)],
)  # fmt: skip
def test_parameter_counts_of_the_paper(recipe, changes, parameters):
    model = build(recipe.config(6 if recipe.data == "kth" else 174) | changes)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("recipe, maps", [(recipes.CLSTM_SOMETHING, (16, 5, 5)), (recipes.CLSTM_KTH, (32, 14, 18))])
def test_grad_cam_layer_is_called_once_with_the_published_maps(recipe, maps):
    model, seen = build(recipe.config(6)).eval(), []
    model.get_submodule(model.gradcam_layer).register_forward_hook(lambda *args: seen.append(args[2].shape))
    with torch.no_grad():
        logits = model(torch.rand(1, 3, model.config["num_frames"], *model.config["size"]))
    assert seen == [(1, 32, *maps)] and logits.isfinite().all()


def by_steps(model, clips):
    outputs, state = [], None
    for frames in clips.unbind(2):
        output, state = model.step(frames, state)
        outputs.append(output)
    return model.classify(torch.stack(outputs, 1))


@pytest.mark.parametrize("options", [
    {"classifier": "last", "gate": "sigmoid", "batch_norm": False}, {"batch_norm": "shared", "padding": "same"},
    {"kernel_size": (3, 4), "pixel_range": (-1, 1)}], ids=str)  # fmt: skip
@torch.no_grad()
def test_steps_are_the_forward_pass(options):
    model = CLSTM(5, num_frames=4, size=32, filters=(4, 4), strides=(2, 1), pools=(1, 2), **options).double().eval()
    clips = torch.rand(3, 3, 4, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(by_steps(model, clips), model(clips), rtol=0, atol=1e-12)
    assert all(len(part) == 3 for part in model.step(clips[:, :, 0])[1])  # state: one row a clip


@torch.no_grad()
def test_steps_of_the_shipped_network():
    model, clips = load("clstm"), torch.rand(2, 3, 16, 64, 64)
    torch.testing.assert_close(by_steps(model, clips).softmax(1), model(clips).softmax(1), rtol=0, atol=1e-6)


def test_start_is_keras():
    torch.manual_seed(0)
    layer = ConvLSTM2d(3, 4, (3, 5))
    i, f, o, c = layer.bias.detach().view(4, 4)
    assert f.tolist() == [1] * 4 and not torch.cat([i, o, c]).any()
    rows = layer.weight_recurrent.detach().permute(2, 3, 1, 0).reshape(60, 16)
    torch.testing.assert_close(rows.T @ rows, torch.eye(16), rtol=0, atol=1e-5)
    assert layer.weight_input.abs().max() <= (6 / (15 * (3 + 16))) ** 0.5


def test_classifier_sees_the_sequence_or_the_last_step():
    clips = torch.rand(2, 3, 4, 32, 32, requires_grad=True)
    arguments = {"num_frames": 4, "size": 32, "filters": (8, 8), "strides": (2, 1), "pools": (2, 2)}
    for classifier, frames in (("sequence", 4), ("last", 1)):
        model = CLSTM(5, classifier=classifier, padding="same", **arguments).eval()
        seen = []
        model.layers[1].register_forward_hook(lambda *args, seen=seen: seen.append(args[2]))
        gradient = torch.autograd.grad(model(clips).sum(), seen)[0]
        # the steps of its output that reach the logits
        assert int(gradient.abs().amax((0, 1, 3, 4)).gt(0).sum()) == frames


def test_training_step_uses_every_parameter_and_shared_norm_is_one():
    model = CLSTM(3, num_frames=3, size=32, filters=(8, 8), strides=(2, 1), pools=(2, 2), padding="same",
                  batch_norm="shared", dropout=0.2)  # fmt: skip
    model(torch.rand(2, 3, 3, 32, 32)).square().sum().backward()
    assert len(model.norms) == 1 and all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_config_builds_the_same_network():
    model = CLSTM(4, size=(60, 80), filters=(8, 8), kernel_size=(3, 5), strides=(2, 2), pools=(2, 2), gate="sigmoid")
    again = build(model.config)
    again.load_state_dict(model.state_dict())
    assert again.config == model.config and again.gradcam_layer == "layers.1"


@pytest.mark.parametrize(
    "arguments, word",
    [({"padding": "full"}, "padding"), ({"gate": "relu"}, "gate"), ({"classifier": "mean"}, "classifier"),
     ({"batch_norm": "one"}, "batch_norm"), ({"strides": (2, 2)}, "one entry"),
     ({"size": (32, 32)}, "leave nothing"),
     ({"kernel_size": 0}, "kernel_size"), ({"num_frames": 0}, "num_frames"), ({"dropout": -0.1}, "dropout"),
     ({"batch_norm": "shared", "filters": (8, 8, 16)}, "equal filters")],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        CLSTM(5, **arguments)


def test_clips_of_another_size_are_refused():
    model = CLSTM(5, num_frames=4, size=32, filters=(8,), strides=(2,), pools=(2,))
    for shape in ((1, 3, 5, 32, 32), (1, 3, 4, 32, 33), (3, 4, 32, 32)):
        with pytest.raises(ValueError, match=r"expected float clips \(B,3,4,32,32\)"):
            model(torch.rand(shape))
