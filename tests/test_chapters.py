"""Every chapter as its source: how it opens, its first cell, its terms, how it ends."""

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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The first code cell of every notebook. pip leaves Colab's torch alone.
GUARD = """\
try:
    import interp
except ImportError:  # on Colab, say; the torch that is there stays
    %pip install -q "interp[widgets,results] @ git+https://github.com/interp-authors/interp"
    import interp"""
# Words of every day, and the two networks that every page names: they need no link wherever they stand.
EVERYDAY = {"c-lstm", "clip", "drop", "freeze", "guess", "i3d", "p", "perturbation", "recipe", "reverse", "run",
            "scale", "score", "seed"}  # fmt: skip


def toc() -> list[str]:
    """The pages of _toc.yml, 'book/intro' and so on."""
    return re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))


NOTEBOOKS = [page for page in toc() if (ROOT / f"{page}.ipynb").exists()]
every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
every_chapter = pytest.mark.parametrize("name", [page for page in NOTEBOOKS if page != toc()[0]])  # no landing page


def cells(name: str, kind: str = "") -> list[dict]:
    content = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in content if kind in cell["cell_type"]]


def prose(name: str) -> str:
    """The text of a page without its code."""
    path = ROOT / f"{name}.md"
    if path.exists():
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell["source"] for cell in cells(name, "markdown"))


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
    names = (re.sub(r".*<(.*)>", r"\1", one, flags=re.S) for one in re.findall(r"\{term\}`([^`]*)`", text))
    return {" ".join(name.split()).lower() for name in names}


@every_chapter
def test_opens_with_what_is_seen_and_needed_and_how_long_it_takes(name):
    first = cells(name)[0]
    assert first["cell_type"] == "markdown" and first["source"].startswith("# "), f"{name}: no title first"
    opening, box, words = first["source"].partition(":::{admonition} Before you start\n:class: tip\n")
    assert box, f"{name}: the first cell has no box ':::{{admonition}} Before you start' with ':class: tip'"
    assert len(opening.split()) >= 40, f"{name}: say in a paragraph before the box what the reader will see"
    needs = [r"\*\*You need\*\* \S+", r"\*\*Reading\*\* takes [^*]*\bminutes?\b",
             r"\*\*Running\*\* takes [^*]*\b(minutes?|seconds?)\b", r"\b(cores|GPU)\b", r"\bscale\b"]  # fmt: skip
    lacking = [pattern for pattern in needs if not re.search(pattern, words, re.S)]
    assert lacking == [], f"{name}: the box 'Before you start' does not say {lacking}"


@every_notebook
def test_first_code_cell_installs_the_package_where_it_is_missing(name):
    first, *others = cells(name, "code")
    assert first["source"] == GUARD, f"{name}: the first code cell is not GUARD of tests/test_chapters.py"
    tags = {"hide-input", "remove-input"} & set(first["metadata"].get("tags", []))
    assert tags, f"{name}: the first code cell has no tag hide-input, so that every page would open with it"
    installs = [cell["id"] for cell in others if re.search(r"\bpip\b.*\binstall\b", cell["source"])]
    assert installs == [], f"{name}: only the first code cell installs"


def test_the_install_leaves_torch_alone():
    assert not re.search(r"torch|-U\b|--upgrade|--force|--pre|index", GUARD.partition("%pip")[2])
    needs = list(PROJECT["dependencies"])
    for extra in re.search(r"interp\[([\w,]+)\]", GUARD).group(1).split(","):
        needs += PROJECT["optional-dependencies"][extra]
    assert {"torch", "torchvision"} <= {re.match(r"[\w-]+", one).group() for one in needs}
    strict = [one for one in needs if not re.fullmatch(r"[\w-]+>=[\d.]+", one)]
    assert strict == [], "a Colab user keeps Colab's versions: lower bounds alone"


@every_notebook
def test_draws_in_the_one_style(name):
    code = "\n".join(cell["source"] for cell in cells(name, "code"))
    if re.search(r"\bplt\.", code):  # the package's own plots bring it with them
        assert re.search(r"^(figures|plots)\.style\(\)$", code, re.M), f"{name}: draws, and never calls figures.style()"
    loose = re.findall(r"plt\.style|rcParams|sns\.|transparent=True|facecolor=.none.\)", code)
    assert loose == [], f"{name}: has a style of its own: {loose}"


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
    assert len(there) >= 3, f"{name}: links {sorted(there)}; expected at least three terms"
    words = re.sub(r"\s+", " ", re.sub(r"\{term\}`[^`]*`", " ", bare(text)))
    lacking = [term for term in glossary() if term.lower() not in there | EVERYDAY
               and re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", words,
                             0 if term.isupper() else re.I)]  # fmt: skip
    assert lacking == [], f"{name}: uses without a link: {lacking}; write {{term}}`…` where it comes first"


def test_the_glossary_is_in_order_and_every_term_is_linked_from_somewhere():
    terms = [term.lower() for term in glossary()]
    assert terms == sorted(set(terms))
    assert set(terms) - set().union(*(linked(prose(page)) for page in toc())) == set()


def test_every_work_of_the_bibliography_is_cited():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.M))
    cited = {key for page in toc() for one in re.findall(r"\{cite[\w:]*\}`([^`]*)`", prose(page))
             for key in re.split(r"[,\s]+", one)}  # fmt: skip
    assert keys == cited


def test_the_citation_file_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"message", "title", "authors"} <= citation.keys() and citation["cff-version"] == "1.2.0"  # by the schema
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
