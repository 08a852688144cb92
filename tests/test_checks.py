"""Sanity checks: numbers by hand, toy networks whose answer is known, interruption, damaged and foreign folders."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from interp import checks, checks_labels, checks_layers, checks_plots, checks_rivals, recipes, runs  # noqa: E402
from interp.__main__ import main  # noqa: E402
from interp.checks_numbers import among_strangers, chance_overlap, mean, overlap, rank_correlation, said  # noqa: E402
from interp.checks_parts import Parts, generator, plain  # noqa: E402
from interp.checks_subject import Subject, open_run  # noqa: E402
from interp.commands import check  # noqa: E402
from interp.data import motion, open_dataset  # noqa: E402
from interp.data.motion import generate  # noqa: E402
from interp.models import I3D, weights  # noqa: E402

torch.set_num_threads(1)
SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=4)
FRAME, FRAMES = 5, 8


class OneFrame(nn.Module):
    """Sees how far one frame differs from the one before it, in a corner of the picture, and nothing else."""

    gradcam_layer = "layer"

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(3, 1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.layer.weight.fill_(1 / 3)
            self.head.weight.copy_(torch.tensor([[0.0], [12.0]]))
            self.head.bias.copy_(torch.tensor([3.0, 0.0]))

    def forward(self, clips):
        maps = self.layer(clips)  # (B, 1, T, H, W)
        return self.head((maps[:, :, FRAME] - maps[:, :, FRAME - 1])[..., :2, :2].mean((2, 3)))


def subject(count=3, found=FRAME, **changes):
    """Clips in which frame FRAME lights up a corner, and frame 2 changes more, elsewhere."""
    clips = torch.zeros(count, 3, FRAMES, 4, 4)
    clips[:, :, FRAME:, :2, :2] = 0.9
    clips[:, :, 2:, 2:, :] = 1.0  # a larger difference that the network does not see
    masks = torch.zeros(count, FRAMES)
    masks[:, found] = 0.9
    known = torch.zeros(count, FRAMES)
    known[:, FRAME] = 1
    model = OneFrame().eval()
    with torch.no_grad():
        originals = model(clips).softmax(1)[:, 1]
    return Subject(model, clips, [f"clip-{i}" for i in range(count)], ["a", "b", "a"][:count],
                   torch.ones(count, dtype=torch.long), originals, masks, SHORT, known, **changes)  # fmt: skip


def test_rank_correlation_by_hand():
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6
    assert rank_correlation([[0.1, 0.2, 0.3, 0.4]], [[0.2, 0.1, 0.9, 0.5]]).tolist() == pytest.approx([0.6])
    # ranks 1 2 3 4 against 1.5 1.5 3 4, from their means: products 4.5, squares 5 and 4.5
    assert rank_correlation([[1, 2, 3, 4]], [[0, 0, 1, 2]])[0] == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert rank_correlation([[0, 1, 2]], [[2, 1, 0]]).tolist() == pytest.approx([-1])


def test_a_constant_row_has_no_order():
    found = rank_correlation([[0, 1, 2], [3, 3, 3]], [[5, 5, 5.001], [0, 1, 2]])
    assert found[0] == 0 and np.isnan(found[1])  # differences below 0.01 are none
    with pytest.raises(ValueError, match="of one shape"):
        rank_correlation([[1, 2]], [[1, 2, 3]])


def test_strangers_are_the_other_clips():
    assert among_strangers([[0, 1, 2], [2, 1, 0]]) == pytest.approx(-1)
    assert np.isnan(among_strangers([[0, 1, 2]]))


def test_overlap_of_masks():
    first = torch.tensor([[0.0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    second = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert overlap(first, second).tolist() == pytest.approx([1 / 3, 1, 0])
    # a run of two has three places beside frames 2 and 3 (from 0): none, one and two shared
    assert chance_overlap(first[:1], second[:1]).tolist() == pytest.approx([(0 + 1 / 3 + 1) / 3])


def test_means_leave_out_what_is_no_number():
    number = mean([1, 3, np.nan], ["a", "b", "b"])
    assert (number["mean"], number["clips"], number["low"], number["high"]) == (2, 2, 1, 3)
    assert said(number) == "2.00 (1.00 to 3.00)" and said(mean([0.5], ["a"])) == "0.50"
    assert plain({"a": torch.tensor([float("nan"), 1.0])}) == {"a": [None, 1.0]}


def test_lots_are_as_long_as_the_mask_and_never_the_mask():
    mask = torch.tensor([0.0, 0, 1, 1, 1, 0, 0, 0])
    scattered, single = checks_rivals.lots(mask, generator(0, "a"), 50)
    for drawn in (scattered, single):
        assert drawn.shape == (50, 8) and bool((drawn.sum(1) == 3).all())
        assert not bool((drawn == mask).all(1).any())
    begins = ((single[:, 1:] - single[:, :-1]) == 1).sum(1) + single[:, 0]
    assert bool((begins == 1).all()) and len(torch.unique(single, dim=0)) == 5  # six places without its own
    again = checks_rivals.lots(mask, generator(0, "a"), 50)
    assert torch.equal(scattered, again[0]) and torch.equal(single, again[1])
    assert not torch.equal(scattered, checks_rivals.lots(mask, generator(0, "b"), 50)[0])
    assert checks_rivals.lots(torch.ones(8), generator(0, "a"))[0].shape == (0, 8)


def test_share_beaten_counts_ties_half():
    assert checks_rivals.share_beaten(0.3, torch.tensor([0.1, 0.3, 0.5, 0.7])) == pytest.approx(2.5 / 4)


def test_the_frame_that_the_network_sees_beats_every_lot():
    outcome = checks_rivals.by_lot(subject(), Parts())
    # other masks of one frame leave the score as it is
    assert outcome.clips["share_runs"] == [1, 1, 1] and outcome.numbers["beaten"]["scattered"] == 1
    assert outcome.verdicts["masks"]["word"] == "passed"
    wrong = checks_rivals.by_lot(subject(found=1), Parts())
    assert wrong.numbers["beaten"]["runs"] < 0.5 and wrong.verdicts["masks"]["word"] == "failed"


def test_a_mask_of_all_frames_is_left_out():
    own = subject()
    own.masks = torch.ones_like(own.masks)
    outcome = checks_rivals.by_lot(own, Parts())
    assert outcome.numbers["left_out"] == 3 and outcome.verdicts["masks"]["word"] == "not decided"


def test_rivals_by_hand():
    own = subject()
    shown = checks_rivals.candidates(own)
    # the largest difference is in frame 2, which the network does not see
    assert shown["difference"][0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert checks_rivals.difference_window(own.clips[0], 3).nonzero()[:, 0].tolist() == [1, 2, 3]
    assert checks_rivals.difference_window(own.clips[0], 8).sum() == 8
    # central starts of 8 frames: 1-6, 2-5, 3-4; the first that loses the drop is 3-4, frame 5 is not in it
    assert shown["central"][0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    outcome = checks_rivals.rivals(own, Parts())
    assert outcome.clips["difference_score"] == pytest.approx(own.originals.tolist(), abs=1e-6)
    assert outcome.clips["found_agreement"] == [1, 1, 1] and outcome.clips["difference_agreement"] == [0, 0, 0]
    assert outcome.clips["chance_agreement"] == pytest.approx([1 / 8] * 3)
    still = float(torch.tensor([3.0, 0.0]).softmax(0)[1])  # what the network says of a picture that stands still
    assert outcome.numbers["found_score"]["mean"] == pytest.approx(still, abs=1e-4)
    assert outcome.verdicts["masks"]["word"] == "passed" and "are ahead of" in outcome.verdicts["masks"]["sentence"]


def test_agreement_alone_shows_nothing_where_the_frame_difference_agrees_as_well():
    own = subject()
    own.known = torch.zeros_like(own.known)
    own.known[:, 2] = 1  # what happens is the change that the network does not see
    sentence = checks_rivals.rivals(own, Parts()).verdicts["masks"]["sentence"]
    assert "does not show that a mask explains the network" in sentence


def test_without_truth_the_sentence_says_so():
    own = subject()
    own.known = None
    outcome = checks_rivals.rivals(own, Parts())
    assert "is not known" in outcome.verdicts["masks"]["sentence"] and "found_agreement" not in outcome.clips


def test_soft_against_snapped():
    own = subject()
    outcome = checks_rivals.soft(own, Parts())
    shut = torch.tensor(outcome.clips["snapped"])
    assert bool((shut < torch.tensor(outcome.clips["soft"])).all())  # all of the frame is frozen, not nine tenths
    assert outcome.verdicts["masks"]["word"] == "passed" and outcome.numbers["less"]["mean"] == 0
    own.masks = torch.full_like(own.masks, 0.45)  # takes a part, and snaps to nothing
    outcome = checks_rivals.soft(own, Parts())
    assert outcome.clips["kept"] == pytest.approx([0, 0, 0], abs=1e-4)
    assert outcome.verdicts["masks"]["word"] == "failed"


def test_stages_are_the_blocks_as_called():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

        def forward(self, x):
            return self.head(self.body(x.flatten(1)[:, :4]))

    clip = torch.rand(1, 3, 2, 2, 2)
    assert [name for name, _ in checks_layers.stages(Two())] == ["head", "body.0", "body.2"]
    assert [name for name, _ in checks_layers.stages(Two(), clip)] == ["body.0", "body.2", "head"]
    assert [name for name, _ in checks_layers.stages(nn.Sequential(Two()))] == ["0.head", "0.body.0", "0.body.2"]
    i3d = I3D(12, width=0.125)
    assert [name for name, _ in checks_layers.stages(i3d)][::12] == ["Conv3d_1a_7x7", "Logits"]
    with pytest.raises(ValueError, match="no weights"):
        checks_layers.stages(nn.Flatten())


def test_randomised_shuffles_only_the_named_stages():
    model = I3D(12, width=0.125).eval()
    clips = torch.rand(2, 3, 8, 32, 32)
    twin = checks_layers.randomised(model, ["Mixed_5c", "Logits"], 0, clips)
    before, after = model.state_dict(), twin.state_dict()
    for key, value in before.items():
        if key.startswith(("Mixed_5c", "Logits")):
            if key.endswith("weight") and value.dim() > 1:
                assert not torch.equal(value, after[key])
                assert torch.equal(value.flatten().sort().values, after[key].flatten().sort().values)
        else:
            assert torch.equal(value, after[key]), key
    assert not twin.training
    again = checks_layers.randomised(model, ["Mixed_5c", "Logits"], 0, clips).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in after.items())
    more = checks_layers.randomised(model, ["Mixed_5b", "Mixed_5c", "Logits"], 0).state_dict()
    assert torch.equal(more["Logits.Conv3d_0c_1x1.conv_3d.weight"], after["Logits.Conv3d_0c_1x1.conv_3d.weight"])


class Chosen(OneFrame):
    """Its weights say which frame counts: frame FRAME; shuffled, they are on other places."""

    def __init__(self, heard=1.0):
        super().__init__()
        self.heard, self.head = heard, nn.Linear(2 * FRAMES, 2)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[1, FRAME] = 12.0
            self.head.bias.copy_(torch.tensor([3.0, 0.0]))

    def forward(self, clips):
        changes = self.layer(clips)[:, 0, :, :2, :2].mean((2, 3)).diff(dim=1, prepend=clips[:, 0, :1, 0, 0])
        if self.heard:
            return self.head(torch.cat([changes, changes.flip(1)], 1))
        fixed = torch.stack([torch.full_like(changes[:, 0], 3.0), 12 * changes[:, FRAME]], 1)
        return fixed + 0 * self.head.bias


def _chosen(heard):
    own = subject()
    own.clips += torch.arange(FRAMES)[None, None, :, None, None] * 0.05  # every frame brings something new
    own.model = Chosen(heard).eval()
    own.recipe = recipes.MaskRecipe("long", lambda1=0.01, lambda2=0.02, iterations=60)
    return checks_layers.layers(own, Parts())


def test_random_weights_change_the_mask():
    found = _chosen(heard=1.0)
    assert found.numbers["stages"] == ["head", "layer"]
    assert found.numbers["median"]["masks"][-1] < 0.5 and found.verdicts["masks"]["word"] == "passed"
    assert len(found.clips["maps"]) == 3 and found.numbers["score"][-1] < 0.5


def test_a_mask_that_no_weight_changes_fails():
    found = _chosen(heard=0.0)
    assert found.numbers["median"]["masks"][0] == pytest.approx(1) and found.verdicts["masks"]["word"] == "failed"


def test_labels_are_dealt_out_again():
    class Few:
        classes, name, num_frames = ["a", "b", "c"], "few", 4

        def __init__(self, labels):
            from interp.data import Sample

            self.samples = [Sample(str(i), "none", label) for i, label in enumerate(labels)]
            self.ids = [one.id for one in self.samples]

        def __len__(self):
            return len(self.samples)

        def subset(self, indices):
            return Few([self.samples[i].label for i in indices])

        def __getitem__(self, index):
            return f"frames {index}", self.samples[index].label, index

    data = Few([i % 3 for i in range(60)])
    taught = checks_labels.permuted(data, 30, seed=0)
    own = [sample.label for sample in taught.samples]
    assert sorted(taught.labels) == sorted(own) and taught.labels != own
    assert 3 <= sum(a == b for a, b in zip(own, taught.labels, strict=True)) <= 20  # a third by luck
    assert taught.labels == checks_labels.permuted(data, 30, seed=0).labels
    assert taught.labels != checks_labels.permuted(data, 30, seed=1).labels
    assert taught[4] == ("frames 4", taught.labels[4], 4)
    part = taught.subset([3, 5])
    assert part.labels == [taught.labels[3], taught.labels[5]] and len(part) == 2


def test_parts_are_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"values": torch.tensor([1.0, float("nan")])}

    first = Parts(tmp_path / "parts" / "one")("lambda1 halved", make)
    again = Parts(tmp_path / "parts" / "one")("lambda1 halved", make)
    assert first == again == {"values": [1.0, None]} and len(made) == 1
    assert (tmp_path / "parts" / "one" / "lambda1-halved.json").exists()


# --- a tiny run from end to end ---


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("motion"), 12, 12, size=32, workers=1, progress=False)


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    recipe = recipes.change(recipes.I3D_MOTION, num_frames=8, size=(32, 32), batch_size=4)
    classes = open_dataset("motion", root, "validation", 8, 32).classes
    model = I3D(12, width=0.125, bn_momentum=0.1).eval()
    weights.save(path, model, classes, {"recipe": recipes.asdict(recipe)})
    return path


@pytest.fixture(scope="module")
def folder(root, checkpoint, tmp_path_factory):
    dataset = open_dataset("motion", root, "validation", 8, 32)
    out = tmp_path_factory.mktemp("runs") / "tiny"
    source = {"kind": "motion", "root": str(root), "split": "validation"}
    runs.write(out, weights.read(checkpoint), dataset, SHORT, start="best-window", stop=True, limit=6, source=source)
    return out


def command(folder, checkpoint, out, *more):
    return main(["check", str(folder), "--model", str(checkpoint), "--out", str(out), "--clips", "2", "--threads", "1",
                 "--epochs", "1", "--train-clips", "8", *more])  # fmt: skip


def test_the_command_from_end_to_end(folder, checkpoint, tmp_path, capsys):
    out = tmp_path / "checks"
    assert command(folder, checkpoint, out) == 0
    told = capsys.readouterr()
    found = checks.read(out)
    assert list(found["checks"]) == list(checks.CHECKS) and found["left_out"] == {}
    for name, record in found["checks"].items():
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        alone = json.loads((out / f"{name}.json").read_text())
        assert alone["verdicts"] == record["verdicts"]
        assert alone["model"]["weights"] == found["about"]["model"]["weights"]
        assert alone["versions"] and alone["settings"]["seed"] == 0 and alone["seconds"] >= 0
        for verdict in record["verdicts"].values():
            assert verdict["word"] in ("passed", "failed", "not decided") and "The rule:" in verdict["sentence"]
            assert verdict["sentence"] in told.err
    assert "8 checks of 2 clips" in told.out
    labels = found["checks"]["labels"]
    assert labels["verdicts"]["masks"]["word"] == "not decided" and labels["numbers"]["train_clips"] == 8
    checks_plots.draw("layers", {"one": found["checks"]["layers"], "two": found["checks"]["layers"]})
    assert (out / "checks.json").stat().st_size < 60_000


def test_a_killed_run_goes_on(folder, checkpoint, root, tmp_path, monkeypatch):
    model, dataset = weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32)
    whole = checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "whole", ["starts", "soft", "lambdas"])
    search, count = Subject.search, []

    def mortal(self, *args, **kwargs):
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        return search(self, *args, **kwargs)

    monkeypatch.setattr(Subject, "search", mortal)
    with pytest.raises(KeyboardInterrupt):
        checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "cut", ["starts", "soft", "lambdas"])
    assert not (tmp_path / "cut" / "starts.json").exists()
    found = checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "cut", ["starts", "soft", "lambdas"])
    assert len(count) == 4 + 4 + 4  # three were done before the kill; starts and the unchanged one need four more
    for name in whole["checks"]:
        one, two = (dict(part["checks"][name], seconds=0) for part in (whole, found))
        assert one == two, name
    checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "cut", ["starts"])
    assert len(count) == 12  # nothing is made again


def test_a_folder_of_other_checks_is_refused(folder, checkpoint, root, tmp_path):
    model, dataset = weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32)
    checks.run(open_run(folder, model, dataset, clips=2), tmp_path / "a", ["soft"])
    with pytest.raises(ValueError, match="holds other checks: clips was"):
        checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "a", ["soft"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="no folder of checks"):
        checks.run(open_run(folder, model, dataset, clips=2), tmp_path / "b", ["soft"])
    with pytest.raises(ValueError, match="no check 'weather'"):
        checks.run(open_run(folder, model, dataset, clips=2), tmp_path / "a", ["weather"])


def test_wrong_model_data_or_folder(folder, checkpoint, root, tmp_path, capsys):
    dataset, other = open_dataset("motion", root, "validation", 8, 32), I3D(12, width=0.125).eval()
    with pytest.raises(ValueError, match="made with other weights"):
        open_run(folder, other, dataset)
    model = weights.read(checkpoint)
    with pytest.raises(ValueError, match="are not in"):
        open_run(folder, model, open_dataset("motion", root, "train", 8, 32))
    changed = open_dataset("motion", root, "validation", 8, 32)
    changed.samples = [type(s)(s.id, changed.samples[0].path, s.label, meta=s.meta) for s in changed.samples]
    about = checks.run(open_run(folder, model, dataset, clips=3), tmp_path / "a", ["soft"])["about"]
    about["clips"][2]["OS"] += 0.5
    with pytest.raises(ValueError, match="not the one the run was made with"):
        checks.of_rows(about, model, dataset)
    assert main(["check", str(tmp_path / "none")]) == 2 and "no results folder" in capsys.readouterr().err
    assert main(["check", str(folder)]) == 2 and "--model" in capsys.readouterr().err
    assert command(folder, checkpoint, tmp_path / "x", "--root", str(tmp_path / "gone")) == 2
    assert "name its folder with --root" in capsys.readouterr().err


def test_a_run_on_folders_tells_how_they_were_split(checkpoint, root, tmp_path, capsys):
    videos = sorted((root / "20bn-something-something-v2").glob("*.webm"))[:4]
    for place, video in enumerate(videos):  # two classes, one video of each held out
        kind = tmp_path / "videos" / motion.CLASSES[place % 2]
        kind.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, kind / f"{'held' if place < 2 else 'seen'}_{place}.webm")
    out, options = tmp_path / "run", ["--data", "folder", "--root", str(tmp_path / "videos")]
    assert main(["explain", *options, "--split-pattern", "held_", "--model", str(checkpoint), "--iterations", "2",
                 "--out", str(out)]) == 0  # fmt: skip
    assert json.loads((out / "run.json").read_text())["data"]["split_pattern"] == "held_"
    capsys.readouterr()
    assert main(["check", str(out), "--model", str(checkpoint), "--only", "soft", "--clips", "2"]) == 0
    assert "1 checks of 2 clips" in capsys.readouterr().out
    assert [row["id"] for row in checks.read(out)["about"]["clips"]] == runs.read(out).table["id"].tolist()


def test_versions_of_checks_that_others_made_are_kept(folder, checkpoint, root, tmp_path):
    subject = open_run(folder, weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32), clips=2)
    once = checks.run(subject, tmp_path / "a", ["soft"])
    assert "continued_with" not in once
    older = json.loads((tmp_path / "a" / "soft.json").read_text())
    older["versions"]["torch"] = "2.4.0"
    (tmp_path / "a" / "soft.json").write_text(json.dumps(older))
    found = checks.run(subject, tmp_path / "a", ["soft", "rivals"])
    assert found["continued_with"] == [older["versions"]] and found["versions"] == once["versions"]


def test_damaged_files(folder, checkpoint, root, tmp_path):
    with pytest.raises(ValueError, match="no finished checks"):
        checks.read(tmp_path)
    out = tmp_path / "a"
    model, dataset = weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32)
    checks.run(open_run(folder, model, dataset, clips=2), out, ["soft"])
    (out / "checks.json").write_text('{"format": 1, "checks"')
    with pytest.raises(ValueError, match="is damaged"):
        checks.read(out)
    (out / "checks.json").write_text('{"format": 9, "checks": {}, "about": {"clips": []}}')
    with pytest.raises(ValueError, match="no checks of this package"):
        checks.read(out)
    (out / "soft.json").write_text("half of")
    with pytest.raises(ValueError, match="remove it to make it again"):
        checks.run(open_run(folder, model, dataset, clips=2), out, ["soft"])


def test_a_record_is_enough_to_check_again(folder, checkpoint, root, tmp_path):
    """What ships: the record alone, the network and the clips give the same values for a few of the clips."""
    model, dataset = weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32)
    checks.run(open_run(folder, model, dataset, clips=4), tmp_path / "a", ["random", "rivals"])
    found = checks.read(tmp_path / "a")
    few = checks.of_rows(found["about"], model, dataset, clips=2)
    for name, each in (("random", 8), ("rivals", 17)):
        record = found["checks"][name]
        assert checks.compare(checks.one(name, few), record, 1e-3) == 2 * each
        record["clips"]["found" if name == "random" else "central_loss"][1] += 0.2
        with pytest.raises(ValueError, match=f"{name}: .* was recorded as"):
            checks.compare(checks.one(name, few), record)


def test_no_training_clips_is_said(folder, checkpoint, root, tmp_path):
    model, dataset = weights.read(checkpoint), open_dataset("motion", root, "validation", 8, 32)
    found = checks.run(open_run(folder, model, dataset, clips=2), tmp_path / "a", ["labels"])
    assert found["checks"] == {} and "no training clips at hand" in found["left_out"]["labels"]


def test_a_picture_needs_a_check():
    with pytest.raises(ValueError, match="expected one of layers"):
        checks_plots.draw("weather", {"a": {}})
    assert list(checks.CHECKS) == list(check.NAMES)
