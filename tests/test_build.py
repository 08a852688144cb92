"""The build runs a chapter once: again only where its text, the package, its data, the scale or a version changed."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

SCRIPTS = Path(__file__).parents[1] / "book" / "_scripts"


@pytest.fixture
def build(tmp_path, monkeypatch):
    """build.py over a book of one chapter, in a folder of its own; `ran` lists the scales of its runs."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("build", SCRIPTS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"ROOT": tmp_path, "CACHE": tmp_path / ".cache", "EXECUTED": tmp_path / ".cache" / "executed",
                        "COPY": tmp_path / ".cache" / "book", "DATA": tmp_path / "data",
                        "HTML": tmp_path / "_build" / "html"}.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    (tmp_path / "book" / "_scripts").mkdir(parents=True)
    (tmp_path / "interp").mkdir()
    (tmp_path / "interp" / "module.py").write_text("ONE = 1\n")
    (tmp_path / "_config.yml").write_text("title: x\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/first\n")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1 + 1", "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    chapter = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell]}
    (tmp_path / "book" / "first.ipynb").write_text(json.dumps(chapter))
    module.ran, module.fails, module.rendered = [], False, []

    class Client:
        """Stands in for nbclient: the output says how often the chapter has run."""

        def __init__(self, content, **options):
            self.content = content
            assert tmp_path / ".cache" in Path(options["resources"]["metadata"]["path"]).parents, "runs in the copy"

        def execute(self, env):
            module.ran.append(env["INTERP_SCALE"])
            if module.fails:
                raise module.CellExecutionError("cell 1", "ZeroDivisionError", "division by zero")
            text = f"{len(module.ran)}"
            self.content["cells"][0]["outputs"] = [nbformat.v4.new_output("stream", text=text)]

    def run(command, **options):
        module.rendered.append(command)
        (module.HTML / "book").mkdir(parents=True)
        for name in ("index.html", "book/first.html"):
            (module.HTML / name).write_text("")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(module, "NotebookClient", Client)
    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module, "make_data", lambda: None)
    monkeypatch.setattr(module, "write_interface", lambda: None)
    monkeypatch.setattr(module, "data_recipe", lambda: {"version": module.data_version})
    module.data_version = 1
    monkeypatch.setenv("INTERP_SCALE", "quick")
    return module


def shown(build) -> str:
    content = json.loads((build.COPY / "book" / "first.ipynb").read_text())
    return "".join(content["cells"][0]["outputs"][0]["text"])


def test_an_unchanged_chapter_is_not_run_again(build):
    build.book()
    build.book()
    assert build.ran == ["quick"]
    assert shown(build) == "1", "the outputs of the one run are rendered"
    assert json.loads((build.ROOT / "book" / "first.ipynb").read_text())["cells"][0]["outputs"] == []


CHANGES = ("chapter", "package", "new file of the package", "data", "scale", "torch", "python")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_the_chapter_again(build, monkeypatch, change):
    build.book()
    if change == "chapter":
        path = build.ROOT / "book" / "first.ipynb"
        path.write_text(path.read_text().replace("1 + 1", "1 + 2"))
    elif change == "package":
        (build.ROOT / "interp" / "module.py").write_text("ONE = 2\n")
    elif change == "new file of the package":
        (build.ROOT / "interp" / "weights.safetensors").write_bytes(b"\0")
    elif change == "data":
        build.data_version = 2
    elif change == "scale":
        monkeypatch.setenv("INTERP_SCALE", "book")
    elif change == "torch":
        real = build.metadata.version
        monkeypatch.setattr(build.metadata, "version", lambda name: "9.9" if name == "torch" else real(name))
    else:
        monkeypatch.setattr(sys, "version", "9.9")
    build.book()
    assert len(build.ran) == 2
    assert shown(build) == "2"
    build.book()
    assert len(build.ran) == 2


def test_a_chapter_that_fails_leaves_nothing_behind_and_stops_the_build(build):
    build.fails = True
    with pytest.raises(SystemExit, match="chapters that failed: first"):
        build.book()
    assert build.rendered == []
    build.fails = False
    build.book()
    assert len(build.ran) == 2


def test_the_render_executes_nothing_and_takes_warnings_for_errors(build):
    import yaml

    build.book()
    (command,) = build.rendered
    assert {"-W", "-n", "--keep-going"} <= set(command)
    settings = yaml.safe_load((Path(__file__).parents[1] / "_config.yml").read_text(encoding="utf-8"))
    assert settings["execute"] == {"execute_notebooks": "off"}


def test_a_page_that_shows_nothing_is_found(build):
    build.book()
    path = build.COPY / "book" / "first.ipynb"
    content = json.loads(path.read_text())
    content["cells"][0]["outputs"] = []
    path.write_text(json.dumps(content))
    assert build.check_pages(build.chapters()) == ["first: no cell has an output"]
