"""Every chapter as its source: how it opens, its first cell, its figures' words, its terms, how it ends.

What a test says names the notebook and what to add. The pages that come out are tested in test_pages.py.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings its forerunner
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
# The first code cell of every notebook. pip leaves what is good enough alone, so Colab's torch stays.
GUARD = """\
try:
    import interp
except ImportError:  # on Colab, say; the torch that is there stays
    %pip install -q "interp[widgets,results] @ git+https://github.com/interp-authors/interp"
    import interp"""
# Words of every day, and the two networks that every page names: they need no link wherever they stand.
EVERYDAY = {"c-lstm", "clip", "drop", "freeze", "guess", "i3d", "p", "perturbation", "recipe", "reverse", "run",
            "scale", "score", "seed"}  # fmt: skip
FEWEST_TERMS = 3


def toc() -> list[str]:
    """The pages of _toc.yml, 'book/intro' and so on."""
    return re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))


NOTEBOOKS = [page for page in toc() if (ROOT / f"{page}.ipynb").exists()]
every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
CHAPTERS = [page for page in NOTEBOOKS if page != toc()[0]]  # without the landing page
every_chapter = pytest.mark.parametrize("name", CHAPTERS)


def cells(name: str) -> list[dict]:
    content = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in content]


def prose(name: str) -> str:
    """The text of a page without its code."""
    path = ROOT / f"{name}.md"
    if path.exists():
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell["source"] for cell in cells(name) if cell["cell_type"] == "markdown")


def bare(text: str) -> str:
    """Prose alone: no code, formulas, links' targets, table rows, headings or directives' options."""
    text = re.sub(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1\s*$", " ", text, flags=re.S | re.M)
    text = re.sub(r"\$[^$]*\$|^(#|\||:).*$", " ", text, flags=re.M)
    text = re.sub(r"\{(?!term)[\w:]+\}`[^`]*`|(?<!\})`[^`]*`|\]\([^)]*\)|<!--.*?-->", " ", text, flags=re.S)
    return text


def glossary() -> list[str]:
    body = re.search(r"```\{glossary\}\n(.*?)```", (BOOK / "glossary.md").read_text(encoding="utf-8"), re.S)
    return re.findall(r"^(\S.*)$", body.group(1), re.M)


def linked(text: str) -> set[str]:
    """The glossary's terms that a text links, in lower case."""
    found = re.findall(r"\{term\}`([^`]*)`", text)
    names = (re.sub(r"\s+", " ", re.sub(r".*<(.*)>", r"\1", one, flags=re.S)) for one in found)
    return {name.strip().lower() for name in names}


@every_chapter
def test_opens_with_what_is_seen_and_needed_and_how_long_it_takes(name):
    first = cells(name)[0]
    assert first["cell_type"] == "markdown" and first["source"].startswith("# "), f"{name}: no title first"
    opening, box, words = first["source"].partition(":::{admonition} Before you start\n:class: tip\n")
    assert box, f"{name}: the first cell has no box ':::{{admonition}} Before you start' with ':class: tip'"
    assert len(opening.split()) >= 40, f"{name}: say in a paragraph before the box what the reader will see"
    needs = {
        r"\*\*You need\*\* \S+": "what is needed",
        r"\*\*Reading\*\* takes [^*]*\bminutes?\b": "the minutes of reading",
        r"\*\*Running\*\* takes [^*]*\b(minutes?|seconds?)\b": "how long it runs",
        r"\b(cores|GPU)\b": "the device",
        r"\bscale\b": "the scale",
    }
    lacking = [said for pattern, said in needs.items() if not re.search(pattern, words, re.S)]
    assert lacking == [], f"{name}: the box 'Before you start' does not say {', '.join(lacking)}"


@every_notebook
def test_first_code_cell_installs_the_package_where_it_is_missing(name):
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert code[0]["source"] == GUARD, f"{name}: the first code cell is not GUARD of tests/test_chapters.py"
    tags = {"hide-input", "remove-input"} & set(code[0]["metadata"].get("tags", []))
    assert tags, f"{name}: the first code cell has no tag hide-input, so that every page would open with it"
    installs = [cell["id"] for cell in code[1:] if re.search(r"\bpip\b.*\binstall\b", cell["source"])]
    assert installs == [], f"{name}: only the first code cell installs"


def run_guard(monkeypatch, found: bool) -> list[str]:
    """Runs the guard as IPython would; the lines that it gave to a magic."""
    import builtins

    manager = pytest.importorskip("IPython.core.inputtransformer2").TransformerManager()
    asked, real = [], builtins.__import__

    class Shell:
        def run_line_magic(self, name, line):
            asked.append(f"{name} {line}")

    def importing(name, *rest, **more):
        if name == "interp" and not found and not asked:
            raise ImportError(name)
        return real(name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", importing)
        exec(compile(manager.transform_cell(GUARD), "guard", "exec"), {"get_ipython": Shell})
    return asked


def test_the_guard_does_nothing_where_the_package_is(monkeypatch):
    assert run_guard(monkeypatch, found=True) == []


def test_the_guard_installs_and_leaves_torch_alone(monkeypatch):
    (line,) = run_guard(monkeypatch, found=False)
    assert line.startswith("pip install") and not re.search(r"torch|-U\b|--upgrade|--force|--pre|index", line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in re.search(r"interp\[([\w,]+)\]", line).group(1).split(","):
        wanted += project["optional-dependencies"][extra]
    assert {"torch", "torchvision"} <= {re.match(r"[\w-]+", one).group() for one in wanted}
    strict = [one for one in wanted if not re.fullmatch(r"[\w-]+>=[\d.]+", one)]
    assert strict == [], "a Colab user keeps Colab's versions: lower bounds alone"


@every_notebook
def test_draws_in_the_one_style(name):
    code = "\n".join(cell["source"] for cell in cells(name) if cell["cell_type"] == "code")
    if re.search(r"\bplt\.", code):  # the package's own plots bring it with them
        assert re.search(r"^(figures|plots)\.style\(\)$", code, re.M), f"{name}: draws, and never calls figures.style()"
    loose = re.findall(r"plt\.style|rcParams|sns\.|transparent=True|facecolor=.none.\)", code)
    assert loose == [], f"{name}: has a style of its own: {loose}"


def test_figures_have_a_name_of_their_own_a_caption_and_alternative_text():
    seen, wrong = {}, []
    for name in NOTEBOOKS:
        for cell in cells(name):
            options = cell["metadata"].get("mystnb", {})
            figure, here = options.get("figure"), f"{name}, cell {cell.get('id')}"
            alt = options.get("image", {}).get("alt")
            if alt is not None and len(alt.split()) < 6:
                wrong.append(f"{here}: the alt text says too little: {alt!r}")
            if figure is None:
                continue
            label = figure.get("name", "")
            if not label.startswith("fig-"):
                wrong.append(f"{here}: a figure's name begins with 'fig-', got {label!r}")
            elif label in seen:
                wrong.append(f"{here}: the name {label} is taken by {seen[label]}")
            seen[label] = here
            if len(figure.get("caption", "").split()) < 5:
                wrong.append(f"{here}: the caption says too little: {figure.get('caption')!r}")
    assert wrong == []


@every_chapter
def test_ends_with_a_summary_and_three_exercises_with_folded_solutions(name):
    parts = re.split(r"^## ", prose(name), flags=re.M)
    titles = [part.partition("\n")[0].strip() for part in parts]
    assert titles[-2:] == ["Summary", "Exercises"], f"{name}: ends with {titles[-2:]}"
    points = len(re.findall(r"^[*-] ", parts[-2], re.M))
    assert 3 <= points <= 6, f"{name}: the summary has {points} points, not three to six"
    exercises = re.split(r"^\*\*(\d)\.\*\* ", parts[-1], flags=re.M)
    assert exercises[1::2] == ["1", "2", "3"], f"{name}: exercises begin **1.**, **2.**, **3.** at a line's start"
    for number, text in enumerate(exercises[2::2], 1):
        question, fold, answer = text.partition(":::{admonition} Solution\n:class: dropdown\n")
        assert fold, f"{name}, exercise {number}: no ':::{{admonition}} Solution' with ':class: dropdown'"
        assert len(question.split()) >= 8 and len(answer.split()) >= 8, f"{name}, exercise {number}: too short"


@every_chapter
def test_links_the_terms_of_the_glossary(name):
    text = prose(name)
    there = linked(text)
    assert len(there) >= FEWEST_TERMS, f"{name}: links {sorted(there)}; at least {FEWEST_TERMS} terms wanted"
    words = re.sub(r"\s+", " ", re.sub(r"\{term\}`[^`]*`", " ", bare(text)))
    lacking = []
    for term in glossary():
        if term.lower() in there | EVERYDAY:
            continue
        case = 0 if term.isupper() else re.I  # OS is a term, os is not
        if re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", words, case):
            lacking.append(term)
    assert lacking == [], f"{name}: uses without a link: {lacking}; write {{term}}`…` where it comes first"


def test_every_term_is_linked_from_somewhere():
    there = set().union(*(linked(prose(page)) for page in toc()))
    assert [term for term in glossary() if term.lower() not in there] == []


def test_the_glossary_is_in_order():
    terms = glossary()
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) == len({term.lower() for term in terms})


def test_every_work_of_the_bibliography_is_cited():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.M))
    cited = {key for page in toc() for one in re.findall(r"\{cite[\w:]*\}`([^`]*)`", prose(page))
             for key in re.split(r"[,\s]+", one)}  # fmt: skip
    assert keys - cited == set()
    assert cited - keys == set()


def test_the_citation_file_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {"cff-version", "message", "title", "authors"}  # by the format's schema, version 1.2.0
    assert needed <= citation.keys() and citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["repository-code"] == project["urls"]["Source"]
    assert all("name" in one or "family-names" in one for one in citation["authors"])
    assert {"type", "title", "authors"} <= citation["preferred-citation"].keys()
