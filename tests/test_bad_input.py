"""From the command line: bad files are counted and listed, nothing else is lost; odd names work and are escaped."""

import json
import os
import re
import shutil
import sys
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
LATIN = "caf\udce9" if sys.platform == "linux" else "café"  # a name that is not UTF-8, where there can be one
UP, DOWN = "Moving <i>something</i> & co up", "Moving <i>something</i> & co down"
SMALL = ["--model", "clstm", "--recipe", "clstm_motion", "--epochs", "2", "--batch-size", "2", "--num-frames", "4",
         "--size", "16", "16", "--workers", "0", "--device", "cpu", "--precision", "fp32",
         "--model-args", '{"filters": [2,2,2], "pools": [2,2,1]}']  # fmt: skip
# of the training split, for each kind: files to damage, files to take away
BAD = {"something": (["2.webm", "3.webm"], ["4.webm"]), "folder": ([f"{LATIN}.avi", "ä <3>.avi"], [])}


def video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = ("libvpx", {"deadline": "realtime", "cpu-used": "8"}) if path.suffix == ".webm" else ("mpeg4", {})
    write(path, kind[0], drawn(8, 24, 32), **kind[1])


def something(root):
    for number in range(1, 9):
        video(root / "videos" / f"{number}.webm")
    clips = [{"id": str(n), "template": f"Moving <i>[something]</i> & co {('up', 'down')[n % 2]}"} for n in range(1, 9)]
    for name, value in {"labels": {UP: "0", DOWN: "1"}, "train": clips[:6], "validation": clips[6:]}.items():
        (root / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def folder(root):
    for name, videos in {"left & <i>right": ("a 1", "a 2", "ä <3>"), "Grüße": ("a 1", "b", "c")}.items():
        for video_name in (*videos, "held & out"):
            video(root / name / f"{video_name}.avi")
    (root / "Grüße" / "c.avi").rename(root / "Grüße" / f"{LATIN}.avi")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """{kind: the dataset's folder}, each damaged in some files."""
    found = {}
    for make in (something, folder):
        root = found[make.__name__] = tmp_path_factory.mktemp("data") / f"{make.__name__} {ODD}"
        make(root)
        damaged, absent = BAD[make.__name__]
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


def options(command, kind, root, model=None):
    more = SMALL if command == "train" else ["--model", model, "--split", "train", "--iterations", "2",
                                             "--device", "cpu"]  # fmt: skip
    return [command, "--data", kind, "--root", root, *(["--split-pattern", "held"] * (kind == "folder")), *more]


@pytest.mark.parametrize("kind", BAD)
def test_training_and_explaining_go_on_to_the_end(kind, roots, tmp_path, capsys):
    damaged, absent = BAD[kind]
    unreadable, lost = len(damaged), len(absent)
    out, train = tmp_path / ODD, options("train", kind, roots[kind])
    code, said, errors = run([*train, "--out", out], capsys)
    words = f"clips are left out ({unreadable} cannot be read, {lost} have no file)"
    assert code == 0 and errors == [f"{unreadable + lost} of 8 {words}: {out / 'unreadable.txt'}"]
    rows = [line.split("\t") for line in (out / "unreadable.txt").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == unreadable + lost
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in damaged]
    assert all(any(name in line[1] for name in shown) for line in rows[:unreadable]), rows
    assert [os.path.basename(line[0]) for line in rows[unreadable:]] == absent
    assert said[-1].startswith('{"epoch": ') and "waiting" in said[-2]
    arguments = [*options("explain", kind, roots[kind], out / "best.safetensors"), "--out", tmp_path / "run"]
    code, said, errors = run(arguments, capsys)
    found = results.read(tmp_path / "run")
    assert code == 0 and found.finished and found.table["error"].notna().sum() == unreadable
    listed = tmp_path / "run" / "unreadable.txt"
    assert errors == [f"{unreadable + lost} of {len(found.table) + lost} {words}: {listed}"]
    assert len(listed.read_text(encoding="utf-8").splitlines()) == len(rows)
    assert run(arguments, capsys)[0] == 0  # its own list is nothing foreign in the results folder
    code, said, errors = run([*train, "--out", tmp_path / "raise", "--on-error", "raise"], capsys)
    assert code == 2 and len(errors) == 1 and not said and (absent or shown)[0] in errors[0]  # absence is met first


WRONG = {
    "malformed": ("train", "something", "train.json", '[{"id": 1,]', "train.json: is not JSON"),
    "no video": ("explain", "folder", "empty <b>/notes.txt", "", "the class folder 'empty <b>' has no video in it"),
}


@pytest.mark.parametrize("command, kind, name, content, reason", WRONG.values(), ids=WRONG)
def test_a_contradiction_is_one_error_with_its_file(command, kind, name, content, reason, roots, tmp_path, capsys):
    root = shutil.copytree(roots[kind], tmp_path / "data")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(content)
    code, said, errors = run([*options(command, kind, root, "i3d"), "--out", tmp_path / "out"], capsys)
    assert code == 2 and len(errors) == 1 and not said and reason in errors[0] and str(root) in errors[0]
    assert not (tmp_path / "out").exists()


def test_odd_names_are_escaped_where_they_are_shown(roots, tmp_path, capsys):
    model, path = tmp_path / "net" / "best.safetensors", tmp_path / f"{ODD}.avi"
    video(path)
    run([*options("train", "something", roots["something"]), "--out", model.parent], capsys)
    code, said, errors = run(["explain", path, "--model", model, "--iterations", "2", "--target", UP,
                              "--out", tmp_path / "out"], capsys)  # fmt: skip
    assert code == 0 and not errors and path.name in said[0]
    (report,) = (tmp_path / "out").glob("*.json")
    record = json.loads(report.read_text(encoding="utf-8"))["models"]["best"]
    assert record["P"] in (UP, DOWN) and (tmp_path / "out" / record["figure"]).exists()
    (explanation,) = explain(weights.read(model), torch.rand(1, 3, 4, 16, 16), [0], ids=[path.name], name="<b>best")
    shown = html.results_table([html.TableRow(f"{UP} {path.name}", [explanation])], ["<b>best"])
    shown = re.sub(r"<script>.*?</script>", "", shown + html.figure_html(explanation), flags=re.S)  # the package's own
    assert "<b>" not in shown and "<i>" not in shown and "& " not in shown
    assert "Moving &lt;i&gt;something&lt;/i&gt; &amp; co" in shown and "Grüße" in shown
