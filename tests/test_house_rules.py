"""The rules of the house that a machine can check: notebooks, sizes, docstrings, which room knows which."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {"book", "interp", "tests", ".ci", ".github"}
NEEDED = "README.md pyproject.toml Makefile environment.yml _config.yml _toc.yml .ci/run LICENSE".split()
# In pieces, so that this file may be read by the same rule.
BANNED = ["TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error", "pickle" + ".load"]
BANNED += ["weights_only=" + "False"]
# Ground floor first; rooms on one floor may know each other.
FLOORS = [
    {"whole", "recipes", "perturb"},
    {"models"},
    {"data"},
    {"distributed", "train", "augment", "batches", "checkpoint", "evaluate", "optimise"},
    {"borrow", "windows", "search", "masks", "gradcam"},
    {"explain", "runs"},
    {"measure", "published", "record", "claims"},
    {"figures", "films", "plots", "tables", "comparison", "sliders"},
    {"widgets"},
    {"checks"},
    {"commands"},
    {"__main__", "__init__"},
]


def tracked() -> list[Path]:
    """The files that git holds or would take, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git work tree")
    return [Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def floor(room: str) -> int | None:
    """The floor of a room; a file named like its room (train_log beside train) stands on the same one."""
    for level, rooms in enumerate(FLOORS):
        if room in rooms or any(room.startswith(f"{name}_") for name in rooms):
            return level
    return None


def imported_rooms(tree: ast.Module, package: tuple[str, ...]):
    """The rooms of interp that a module imports at its top level, not inside its functions."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "interp" and len(parts) > 1:
                    yield parts[1]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*base, *(node.module.split(".") if node.module else [])]
            if parts[:1] == ["interp"]:
                yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


def test_needed_files_are_here():
    assert [name for name in NEEDED if not (ROOT / name).exists()] == []


def test_no_top_level_folder_that_the_design_does_not_name():
    assert {path.parts[0] for path in tracked() if len(path.parts) > 1} - TOP == set()


def test_no_large_files():
    assert [str(p) for p in tracked() if (ROOT / p).stat().st_size > 4 << 20] == []
    shipped = [p for p in tracked() if p.suffix == ".safetensors"]
    assert sum((ROOT / p).stat().st_size for p in shipped) <= 6 * 10**6


def test_source_notebooks_have_no_outputs_and_the_usual_kernel():
    for path in tracked():
        if path.suffix != ".ipynb":
            continue
        notebook = json.loads((ROOT / path).read_text(encoding="utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code), f"{path}: has outputs"
        kernel = notebook["metadata"].get("kernelspec", {}).get("name")
        assert kernel == "python3", f"{path}: the kernel is {kernel}, not python3"
        assert "widgets" not in notebook["metadata"], f"{path}: widget state in a source notebook"


def test_rooms_open_with_a_docstring_and_stay_small():
    for path in python_files():
        if path.parts[0] != "interp":
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        lines = text.count("\n")
        assert lines <= 300, f"{path}: {lines} lines; which two rooms is it?"
        assert lines == 0 or ast.get_docstring(ast.parse(text)), f"{path}: no opening docstring"
        assert path.name != "utils.py", f"{path}: a room needs a name"


def test_no_word_of_unfinished_or_unsafe_work():
    found = []
    for path in python_files():
        text = (ROOT / path).read_text(encoding="utf-8")
        found += [f"{path}: {word}" for word in BANNED if word in text]
    assert found == []


def test_a_lower_room_never_imports_a_higher_one():
    wrong = []
    for path in python_files():
        if path.parts[0] != "interp":
            continue
        own = floor(path.parts[1] if len(path.parts) > 2 else path.stem)
        assert own is not None, f"{path}: a room that FLOORS in this test does not name"
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for room in imported_rooms(tree, path.parts[:-1]):
            level = floor(room)
            if level is not None and level > own:
                wrong.append(f"{path} imports interp.{room}")
    assert wrong == []
