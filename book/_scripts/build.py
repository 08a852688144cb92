"""Builds the book: makes the embedded dataset, runs the chapters that changed, renders and checks the pages.

    python book/_scripts/build.py book          the whole book, to _build/html/index.html
    python book/_scripts/build.py test [ARGS]   unit tests, and every chapter, quick (ARGS go to pytest)
    python book/_scripts/build.py data          only the dataset, to .cache/motion

Sources stay without outputs. A chapter runs once, in a copy, by nbclient; Jupyter Book only renders. The
executed copy is kept in .cache/executed and taken again while the notebook, the package, the dataset's
recipe, the scale and the versions of Python and torch are the same. A chapter sees two variables:
INTERP_SCALE (quick, book or paper) and INTERP_DATA (the dataset's folder). It must leave no file that its
page needs: only the notebook itself is kept. Work lies in .cache and not in _build, because nbmake passes
over every path with a folder of that name in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata, util
from pathlib import Path

import interface  # beside this file
import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
DATA = Path(os.environ.get("INTERP_DATA", CACHE / "motion")).resolve()
EXECUTED = CACHE / "executed"  # what ran, and a record of each run
COPY = CACHE / "book"  # what Jupyter Book renders
HTML = ROOT / "_build" / "html"
COUNTS = {"train": 1000, "validation": 240}  # clips of the embedded dataset; minutes on two cores
PLACEHOLDER = "interp-authors/interp"  # what the sources call the repository on GitHub
CELL_SECONDS = 900  # a cell that takes longer than this hangs


def sha256(parts) -> str:
    """One digest of strings, and of files with their names."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(str(part.relative_to(ROOT)).encode() + b"\0" + part.read_bytes())
        else:
            digest.update(str(part).encode() + b"\0")
    return digest.hexdigest()


def files(folder: Path) -> list[Path]:
    """The files below a folder, in a fixed order, without what Python leaves there."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def pages() -> list[str]:
    """The pages of _toc.yml in reading order, without suffix: 'book/intro', ..."""

    def walk(node):
        if isinstance(node, list):
            for item in node:
                yield from walk(item)
        elif isinstance(node, dict):
            if "root" in node or "file" in node:
                yield node.get("root") or node["file"]
            for key in ("parts", "subtrees", "chapters", "sections"):
                yield from walk(node.get(key, []))

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


def chapters() -> list[Path]:
    """The notebooks of _toc.yml. A page with no source stops here, before anything runs."""
    missing = [p for p in pages() if not any((ROOT / p).with_suffix(s).exists() for s in (".ipynb", ".md"))]
    if missing:
        sys.exit(f"_toc.yml names pages that have no .ipynb and no .md: {', '.join(missing)}")
    return [path for p in pages() if (path := (ROOT / p).with_suffix(".ipynb")).exists()]


def data_recipe() -> dict:
    """Changes when the generated pixels or the number of clips do."""
    from interp.data.motion import VERSION

    return {"version": VERSION, **COUNTS}


def make_data() -> None:
    """Generates the dataset where it is missing, unfinished, or of another recipe."""
    record = DATA.with_name(DATA.name + ".json")
    known = json.loads(record.read_text()) if record.exists() and DATA.is_dir() else {}
    recipe = data_recipe()
    if known == {"recipe": recipe, "complete": True}:
        return
    if known.get("recipe") != recipe and DATA.is_dir():
        if not record.exists():  # a folder that this script did not make is not its to delete
            sys.exit(f"{DATA} was not made by this script: move it, or set INTERP_DATA to another folder")
        shutil.rmtree(DATA)
    DATA.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"recipe": recipe, "complete": False}))
    counts = [word for name, n in COUNTS.items() for word in (f"--{name}", str(n))]
    command = [sys.executable, "-m", "interp", "data", "motion", str(DATA), *counts]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit("the embedded dataset could not be generated: see above")
    record.write_text(json.dumps({"recipe": recipe, "complete": True}))


def environment(scale: str) -> dict[str, str]:
    """What a chapter sees: its scale, its data, no progress bars, and this environment's kernel."""
    ours = {"INTERP_SCALE": scale, "INTERP_DATA": str(DATA), "TQDM_DISABLE": "1"}
    quiet = {"JUPYTER_PLATFORM_DIRS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return os.environ | ours | quiet | {"JUPYTER_PREFER_ENV_PATH": "1"}


def versions() -> dict[str, str]:
    """Python, torch and the machine, for the page of run times."""
    names = ("torch", "torchvision", "numpy", "av", "matplotlib", "jupyter-book")
    found = {"Python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    found["cores"] = str(os.cpu_count())
    return found | {name: metadata.version(name) for name in names}


def repository() -> str:
    """OWNER/NAME on GitHub: of the variable, of Actions' own, of git's remote, else the sources' placeholder."""
    remote = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True).stdout
    known = re.search(r"github\.com[:/]([^/\s]+/[^/\s]+?)(?:\.git)?\s*$", remote)
    named = os.environ.get("INTERP_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY")
    return named or (known[1] if known else PLACEHOLDER)


def fresh_copy(target: Path) -> None:
    """The book's sources in a folder of their own, with nothing left from an earlier build.

    The repository's name takes the placeholder's place: in install cells, launch buttons, addresses and the citation.
    """
    shutil.rmtree(target, ignore_errors=True)
    ignore = shutil.ignore_patterns("_scripts", ".*", "__pycache__")
    shutil.copytree(ROOT / "book", target / "book", ignore=ignore)
    for name in ("_config.yml", "_toc.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, target / name)
    name = repository()
    sites = [each.replace("/", ".github.io/") for each in (PLACEHOLDER, name)]
    for path in (path for path in files(target) if path.suffix in (".ipynb", ".md", ".yml", ".cff")):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(PLACEHOLDER, name).replace(*sites), encoding="utf-8")


def execute(notebook: Path, scale: str, package: str) -> dict | None:
    """Runs a chapter in the copy, or takes the kept run. Returns its record, or None where it failed."""
    kept, record_file = EXECUTED / notebook.name, EXECUTED / f"{notebook.stem}.json"
    here = COPY / notebook.relative_to(ROOT)
    fingerprint = sha256([notebook, package, scale, metadata.version("torch"), sys.version])
    if kept.exists() and record_file.exists():
        record = json.loads(record_file.read_text())
        if record["fingerprint"] == fingerprint:
            print(f"{notebook.stem}: unchanged, not run again", flush=True)
            shutil.copy(kept, here)
            return record
    print(f"{notebook.stem}: running at the {scale} scale", flush=True)
    begin, content = time.perf_counter(), nbformat.read(here, as_version=4)
    client = NotebookClient(content, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=False,
                            resources={"metadata": {"path": str(here.parent)}})  # fmt: skip
    try:
        client.execute(env=environment(scale))
    except CellExecutionError as error:
        print(f"{notebook.stem}: {error}", file=sys.stderr)
        return None
    record = {"fingerprint": fingerprint, "scale": scale, "seconds": round(time.perf_counter() - begin, 1)}
    nbformat.write(content, here)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    shutil.copy(here, kept)
    record_file.write_text(json.dumps(record))
    return record


def write_run_times(records: dict[str, dict]) -> None:
    """Appends the tables to the copy of the page of run times."""
    page = COPY / "book" / "run_times.md"
    if not page.exists():
        return
    rows = [f"| {{doc}}`{name}` | {r['seconds']:.0f} | {r['scale']} |" for name, r in records.items()]
    rows += [f"| all | {sum(r['seconds'] for r in records.values()):.0f} | |"]
    text = ["", "| chapter | seconds | scale |", "|---|---:|---|", *rows]
    text += ["", "| what | version |", "|---|---|"]
    text += [f"| {name} | {version} |" for name, version in versions().items()]
    page.write_text(page.read_text(encoding="utf-8") + "\n".join(text) + "\n", encoding="utf-8")


def write_interface() -> None:
    """The reference of every public function and class: completes the copy's page, and adds one for each folder."""
    texts, toc = interface.pages(), COPY / "_toc.yml"
    first = COPY / "book" / "interface.md"
    texts["interface"] = first.read_text(encoding="utf-8") + "\n" + texts["interface"]
    for name, text in texts.items():
        (first.parent / f"{name}.md").write_text(text, encoding="utf-8")
    under = "".join(f"          - file: book/{name}\n" for name in list(texts)[1:])
    here = "      - file: book/interface\n"
    known = toc.read_text(encoding="utf-8")
    if here not in known:
        sys.exit("_toc.yml names no page book/interface, or not as one of a part's chapters")
    toc.write_text(known.replace(here, f"{here}        sections:\n{under}"), encoding="utf-8")


def add_mathjax() -> None:
    """One self-contained file beside the stylesheet, so that formulas need no other host."""
    package = Path(util.find_spec("sphinx-mathjax-offline").origin).parent
    target = COPY / "book" / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(package / "static" / "mathjax" / "tex-svg.js", target)


def add_networks() -> None:
    """Both networks for the explorers of the pages; without a network for their runtime the pages do without."""
    import networks  # beside this file; it needs the package and onnx

    try:
        print(networks.write(COPY / "book" / "_static" / "networks", CACHE), flush=True)
    except OSError as error:
        print(f"no networks in the pages, whose explorers keep the scores of single runs: {error}", file=sys.stderr)


def write_root() -> None:
    """index.html: title, description and preview of the first page, and the way to it."""
    first = f"{pages()[0]}.html"
    head = re.findall(r'<meta (?:name|property)="(?:description|og:|twitter:)[^>]*>',
                      (HTML / first).read_text(encoding="utf-8"))
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    link, refresh = f'<link rel="canonical" href="{first}">', f'<meta http-equiv="refresh" content="0; url={first}">'
    body = f'<body><main><h1>{title}</h1><p><a href="{first}">Go to the book</a></p></main></body>'
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">', f"<title>{title}</title>",
             *head, link, refresh, "</head>", body, "</html>"]
    (HTML / "index.html").write_text("\n".join(lines) + "\n", encoding="utf-8")


def check_pages(notebooks: list[Path]) -> list[str]:
    """What is wrong with the built book: a page without output, a chapter that shows nothing."""
    wrong = [f"{p}: no page was built" for p in pages() if not (HTML / f"{p}.html").is_file()]
    for notebook in notebooks:
        cells = json.loads((COPY / notebook.relative_to(ROOT)).read_text(encoding="utf-8"))["cells"]
        if not any(cell.get("outputs") for cell in cells):
            wrong.append(f"{notebook.stem}: no cell has an output")
        wrong += [f"{notebook.stem}: a progress bar in the output of cell {cell.get('id')}" for cell in cells
                  if re.search(r"\d%\|", json.dumps(cell.get("outputs", [])))]
    if not (HTML / "index.html").is_file():
        wrong.append("index.html: not there")
    return wrong


def book() -> None:
    """The whole book. Every chapter is tried, so that one run names all that fail."""
    notebooks, scale = chapters(), os.environ.get("INTERP_SCALE", "book")
    make_data()
    fresh_copy(COPY)
    package = sha256([json.dumps(data_recipe()), repository(), *files(ROOT / "interp")])
    records = {notebook.stem: execute(notebook, scale, package) for notebook in notebooks}
    failed = [name for name, record in records.items() if record is None]
    if failed:
        sys.exit(f"chapters that failed: {', '.join(failed)}")
    write_run_times(records)
    write_interface()
    add_mathjax()
    add_networks()
    for stale in (HTML, HTML.with_name(".doctrees")):  # a kept page would keep its warnings to itself
        shutil.rmtree(stale, ignore_errors=True)
    # Called through its main function: a script of another environment may come first on the PATH.
    render = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", render, "build", str(COPY), "--path-output", str(ROOT)]
    command += ["-W", "-n", "--keep-going", "-q"]  # warnings are errors, and all are shown
    ours = environment(scale)
    ours["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), ours.get("PYTHONPATH")]))  # dressing
    if subprocess.run(command, cwd=ROOT, env=ours).returncode != 0:
        sys.exit("jupyter-book gave warnings or failed: see above")
    write_root()
    shutil.copy(COPY / "CITATION.cff", HTML)
    if wrong := check_pages(notebooks):
        sys.exit("\n".join(wrong))
    size = sum(path.stat().st_size for path in files(HTML)) / 2**20
    print(f"{len(pages())} pages, {size:.1f} MB: {(HTML / 'index.html').relative_to(ROOT)}")


def test(arguments: list[str]) -> None:
    """pytest on the unit tests and on copies of all chapters; its closing line is the last thing printed."""
    notebooks, copy = chapters(), CACHE / "test"
    make_data()
    fresh_copy(copy)
    command = [sys.executable, "-m", "pytest", "tests", *(str(copy / n.relative_to(ROOT)) for n in notebooks)]
    command += ["--nbmake", f"--nbmake-timeout={CELL_SECONDS}", "--durations=15", *arguments]
    sys.stdout.flush()
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment("quick")).returncode)


if __name__ == "__main__":
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("what", choices=("book", "test", "data"))
    known_arguments, rest = parser.parse_known_args()
    if rest and known_arguments.what != "test":
        parser.error(f"only 'test' takes further arguments, got {rest}")
    {"book": book, "data": make_data, "test": lambda: test(rest)}[known_arguments.what]()
