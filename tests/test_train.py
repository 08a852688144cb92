"""The training loop: known scores, exact randomness, the same steps however the work is shared."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from toy import RECIPE, Net, Toy, net

from interp import augment, distributed, evaluate, optimise, recipes, train, train_log
from interp.__main__ import main
from interp.batches import Batches

torch.set_num_threads(1)


def fit(out, recipe=RECIPE, sets=None, model=None, **options):
    """A run of the toy network."""
    options = {"device": "cpu", "precision": "fp32", "progress": False} | options
    sets = sets or (Toy(), Toy(10, seed=1))
    return train.train(recipe, *sets, out, model=model or net(), **options)


def weights(out):
    return {k: v for k, v in load_file(out / "last.safetensors").items() if k.startswith("model.")}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Coded:
    """Eight clips; the first frame's red says what is guessed forwards, the last frame's what backwards."""

    classes = list("abcdefg")
    targets = [0, 0, 0, 0, 1, 1, 2, -1]
    forwards = [0, 0, 0, 1, 1, 0, 2, 6]
    backwards = [6, 6, 6, 6, 6, 6, 2, 6]
    ids = [str(i) for i in range(8)]

    def __len__(self):
        return 8

    def __getitem__(self, i):
        frames = np.zeros((4, 2, 2, 3), np.uint8)
        frames[0], frames[-1] = self.forwards[i], self.backwards[i]
        return frames, self.targets[i], i


class Reader(nn.Module):
    """Guesses the class in the first frame, then those after it in order, 0 after 6."""

    def forward(self, clips):
        guess = (clips[:, 0, 0, 0, 0] * 255).round().long()
        return -((torch.arange(7) - guess[:, None]) % 7).float()


def test_known_scores():
    model = Reader().train()
    scores = evaluate.evaluate(model, Coded(), batch_size=3)
    assert model.training
    assert scores["count"] == 7  # the last has no label
    assert scores["top1"] == pytest.approx(5 / 7)
    # class 0: 3 right, 1 missed, 1 false; class 1: 1 right, 1 missed, 1 false; class 2: all right
    assert scores["f1"] == pytest.approx([6 / 8, 2 / 4, 1, 0, 0, 0, 0])
    assert scores["macro_f1"] == pytest.approx((6 / 8 + 2 / 4 + 1) / 3)
    assert scores["confusion"][0][:2] == [3, 1] and scores["confusion"][1][:2] == [1, 1]
    # guessed 1, target 0: the sixth choice after 1 to 6, so no hit of five. Guessed 0, target 1: second
    assert scores["top5"] == pytest.approx(6 / 7)
    log_sum = np.log(np.exp(-np.arange(7.0)).sum())
    assert scores["loss"] == pytest.approx(log_sum + (6 + 1) / 7)


def test_known_scores_reversed():
    scores = evaluate.evaluate(Reader(), Coded(), reverse=True)
    assert scores["top1"] == pytest.approx(1 / 7)
    assert scores["top5"] == pytest.approx(1.0)  # after a guess of 6 come 0 and 1


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_everything_once(size):
    parts = [distributed.World(r, size, torch.device("cpu")).share(11) for r in range(size)]
    assert sorted(i for part in parts for i in part) == list(range(11))


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    frames = torch.randint(256, (3, 4, 8, 8, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = torch.tensor([0, 1, 0])
    change = augment.Augment(2, Toy.mirror, Toy.flip)
    clips, mapped = change(frames, labels, augment.draw(1, 2, [5, 9, 7]))
    alone, label = change(frames[1:2], labels[1:2], augment.draw(1, 2, [9]))
    assert torch.equal(clips[1:2], alone) and torch.equal(mapped[1:2], label)
    assert not torch.equal(augment.draw(1, 2, [9]), augment.draw(1, 3, [9]))
    assert clips.shape == (3, 3, 4, 8, 8) and 0 <= clips.min() and clips.max() <= 1


def test_mirroring_maps_the_label_and_turns_the_frames():
    frames = torch.stack([torch.as_tensor(Toy(2)[i][0]) for i in (0, 1)])
    plain = {"zoom": 1.0, "stretch": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0}
    draws = torch.full((2, augment.NUM_DRAWS), 0.75)
    original = augment.to_float(frames)
    clips, labels = augment.Augment(2, Toy.mirror, **plain)(frames, torch.tensor([0, 1]), draws)
    assert torch.allclose(clips, original, atol=1e-5) and labels.tolist() == [0, 1]
    draws[:, 0] = 0.25
    clips, labels = augment.Augment(2, Toy.mirror, **plain)(frames, torch.tensor([0, 1]), draws)
    assert torch.allclose(clips, original.flip(-1), atol=1e-5) and labels.tolist() == [1, 0]
    draws[:, 1] = 0.25
    clips, labels = augment.Augment(2, {0: 1}, {1: 1}, **plain)(frames, torch.tensor([0, 1]), draws)
    assert torch.allclose(clips[0], original[0].flip(-1, -2), atol=1e-5)  # 0 becomes 1, which may be flipped
    assert torch.allclose(clips[1], original[1].flip(-2), atol=1e-5) and labels.tolist() == [1, 1]


def test_what_is_unknown_is_never_mirrored():
    frames = torch.zeros(1, 1, 4, 4, 3, dtype=torch.uint8).expand(500, -1, -1, -1, -1)
    labels = torch.arange(500) % 3
    labels[0] = -1
    draws = augment.draw(0, 0, range(500))
    _, after = augment.Augment(3, {0: 1, 1: None}, None)(frames, labels, draws)
    assert torch.equal(after[labels != 0], labels[labels != 0])
    share = (after[labels == 0] == 1).double().mean()
    assert 0.35 < share < 0.65
    with pytest.raises(ValueError, match="expected classes 0..2"):
        augment.Augment(3, {0: 3})


def test_one_change_for_all_frames_and_gains_as_told():
    still = torch.randint(256, (6, 1, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    change, labels = augment.Augment(1), torch.zeros(200).long()
    clips, _ = change(still.expand(-1, 4, -1, -1, -1), labels[:6], augment.draw(0, 0, range(6)))
    assert torch.equal(clips, clips[:, :, :1].expand_as(clips))
    grey = torch.full((200, 1, 4, 4, 3), 128, dtype=torch.uint8)
    clips, _ = change(grey, labels, augment.draw(0, 0, range(200)))
    assert (clips - 0.5).abs().max() < 0.13 and clips.mean((1, 2, 3, 4)).std() > 0.03


def test_cosine_and_warmup():
    recipe = recipes.change(RECIPE, schedule="cosine", epochs=10, warmup_epochs=2, learning_rate=1.0)
    schedule = optimise.Schedule(recipe, steps_per_epoch=5)
    rates = [schedule.rate(step) for step in range(50)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0 and rates[30] == pytest.approx(0.5) and rates[49] < 0.002


def test_plateau_halves_after_two_epochs_without_a_better_score():
    schedule = optimise.Schedule(recipes.change(RECIPE, learning_rate=1.0), 5)
    rates = []
    for score in (0.5, 0.6, 0.6, 0.7, 0.1, 0.2, 0.3, 0.4, 0.8):
        schedule.report(score)
        rates.append(schedule.rate(0))
    assert rates == [1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    again = optimise.Schedule(recipes.change(RECIPE, learning_rate=1.0), 5)
    again.load(json.loads(json.dumps(schedule.state())))
    assert again.state() == schedule.state()


def test_a_run_learns_and_leaves_its_files(tmp_path):
    metrics = fit(tmp_path / "run", command="as typed")
    assert metrics["top1"] == 1.0 and metrics["parameters"] == sum(p.numel() for p in net().parameters())
    epochs = train_log.read(tmp_path / "run" / "log.jsonl")
    assert [line["epoch"] for line in epochs] == [0, 1, 2]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert {"lr", "seconds", "clips_per_second", "waiting", "val_top1_reversed"} <= epochs[0].keys()
    header = train_log.header(tmp_path / "run" / "log.jsonl")
    assert recipes.from_dict(header["recipe"]) == RECIPE and header["command"] == "as typed"
    with safe_open(tmp_path / "run" / "best.safetensors", "pt") as file:
        record = json.loads(file.metadata()["record"])
    assert record["metrics"]["top1"] == metrics["top1"] and record["versions"]["torch"] == torch.__version__
    assert record["data"]["train"] == {"name": "toy", "clips": 44, "classes": 2}
    assert not [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]


def test_the_same_seed_gives_the_same_weights_whatever_loads_the_clips(tmp_path):
    torch.manual_seed(5)
    fit(tmp_path / "memory", cache="memory")
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))  # the caller's random numbers are as they were
    fit(tmp_path / "workers", cache="none", workers=1)
    fit(tmp_path / "other", seed=1)
    assert same(weights(tmp_path / "memory"), weights(tmp_path / "workers"))
    assert not same(weights(tmp_path / "memory"), weights(tmp_path / "other"))


def test_accumulation_takes_the_same_steps(tmp_path):
    def plain():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 8 * 8, 2))

    for name, micro in (("whole", 8), ("parts", 2)):
        model = plain()
        model.config = Net.config
        fit(tmp_path / name, model=model, micro_batch=micro)
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.allclose(first[k], second[k], atol=1e-5) for k in first)


def test_a_run_is_continued_only_as_it_was(tmp_path):
    best = fit(tmp_path)
    assert fit(tmp_path, resume=True) == best  # it is done
    with pytest.raises(ValueError, match="--resume"):
        fit(tmp_path)
    with pytest.raises(ValueError, match="epochs was 3, is 4"):
        fit(tmp_path, recipes.change(RECIPE, epochs=4), resume=True)
    with pytest.raises(ValueError, match="seed was 0, is 3"):
        fit(tmp_path, resume=True, seed=3)
    with pytest.raises(ValueError, match="micro-batches of 3"):
        fit(tmp_path / "new", micro_batch=3)
    (tmp_path / "last.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a checkpoint"):
        fit(tmp_path, resume=True)


def test_bf16_channels_last_and_sgd_train_too(tmp_path):
    recipe = recipes.change(RECIPE, optimizer="sgd", momentum=0.2, learning_rate=0.1, clip_norm=1.0)
    metrics = fit(tmp_path, recipe, precision="bf16", channels_last=True)
    assert metrics["top1"] >= 0.9


@pytest.mark.parametrize("name", ["i3d_motion", "clstm_motion"])
def test_the_real_networks_train_and_come_back(tmp_path, name):
    recipe = recipes.change(
        recipes.RECIPES[name], num_frames=4, size=(16, 16), epochs=1, batch_size=4, warmup_epochs=0,
        model_args={"width": 0.125} if name == "i3d_motion" else {"filters": (4, 4, 4), "pools": (2, 2, 1)},
    )  # fmt: skip

    class Wide(Toy):
        def __getitem__(self, i):
            frames, label, i = super().__getitem__(i)
            return frames.repeat(2, 1).repeat(2, 2), label, i

    held_out = Wide(6, seed=1)
    options = {"device": "cpu", "precision": "fp32", "progress": False}
    metrics = train.train(recipe, Wide(8), held_out, tmp_path, **options)
    from interp.models.weights import read

    model = read(tmp_path / "best.safetensors")
    scores = evaluate.evaluate(model, held_out)
    assert scores["loss"] == pytest.approx(metrics["loss"], rel=1e-4)
    assert model.classes == Toy.classes and model.record["recipe"]["name"] == name


def test_batches_of_clips_of_different_sizes_are_refused():
    class Uneven(Toy):
        def __getitem__(self, i):
            frames, label, i = super().__getitem__(i)
            return (frames[:, :6] if i == 3 else frames), label, i

    with pytest.raises(ValueError, match="clip-3 .* give a size"):
        Batches(Uneven(), "cpu", cache="memory")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["train", "--model", "i3d"], "--root"),
        (["train", "--model", "x3d", "--root", "a", "--out", "b"], "x3d"),
        (["train", "--model", "i3d", "--root", "a", "--out", "b", "--recipe", "none"], "no recipe 'none'"),
        (
            ["train", "--model", "i3d", "--root", "a", "--out", "b", "--recipe", "clstm_motion"],
            "is for clstm",
        ),
        (["train", "--model", "i3d", "--root", "a", "--out", "b", "--model-arg", "width"], "NAME=JSON"),
        (["train", "--model", "i3d", "--root", "/no/such/place", "--out", "b"], "/no/such/place"),
        (["fly"], "fly"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments, told, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and told in error and error.count("\n") == 1
