"""From the command line: bad files are counted and listed, nothing else is lost; odd names work and are escaped."""

import json
import os
import re
import shutil
import warnings

import pytest
import torch

pytest.importorskip("av")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from test_video import drawn, write  # noqa: E402

from interp.cli import main  # noqa: E402
from interp.core.explanation import explain  # noqa: E402
from interp.models import weights  # noqa: E402
from interp.show import html  # noqa: E402
from interp.study import results  # noqa: E402

torch.set_num_threads(1)
ODD = "Grüße & <b>Co 'n \"so\""
UP, DOWN = "Moving <i>something</i> & co up", "Moving <i>something</i> & co down"
SMALL = ["--model", "clstm", "--recipe", "clstm_motion", "--epochs", "2", "--batch-size", "2", "--num-frames", "4",
         "--size", "16", "16", "--workers", "0", "--device", "cpu", "--precision", "fp32",
         "--model-args", '{"filters": [2,2,2], "pools": [2,2,1]}']  # fmt: skip
# of the training split, for each kind: files to damage, files to take away, clips lost by either
BAD = {"something": (["2.webm", "3.webm"], ["4.webm"], 2, 1),
       "kth": (["person02_boxing_d1_uncomp.avi"], ["person02_walking_d1_uncomp.avi"], 2, 1),
       "folder": (["a 2.avi", "ä <3>.avi"], [], 2, 0)}  # fmt: skip
PATTERN = ["--split-pattern", "held"]


def video(path, n=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    webm = path.suffix == ".webm"
    options = {"deadline": "realtime", "cpu-used": "8"} if webm else {}
    write(path, "libvpx" if webm else "mpeg4", drawn(n, 24, 32), **options)


def something(root):
    for number in range(1, 9):
        video(root / "videos" / f"{number}.webm")
    clips = [{"id": str(n), "template": f"Moving <i>[something]</i> & co {('up', 'down')[n % 2]}"} for n in range(1, 9)]
    content = {"labels": {UP: "0", DOWN: "1"}, "train": clips[:6], "validation": clips[6:]}
    for name, value in content.items():
        (root / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def kth(root):
    lines = []
    for subject, action, ranges in ((1, "boxing", "1-8, 9-16"), (2, "boxing", "1-6, 7-12"), (2, "walking", "1-8"),
                                    (3, "walking", "1-8"), (17, "boxing", "1-8"), (18, "walking", "1-8")):
        name = f"person{subject:02}_{action}_d1"
        video(root / f"{name}_uncomp.avi", 16)
        lines.append(f"{name}  frames  {ranges}\n")
    (root / "00sequences.txt").write_text("".join(lines))


def folder(root):
    for name in ("left & <i>right", "Grüße"):
        for video_name in ("a 1", "a 2", "ä <3>", "held & out"):
            video(root / name / f"{video_name}.avi")
    (root / "Grüße" / "a 2.avi").rename(root / "Grüße" / "b.avi")
    (root / "Grüße" / "ä <3>.avi").rename(root / "Grüße" / "c.avi")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """{kind: the dataset's folder}, one damaged in some files."""
    found = {}
    for make in (something, kth, folder):
        root = found[make.__name__] = tmp_path_factory.mktemp("data") / f"{make.__name__} {ODD}"
        make(root)
        damaged, absent, *_ = BAD[make.__name__]
        for number, name in enumerate(damaged):
            (path,) = root.rglob(name)
            path.write_bytes(b"" if number == 0 else b"this is no video" * 50)
        for name in absent:
            next(root.rglob(name)).unlink()
    return found


def run(arguments, capsys):
    """Exit code, lines of stdout, lines of stderr; a warning would be a further line and fails."""
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err.splitlines()


def options(kind, root):
    return ["--data", kind, "--root", root, *(PATTERN if kind == "folder" else [])]


@pytest.fixture(scope="module")
def trained(roots, tmp_path_factory):
    """From a kind to (folder of a training, what it printed); each is trained once."""
    made = {}

    def get(kind, capsys):
        if kind not in made:
            out = tmp_path_factory.mktemp("out") / ODD
            made[kind] = out, run(["train", *options(kind, roots[kind]), *SMALL, "--out", out], capsys)
        return made[kind]

    return get


@pytest.mark.parametrize("kind", BAD)
def test_training_and_explaining_go_on_to_the_end(kind, roots, trained, tmp_path, capsys):
    damaged, absent, unreadable, lost = BAD[kind]
    out, (code, said, errors) = trained(kind, capsys)
    words = ", ".join(f"{n} {what}" for n, what in ((unreadable, "cannot be read"), (lost, "have no file")) if n)
    assert code == 0 and errors == [
        f"{unreadable + lost} of 8 clips are left out ({words}): {out / 'unreadable.txt'}"
    ]
    rows = [line.split("\t") for line in (out / "unreadable.txt").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == unreadable + len(absent)
    assert all(any(name in line[1] for name in damaged) for line in rows[:unreadable]), rows
    assert [os.path.basename(line[0]) for line in rows[unreadable:]] == absent
    assert said[-1].startswith('{"epoch": ') and "waiting" in said[-2]
    arguments = ["explain", *options(kind, roots[kind]), "--model", out / "best.safetensors", "--iterations", "2",
                 "--split", "train", "--device", "cpu", "--out", tmp_path / "run"]  # fmt: skip
    code, said, errors = run(arguments, capsys)
    found = results.read(tmp_path / "run")
    assert code == 0 and found.finished and found.table["error"].notna().sum() == unreadable
    assert errors == [f"{unreadable + lost} of {len(found.table) + lost} clips are left out ({words}): "
                      f"{tmp_path / 'run' / 'unreadable.txt'}"]  # fmt: skip
    assert len((tmp_path / "run" / "unreadable.txt").read_text(encoding="utf-8").splitlines()) == len(rows)
    assert run(arguments, capsys)[0] == 0  # its own list is nothing foreign in the results folder


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", ["train", "explain"])
def test_on_error_raise_stops_at_the_first(kind, command, roots, trained, tmp_path, capsys):
    damaged, absent, *_ = BAD[kind]
    given = [command, *options(kind, roots[kind]), "--out", tmp_path / "out", "--on-error", "raise"]
    if command == "train":
        given += SMALL
    else:
        given += ["--model", trained(kind, capsys)[0] / "best.safetensors", "--split", "train", "--iterations", "2"]
    code, said, errors = run(given, capsys)
    assert code == 2 and len(errors) == 1 and not said
    assert any(name in errors[0] for name in absent or damaged)  # a file that is absent is met before


def test_clips_that_are_not_kept_in_memory_give_the_same_list(roots, tmp_path, capsys):
    given = ["train", *options("folder", roots["folder"]), *SMALL, "--out", tmp_path / "out", "--keep", "none"]
    code, _, errors = run(given, capsys)
    assert code == 0 and [error.split(":")[0] for error in errors] == ["2 of 8 clips are left out (2 cannot be read)"]
    assert len((tmp_path / "out" / "unreadable.txt").read_text(encoding="utf-8").splitlines()) == 2


WRONG = {
    "malformed": ("something", "train.json", '[{"id": 1,]', "train.json: is not JSON"),
    "label": ("something", "train.json", '[{"id": 1, "template": "Eating"}]', "train.json: the clip '1' has the tem"),
    "twice": ("something", "train.json", json.dumps([{"id": 1, "template": UP}] * 2), "the id '1' occurs twice"),
    "line": ("kth", "00sequences.txt", "person01_boxing_d1 frames 5-1\n", "00sequences.txt: line 1, 'person01_box"),
    "video twice": ("kth", "00sequences.txt", "person01_boxing_d1 frames 1-5\n" * 2, "'person01_boxing_d1' occurs twi"),
    "no video": ("folder", "empty <b>/notes.txt", "", "the class folder 'empty <b>' has no video in it"),
}


@pytest.mark.parametrize("command", ["train", "explain"])
@pytest.mark.parametrize("kind, name, content, reason", WRONG.values(), ids=WRONG)
def test_a_contradiction_is_one_error_with_its_file(command, kind, name, content, reason, roots, tmp_path, capsys):
    root = shutil.copytree(roots[kind], tmp_path / "data")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(content)
    more = SMALL if command == "train" else ["--model", "i3d", "--split", "train"]
    code, said, errors = run([command, *options(kind, root), *more, "--out", tmp_path / "out"], capsys)
    assert code == 2 and len(errors) == 1 and not said and reason in errors[0] and str(root) in errors[0]
    assert not (tmp_path / "out").exists()


def test_odd_names_are_escaped_where_they_are_shown(trained, tmp_path, capsys):
    model = trained("something", capsys)[0] / "best.safetensors"
    path = tmp_path / f"{ODD}.avi"
    video(path)
    code, said, errors = run(["explain", path, "--model", model, "--iterations", "2", "--target", UP,
                              "--out", tmp_path / "out"], capsys)  # fmt: skip
    assert code == 0 and not errors and path.name in said[0]
    (report,) = (tmp_path / "out").glob("*.json")
    record = json.loads(report.read_text(encoding="utf-8"))["models"]["best"]
    assert record["P"] in (UP, DOWN) and (tmp_path / "out" / record["figure"]).exists()
    (explanation,) = explain(weights.read(model), torch.rand(1, 3, 4, 16, 16), [0], ids=[path.name], name="<b>best")
    shown = html.results_table([html.TableRow(f"{UP} {path.name}", [explanation])], ["<b>best"])
    shown += html.figure_html(explanation)
    shown = re.sub(r"<script>.*?</script>", "", shown, flags=re.S)  # the package's own
    assert "<b>" not in shown and "<i>" not in shown and "& " not in shown
    assert "Moving &lt;i&gt;something&lt;/i&gt; &amp; co" in shown and "Grüße" in shown


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_utf8(tmp_path, trained, capsys):
    root = tmp_path / "data"
    folder(root)
    path = os.fsencode(root / "Grüße") + b"/caf\xe9.avi"
    try:
        os.rename(root / "Grüße" / "a 1.avi", path)
    except OSError:
        pytest.skip("this file system takes no such name")
    with open(path, "wb"):
        pass
    out = tmp_path / "out"
    code, _, errors = run(["train", *options("folder", root), *SMALL, "--out", out], capsys)
    assert (code, len(errors)) == (0, 1), errors
    assert "Grüße/caf\\udce9.avi\t" in (out / "unreadable.txt").read_text(encoding="utf-8")
    code, _, errors = run(["explain", *options("folder", root), "--model", out / "best.safetensors", "--split", "train",
                           "--iterations", "2", "--out", tmp_path / "run"], capsys)  # fmt: skip
    assert code == 0 and len(errors) == 1 and results.read(tmp_path / "run").finished
