"""Any model by name: its preparation, its axes and outputs, its layer, and the way from tokens to maps."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from interp.core.gradcam import grad_cam
from interp.core.windows import best_windows
from interp.data import Sampling, read_clip, to_clip
from interp.data.motion import write_video
from interp.study import wrap as wraps
from interp.study.wrap import wrap

SMALL = {"num_frames": 4, "resize": (32, 32), "crop": None, "fps": None}


class FramesAndLSTM(nn.Module):
    """A CNN on every frame and an LSTM over them; takes (B,T,C,H,W)."""

    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 5)

    def forward(self, frames):
        maps = self.cnn(frames.flatten(0, 1)).mean((2, 3))
        return self.head(self.lstm(maps.unflatten(0, frames.shape[:2]))[0][:, -1])


class TwoPathways(nn.Module):
    """As SlowFast: a list of a clip with few frames and one with all."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 6, 3, padding=1), nn.Conv3d(3, 2, 3, (1, 2, 2), 1)
        self.head = nn.Linear(8, 5)

    def forward(self, pathways):
        slow, fast = pathways
        parts = self.slow(slow).relu().mean((2, 3, 4)), self.fast(fast).relu().mean((2, 3, 4))
        return self.head(torch.cat(parts, 1))


def seeded(make):
    torch.manual_seed(0)
    return make()


def hugging_face(kind, folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install interp[hf]")
    sizes = {"image_size": 32, "num_frames": 4, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
             "intermediate_size": 32, "num_labels": 5}
    patches = {"VideoMAE": {"patch_size": 8, "tubelet_size": 2}, "Timesformer": {"patch_size": 8},
               "Vivit": {"tubelet_size": [2, 8, 8]}}[kind]
    config = getattr(transformers, f"{kind}Config")(**sizes, **patches)
    model = seeded(lambda: getattr(transformers, f"{kind}ForVideoClassification")(config)).eval()
    processor = transformers.VivitImageProcessor if kind == "Vivit" else transformers.VideoMAEImageProcessor
    processor = processor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


TOKENS = {"VideoMAE": ("videomae.encoder.layer.2", 0, "t h w"), "Vivit": ("vivit.layers.1", 1, "t h w"),
          "Timesformer": ("timesformer.encoder.layer.1", 1, "h w t")}


@pytest.mark.parametrize("kind", TOKENS)
def test_hugging_face_models_are_prepared_as_their_processor_does_and_their_tokens_become_maps(kind, tmp_path):
    original, processor = hugging_face(kind, tmp_path)
    model = wrap(f"hf:{tmp_path}")
    layer, extra, order = TOKENS[kind]
    assert (model.layer, model.layout, model.classes) == (layer, "BTCHW", [f"LABEL_{i}" for i in range(5)])
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 60, 3), np.uint8)
    expected = torch.as_tensor(np.asarray(processor(list(frames), return_tensors="pt")["pixel_values"]))
    clip = to_clip(model.sample.fit(frames))[None]
    torch.testing.assert_close(model(clip), original(expected).logits, rtol=0, atol=1e-5)

    # The plain way: activations and gradients of the layer by hand.
    pairs = []
    hook = original.get_submodule(layer).register_forward_hook(
        lambda *call: pairs.append(call[-1] if torch.is_tensor(call[-1]) else call[-1][0]))
    target = original(expected).logits[0, 3]
    hook.remove()
    slope, = torch.autograd.grad(target, pairs)
    frames_of_map = 4 if kind == "Timesformer" else 2
    sizes = [{"t": frames_of_map, "h": 4, "w": 4}[axis] for axis in order.split()]
    tokens, slopes = (part[0, extra:].reshape(*sizes, -1).permute(*(order.split().index(axis) for axis in "thw"), 3)
                      for part in (pairs[0].detach(), slope))
    by_hand = (tokens * slopes.mean((0, 1, 2))).sum(-1).relu()
    maps = grad_cam(model, clip, 3, upsample=False)
    torch.testing.assert_close(maps[0], by_hand, rtol=1e-4, atol=1e-6 * float(by_hand.max()))
    assert maps.any()


def test_a_map_of_tokens_is_that_of_the_library_grad_cam(tmp_path):
    try:
        import pytorch_grad_cam as library
    except ImportError as error:  # OpenCV, which it needs, wants libraries of the system
        pytest.skip(f"grad-cam cannot be imported: {error}")
    hugging_face("VideoMAE", tmp_path)
    model = wrap(f"hf:{tmp_path}", layer="videomae.encoder.layer.1")
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))

    def flat(tokens):  # (B,F,T'*H',W'): a picture of all frames, one below the other
        return tokens.reshape(len(tokens), 8, 4, -1).permute(0, 3, 1, 2)

    layers = [model.get_submodule(model.gradcam_layer)]
    with library.GradCAM(model, layers, reshape_transform=flat) as cam:
        cam.activations_and_grads(clips)[:, 2].sum().backward()
        parts = cam.activations_and_grads
        expected = cam.get_cam_image(clips, layers[0], None, parts.activations[0].numpy(), parts.gradients[0].numpy())
    maps = grad_cam(model, clips, 2, upsample=False)
    np.testing.assert_allclose(maps.flatten(1, 2), np.maximum(expected, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name, layer", [("r3d_18", "layer4"), ("mvit_v2_s", "blocks.14")])
def test_torchvision_models_are_prepared_as_their_weights_say(name, layer):
    models = pytest.importorskip("torchvision.models")
    model = seeded(lambda: wrap(f"torchvision:{name}", pretrained="none"))
    assert model.layer == layer and model.classes is None and model.record["pretrained"] == "none"
    preset = models.get_model_weights(name).DEFAULT.transforms()
    frames = np.random.default_rng(0).integers(0, 256, (16, 240, 320, 3), np.uint8)
    expected = preset(torch.from_numpy(frames).permute(0, 3, 1, 2))[None]
    clips = to_clip(model.sample.fit(frames))[None]
    torch.testing.assert_close((clips - model.mean) / model.std, expected, rtol=0, atol=1e-5)


def test_frames_are_those_of_the_rate_that_the_weights_expect(tmp_path):
    for rate, count in ((30, 90), (25, 100), (12, 60)):
        frames = np.repeat(np.arange(count, dtype=np.uint8)[:, None, None, None], 32, 1).repeat(32, 2).repeat(3, 3)
        path = tmp_path / f"{rate}.mkv"
        write_video(path, 2 * frames, fps=rate, codec="ffv1")
        model = wrap(FramesAndLSTM(), sample=Sampling(16, (32, 32), fps=15))
        step = rate / 15
        span = int(15 * step)
        levels = to_clip(read_clip(path, count, 32))[0].mean((1, 2))  # of all frames; no two are alike

        def numbers(clip, levels=levels):
            return [levels.tolist().index(level) for level in clip[0].mean((1, 2)).tolist()]

        assert numbers(model.read(path, start=0.5)) == [round(rate / 2) + int(i * step) for i in range(16)]
        assert numbers(model.read(path)) == [(count - 1 - span) // 2 + int(i * step) for i in range(16)]


def test_axes_outputs_and_pathways_are_found():
    network = seeded(FramesAndLSTM)
    model = wrap(network, sample=SMALL)
    assert (model.layout, model.output, model.layer) == ("BTCHW", "logits", "cnn")
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(clips), network(clips.transpose(1, 2)))
    assert grad_cam(model, clips).shape == (2, 4, 32, 32)

    with pytest.warns(UserWarning, match="taken for probabilities"):
        shares = wrap(nn.Sequential(network, nn.Softmax(1)), sample=SMALL)
    torch.testing.assert_close(shares(clips).softmax(1), model(clips).softmax(1))

    network = seeded(TwoPathways)
    model = wrap(network, sample=SMALL, pathways=lambda clips: [clips[:, :, ::2], clips], layer="slow")
    torch.testing.assert_close(model(clips), network([clips[:, :, ::2], clips]))
    maps = grad_cam(model, clips)
    assert maps.shape == (2, 4, 32, 32) and maps.any()
    scores = best_windows(model, clips).scores
    frozen = clips[0][:, [0, 1, 1, 3]][None]  # frame 2 shows frame 1, in both pathways
    target = network([clips[:, :, ::2], clips]).softmax(1).argmax(1)[0]
    place = [(a, b) for a in range(4) for b in range(a, 4)].index((2, 2))
    torch.testing.assert_close(scores[0, place], network([frozen[:, :, ::2], frozen]).softmax(1)[0, target])


def test_our_networks_keep_their_layers_and_short_cuts():
    for name, layer in (("i3d", "Mixed_5c"), ("clstm", "layers.2")):
        model = wrap(name)
        assert model.layer == layer and len(model.classes) == 12 and hasattr(model, "stem_for")
        clip = torch.rand(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(model(clip), model.model(clip))


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Conv3d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(),\n"
        "                         nn.Linear(4, 2))\n"
        "nothing = 3\n")
    network = seeded(lambda: nn.Sequential(nn.Conv3d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                                           nn.Linear(4, 2)))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    (tmp_path / "names.txt").write_text("cat\ndog\n\n")
    name = f"{tmp_path}/mine.py:build"
    model = wrap(name, pretrained=tmp_path / "w.pt", classes=tmp_path / "names.txt", sample=SMALL)
    clips = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(model(clips), network(clips))
    assert model.classes == ["cat", "dog"] and model.config["model"] == "build"
    for arguments, words in (
            (dict(model=f"{tmp_path}/mine.py:nothing"), "to be an nn.Module or a function"),
            (dict(model=f"{tmp_path}/other.py:build"), "there is no file"),
            (dict(model=name, pretrained=tmp_path / "names.txt"), "not a whole file of tensors"),
            (dict(model=name, classes=["cat"]), "expected 2 names"),
            (dict(model=name, layer="9"), "layer: expected the name"),
            (dict(model=name, tokens="twice"), "tokens: expected"),
            (dict(model="torchvision:resnet18"), "expected a video model of torchvision"),
            (dict(model="r3d_18"), "expected a model torchvision:NAME"),
            (dict(model=nn.Linear(3, 2)), "takes no clip"),
            (dict(model=name, sample={"resize": 32}), "expected a size of all clips")):
        with pytest.raises(ValueError, match=words):
            wrap(**{"sample": SMALL, **arguments})


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'interp\[hf\]'"):
        wrap("hf:somewhere")


def test_foreign_attributes_of_any_kind_do_no_harm():
    """Hugging Face's config is no mapping; names such as `classes` may mean anything."""
    from interp import explain
    from interp.models.network import clip_shape

    network = seeded(lambda: nn.Sequential(nn.Conv3d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                                           nn.Linear(4, 2)))
    for name in ("config", "classes", "record", "gradcam_layer", "preferred_batch_size"):
        setattr(network, name, object())
    assert clip_shape(network) == (16, 64, 64)
    clips = torch.rand(1, 3, 4, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = explain(network, clips, layer="0", budget=4, progress=False)
    assert found.classes is None and found.P == f"class {found.guess}"
    assert wraps.wrap(network, sample={"num_frames": 4, "resize": (16, 16)}).classes is None
