"""The build runs a chapter once: again only where its text, the package, its data, the scale or a version changed."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(tmp_path, monkeypatch):
    """build.py over a book of one chapter, in a folder of its own; `ran` lists the scales of its runs."""
    scripts = ROOT / "book" / "_scripts"
    monkeypatch.syspath_prepend(str(scripts))
    spec = importlib.util.spec_from_file_location("build", scripts / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1 + 1", "outputs": [], "execution_count": None}
    chapter = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    for name, text in {"book/first.ipynb": json.dumps(chapter), "interp/module.py": "ONE = 1\n",
                       "_config.yml": "title: x\n", "CITATION.cff": "url: https://interp-authors.github.io/interp/\n",
                       "_toc.yml": "format: jb-book\nroot: book/first\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    module.ran, module.fails, module.rendered, module.data_version = [], False, [], 1

    class Client:
        """Stands in for nbclient: the output says how often the chapter has run."""

        def __init__(self, content, **options):
            self.content = content
            assert tmp_path / ".cache" in Path(options["resources"]["metadata"]["path"]).parents, "runs in the copy"

        def execute(self, env):
            module.ran.append(env["INTERP_SCALE"])
            if module.fails:
                raise module.CellExecutionError("cell 1", "ZeroDivisionError", "division by zero")
            self.content["cells"][0]["outputs"] = [nbformat.v4.new_output("stream", text=f"{len(module.ran)}")]

    def run(command, **options):
        module.rendered.append(command)
        (module.HTML / "book").mkdir(parents=True)
        for name in ("index.html", "book/first.html"):
            (module.HTML / name).write_text("")
        return SimpleNamespace(returncode=0)

    cache = tmp_path / ".cache"
    for name, value in {"ROOT": tmp_path, "CACHE": cache, "EXECUTED": cache / "executed", "COPY": cache / "book",
                        "DATA": tmp_path / "data", "HTML": tmp_path / "_build" / "html", "NotebookClient": Client,
                        "make_data": lambda: None, "write_interface": lambda: None, "add_networks": lambda: None,
                        "repository": lambda: "somebody/fork",
                        "data_recipe": lambda: {"version": module.data_version}}.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setenv("INTERP_SCALE", "quick")
    return module


def outputs(folder) -> list:
    return json.loads((folder / "book" / "first.ipynb").read_text())["cells"][0]["outputs"]


def test_an_unchanged_chapter_is_not_run_again_and_the_render_executes_nothing(build):
    build.book()
    build.book()
    assert build.ran == ["quick"]
    assert outputs(build.COPY)[0]["text"] == ["1"], "the outputs of the one run are rendered"
    assert outputs(build.ROOT) == []
    assert {"-W", "-n", "--keep-going"} <= set(build.rendered[0])  # warnings are errors
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert settings["execute"] == {"execute_notebooks": "off"}


def test_the_repository_has_its_name_in_every_address(build):
    build.book()
    assert (build.HTML / "CITATION.cff").read_text() == "url: https://somebody.github.io/fork/\n"


CHANGES = {
    "chapter": lambda build, patch: (path := build.ROOT / "book" / "first.ipynb").write_text(
        path.read_text().replace("1 + 1", "1 + 2")),
    "package": lambda build, patch: (build.ROOT / "interp" / "module.py").write_text("ONE = 2\n"),
    "new file of the package": lambda build, patch: (build.ROOT / "interp" / "new.safetensors").write_bytes(b"\0"),
    "data": lambda build, patch: patch.setattr(build, "data_version", 2),
    "scale": lambda build, patch: patch.setenv("INTERP_SCALE", "book"),
    "torch": lambda build, patch: patch.setattr(build.metadata, "version", lambda name: "9.9"),
    "python": lambda build, patch: patch.setattr(sys, "version", "9.9"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_the_chapter_again(build, monkeypatch, change):
    build.book()
    CHANGES[change](build, monkeypatch)
    build.book()
    build.book()
    assert len(build.ran) == 2 and outputs(build.COPY)[0]["text"] == ["2"]


def test_a_chapter_that_fails_leaves_nothing_behind_and_stops_the_build(build):
    build.fails = True
    with pytest.raises(SystemExit, match="chapters that failed: first"):
        build.book()
    assert build.rendered == []
    build.fails = False
    build.book()
    assert len(build.ran) == 2


def test_a_page_that_shows_nothing_is_found(build):
    build.book()
    path = build.COPY / "book" / "first.ipynb"
    path.write_text(path.read_text().replace('"outputs": [', '"outputs": [], "kept": ['))
    assert build.check_pages(build.chapters()) == ["first: no cell has an output"]
