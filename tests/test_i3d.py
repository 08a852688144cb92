"""I3D against the TensorFlow network: names, shapes, counts, padding and four sets of known answers."""

import csv
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.models import I3D, build
from interp.models.i3d import MaxPool3dSame, Unit3d
from interp.models.network import same_padding

DATA = Path(__file__).parent / "data"
CASES = {  # name: classes, clip (T,H,W), temporal strides, parameters
    "small": (12, (16, 64, 64), (1, 1, 2), None),
    "kth": (6, (32, 120, 160), (1, 1, 2), 12_293_414),
    "ssv2": (174, (16, 224, 224), (1, 1, 2), 12_465_614),
    "kinetics": (400, (16, 224, 224), (2, 2, 2), 12_697_264),
}


def variables(model: I3D):
    """(TensorFlow variable name, tensor) of all that the released checkpoints hold; kernels (O,I,D,H,W)."""
    last = {"conv_3d.weight": "conv_3d/w", "conv_3d.bias": "conv_3d/b", "batch_norm.bias": "batch_norm/beta",
            "batch_norm.running_mean": "batch_norm/moving_mean",
            "batch_norm.running_var": "batch_norm/moving_variance"}  # fmt: skip
    for key, tensor in model.state_dict(keep_vars=True).items():
        *path, module, leaf = key.split(".")
        if f"{module}.{leaf}" in last:  # batch normalisation has no scale there
            yield "/".join([*path, last[f"{module}.{leaf}"]]), tensor


def made_up(model: I3D) -> I3D:
    """Weights by rule: a generator seeded by each variable's TensorFlow name."""
    with torch.no_grad():
        for name, tensor in variables(model):
            g = np.random.RandomState(zlib.crc32(name.encode()))
            if tensor.ndim == 5:
                o, i, *kernel = tensor.shape
                values = g.standard_normal((*kernel, i, o)) * np.sqrt(2 / (np.prod(kernel) * i))
                values = values.transpose(4, 3, 0, 1, 2)
            elif name.endswith("moving_variance"):
                values = 0.5 + g.random_sample(tuple(tensor.shape))
            else:
                values = 0.1 * g.standard_normal(tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))
    return model.eval()


@pytest.mark.parametrize("name", CASES)
def test_known_answers(name):
    num_classes, clip, strides, parameters = CASES[name]
    answers = np.load(DATA / "i3d_answers.npz")
    model = made_up(I3D(num_classes, temporal_strides=strides))
    assert parameters is None or sum(p.numel() for p in model.parameters()) == parameters
    maps = []
    model.get_submodule(model.gradcam_layer).register_forward_hook(lambda *args: maps.append(args[2]))
    x = np.random.RandomState(1).standard_normal((1, 3, *clip)).astype(np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(x))[0].numpy()
    assert tuple(maps[0].shape) == tuple(answers[f"{name}_mixed_5c_shape"])
    for got, key in ((logits, "logits"), (maps[0].mean((0, 2, 3, 4)).numpy(), "mixed_5c_mean_per_channel")):
        right = answers[f"{name}_{key}"]
        # a few logits nearly cancel: there the error is measured against the largest
        np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-5 * abs(right).max(), err_msg=key)


def test_every_variable_name_and_shape():
    with (DATA / "i3d_variables.csv").open() as file:
        expected = {row["variable"]: tuple(map(int, row["shape"].split("x"))) for row in csv.DictReader(file)}
    got = {
        name: tuple(t.permute(2, 3, 4, 1, 0).shape) if t.ndim == 5 else tuple(t.shape)
        for name, t in variables(I3D(400))
    }
    assert got == expected and len(got) == 230


@pytest.mark.parametrize(
    "size, kernel, stride, pads",
    [(224, 7, 2, (2, 3)), (225, 7, 2, (3, 3)), (16, 7, 1, (3, 3)), (5, 2, 2, (0, 1)), (4, 2, 2, (0, 0)),
     (4, 2, 1, (0, 1)), (1, 3, 2, (1, 1)), (3, 1, 2, (0, 0))],
)  # fmt: skip
def test_same_padding_puts_the_odd_rest_at_the_end(size, kernel, stride, pads):
    assert same_padding([size], [kernel], [stride]) == [pads]


@pytest.mark.parametrize("size", [(4, 6, 8), (5, 7, 9), (1, 1, 2), (2, 3, 1)])
@pytest.mark.parametrize(
    "kernel, stride", [((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 1, 2)), ((3, 3, 3), (1, 1, 1)),
                       ((1, 3, 3), (1, 2, 2))]
)  # fmt: skip
def test_max_pooling_window_by_window(size, kernel, stride):
    # all negative, so that a padding of zeros would win
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)) - 5
    got = MaxPool3dSame(kernel, stride)(x)
    starts = [
        [range(max(o * s - before, 0), min(o * s - before + k, n)) for o in range(math.ceil(n / s))]
        for n, k, s, (before, _) in zip(size, kernel, stride, same_padding(size, kernel, stride), strict=True)
    ]
    for t, a in enumerate(starts[0]):
        for i, b in enumerate(starts[1]):
            for j, c in enumerate(starts[2]):
                window = x[:, :, a.start : a.stop, b.start : b.stop, c.start : c.stop]
                assert torch.equal(got[:, :, t, i, j], window.amax((2, 3, 4)))
    assert got.shape[2:] == tuple(len(axis) for axis in starts)


def test_a_strided_convolution_by_hand():
    unit = Unit3d(1, 1, (1, 1, 3), (1, 1, 2)).eval()
    with torch.no_grad():
        unit.conv_3d.weight.copy_(torch.tensor([1.0, 10.0, 100.0]).view(1, 1, 1, 1, 3))
    even, odd = torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 2, 3, 4, 5])
    scale = 1.001**-0.5  # running variance 1, epsilon 1e-3
    # even length: all padding after; odd length: one on each side
    torch.testing.assert_close(unit(even.view(1, 1, 1, 1, 4)).flatten(), torch.tensor([321.0, 43.0]) * scale)
    torch.testing.assert_close(
        unit(odd.view(1, 1, 1, 1, 5)).flatten(), torch.tensor([210.0, 432.0, 54.0]) * scale
    )


def test_strides_width_and_odd_sizes():
    model = I3D(12, width=0.25, spatial_strides=(2, 2, 2, 1, 1)).eval()
    shapes = []
    model.Mixed_5c.register_forward_hook(lambda *args: shapes.append(tuple(args[2].shape)))
    assert all(
        m.out_channels % 8 == 0 for m in model.modules() if isinstance(m, torch.nn.Conv3d) and m.bias is None
    )
    with torch.no_grad():
        for clip in ((16, 64, 64), (5, 33, 47), (1, 1, 1)):
            assert model(torch.rand(2, 3, *clip)).isfinite().all()
    assert shapes == [(2, 256, 8, 8, 8), (2, 256, 3, 5, 6), (2, 256, 1, 1, 1)]


def test_the_logits_of_a_clip_do_not_depend_on_its_neighbours():
    model = I3D(5, in_channels=2, width=0.125).eval()
    clips = torch.rand(3, 2, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone = torch.cat([model(clip[None]) for clip in clips])
        torch.testing.assert_close(model(clips), alone, rtol=1e-4, atol=1e-5)


def test_pixel_range_is_a_linear_map():
    plain, scaled = I3D(5, width=0.125).eval(), I3D(5, width=0.125, pixel_range=(-1, 1)).eval()
    scaled.load_state_dict(plain.state_dict())
    clips = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(scaled(clips), plain(clips * 2 - 1))


def test_config_builds_the_same_network():
    model = I3D(7, 2, width=0.5, temporal_strides=[2, 2, 1], dropout=0.7, bn_momentum=0.1)
    again = build(model.config)
    assert again.config == model.config and again.state_dict().keys() == model.state_dict().keys()
    assert again.Conv3d_1a_7x7.batch_norm.momentum == 0.1 and again.Logits.dropout.p == 0.7


@pytest.mark.parametrize(
    "arguments", [{"num_classes": 0}, {"width": 0}, {"dropout": 1.0}, {"temporal_strides": (1, 2)},
                  {"spatial_strides": (2, 2, 2, 0, 1)}, {"pixel_range": (1, 0)}]
)  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        I3D(**arguments)


def test_clips_of_other_axes_are_refused():
    model = I3D(5, width=0.125)
    for clips in (torch.rand(3, 8, 32, 32), torch.rand(1, 8, 32, 32, 3), torch.zeros(1, 3, 8, 32, 32).byte()):
        with pytest.raises(ValueError, match="expected float clips"):
            model(clips)
    for config, word in (({"model": "vit"}, "config"), ({"model": "i3d", "depth": 3}, "depth")):
        with pytest.raises(ValueError, match=word):
            build(config)
