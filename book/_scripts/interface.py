"""Writes the interface reference from the package's sources: every public function and class, a page for each folder.

    python book/_scripts/interface.py       prints the generated pages, as MyST

Names, signatures, fields and docstrings are read from the syntax tree, not from imported modules, so that the
page is the same on every machine; only the help of the commands is asked for. The docstrings' conventions are the
package's own: paragraphs; a line "name: words" with its continuation indented; examples behind >>> or indented by
four; names in single backticks.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A page for each folder of the package, lowest layer first.
TITLES = {
    "recipes": "Recipes", "io": "Files", "core": "Masks and maps", "models": "Networks", "data": "Data",
    "data.motion": "Generated clips", "training": "Training", "study": "The study", "show": "Figures and widgets",
    "cli": "Commands", "interp": "The whole package",
}  # fmt: skip


def literal(path: Path, name: str):
    """The value of a module's constant, without running the module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise SystemExit(f"{path} has no {name}")


def modules() -> dict[str, list[tuple[str, Path]]]:
    """The public modules of each folder: (dotted name, file), the folder's own module first."""
    pages: dict[str, list] = {key: [] for key in TITLES}
    for path in sorted((ROOT / "interp").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1].startswith("_") and parts[-1] != "__init__" or parts[-1] == "__main__":
            continue
        name = ".".join(parts).removesuffix(".__init__")
        inner = name.removeprefix("interp.")
        key = next((key for key in ("data.motion", inner.partition(".")[0]) if f"{inner}.".startswith(f"{key}.")), "")
        pages[key if key in pages else "interp"].append((name, path))
    return {key: found for key, found in pages.items() if found}


def escape(text: str) -> str:
    """Plain text for MyST: what is in single backticks stays code, every other mark is only a character."""
    parts = re.split(r"(`[^`]+`)", text.replace("``", "`"))
    return "".join(part if k % 2 else re.sub(r"([\\`*_{}\[\]<>#$|~^@!+=-])", r"\\\1", part)
                   for k, part in enumerate(parts))  # fmt: skip


def paragraphs(doc: str, names: set[str] = frozenset()) -> list[str]:
    """A docstring as MyST blocks; `names` are the arguments or fields that a line may tell of."""
    blocks = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(doc).strip("\n")):
        lines = block.split("\n")
        if lines[0].lstrip().startswith(">>>") or all(line.startswith("    ") for line in lines):
            code = re.sub(r" *# doctest: \+SKIP", "", textwrap.dedent(block))
            start = f"```{language(code)}\n"
            if blocks and blocks[-1].startswith(start):  # an example with an empty line in it stays one
                blocks[-1] = f"{blocks[-1].removesuffix('```')}\n{code}\n```"
            else:
                blocks.append(f"{start}{code}\n```")
            continue
        blocks += hanging(lines, names)
    return blocks


def language(code: str) -> str:
    """Of an example in a docstring: Python, a Python session, or something else, a layout of files for instance."""
    if code.lstrip().startswith(">>>"):
        return "pycon"
    try:
        ast.parse(code)
    except SyntaxError:
        return "text"
    return "python"


def hanging(lines: list[str], names: set[str]) -> list[str]:
    """A block of lines: where it tells of arguments, one after the other, a list, else one paragraph."""
    if len(lines) > 1 and re.fullmatch(r"(Args|Raises|Returns|Attributes|Errors):", lines[0]):
        return hanging(textwrap.dedent("\n".join(lines[1:])).split("\n"), names)
    entries = [""]
    for line in lines:
        if NAMED.match(line):
            entries.append(line.strip())
        else:
            entries[-1] = f"{entries[-1]} {line.strip()}".strip()
    # A line may tell of a second argument: "targets: the classes. layer: a name or None."
    entries = [part for one in entries if one for part in re.split(r"(?<=[.;]) (?=[\w*]+(?:, [\w*]+)*: )", one)]
    told = [NAMED.match(one) for one in entries]
    if not any(found and set(re.findall(r"\w+", found[1])) <= names for found in told):
        return [escape(" ".join(line.strip() for line in lines))]
    blocks: list[str] = []
    for one, found in zip(entries, told, strict=True):
        if found and set(re.findall(r"\w+", found[1])) <= names:
            item = f"- `{found[1]}`: {escape(one[found.end() :])}"
            if blocks and blocks[-1].startswith("- "):
                blocks[-1] += "\n" + item
            else:
                blocks.append(item)
        elif blocks and not blocks[-1].startswith("- "):
            blocks[-1] += " " + escape(one)
        elif blocks and found:  # "Raises: ..." inside a list, or a colon in the middle of a sentence
            blocks[-1] += " " + escape(one)
        else:
            blocks.append(escape(one))
    return blocks


NAMED = re.compile(r"([\w*]+(?:, [\w*]+)*): ")


def argument_names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    spec = node.args
    extra = [one for one in (spec.vararg, spec.kwarg) if one]
    return {one.arg for one in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *extra]}


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> str:
    """As the source has it, defaults in their own words."""
    text = ast.unparse(node.args)
    if method and "staticmethod" not in decorators(node):
        text = re.sub(r"^(self|cls)(, )?", "", text)
    return f"({text})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def decorators(node) -> set[str]:
    names = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return {ast.unparse(name).rpartition(".")[2] for name in names}


def fields(node: ast.ClassDef, source: list[str]) -> list[str]:
    """The fields of a dataclass with the comments that stand behind them."""
    lines = []
    for one in node.body:
        if not isinstance(one, ast.AnnAssign) or one.target.id.startswith("_"):
            continue
        value = "" if one.value is None else f" = {ast.unparse(one.value)}"
        comment = source[one.end_lineno - 1][one.end_col_offset :].partition("#")[2].strip()
        said = f": {escape(comment)}" if comment else ""
        lines.append(f"- `{one.target.id}: {ast.unparse(one.annotation)}{value}`{said}")
    return ["\n".join(lines)] if lines else []


def directive(kind: str, head: str, blocks: list[str], depth: int, option: str = "") -> str:
    fence = "`" * depth
    return "\n".join([f"{fence}{{py:{kind}}} {head}", option, "", "\n\n".join(blocks), fence])


def public(body, of=(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
    return [node for node in body if isinstance(node, of) and not node.name.startswith("_")]


def entry(node, source: list[str]) -> str:
    """A function or a class, with its methods inside it."""
    doc, head = ast.get_docstring(node) or "", node.name
    if not isinstance(node, ast.ClassDef):
        return directive("function", head + signature(node, False), paragraphs(doc, argument_names(node)), 4)
    known = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
    maker = next((one for one in node.body if getattr(one, "name", None) == "__init__"), None)
    if maker:
        known |= argument_names(maker)
        head += signature(maker, True).partition(" -> ")[0]
    bases = ", ".join(f"`{ast.unparse(base)}`" for base in node.bases)
    blocks = ([f"A kind of {bases}."] if bases else []) + paragraphs(doc, known)
    if "dataclass" in decorators(node):
        blocks += fields(node, source)
    for one in public(node.body, (ast.FunctionDef, ast.AsyncFunctionDef)):
        words = ast.get_docstring(one)
        if words is None:  # an inherited contract, forward of a network for instance
            continue
        inner, said = one.name, paragraphs(words, argument_names(one))
        if decorators(one) & {"property", "cached_property"}:
            option = f":type: {ast.unparse(one.returns)}" if one.returns else ""
            blocks.append(directive("property", inner, said, 3, option))
        else:
            kind = next((k for k in ("classmethod", "staticmethod") if k in decorators(one)), "method")
            blocks.append(directive(kind, inner + signature(one, True), said, 3))
    return directive("class", head, blocks, 4)


def first_sentence(doc: str) -> str:
    return re.split(r"(?<=[.;])\s", " ".join(doc.split("\n\n")[0].split()))[0].rstrip(";.") + "."


def command_line() -> list[str]:
    """What `python -m interp COMMAND --help` prints, for every command."""

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "interp", *words, "--help"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"COLUMNS": "88"})
        if run.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
        return run.stdout.strip()

    names = literal(ROOT / "interp" / "cli" / "__init__.py", "COMMANDS")
    return ["## Command line", *(f"### interp {name}\n\n```text\n{said(name)}\n```" for name in names)]


def pages() -> dict[str, str]:
    """The generated text by the name of its page; "interface" gets a list of all modules, and the command line."""
    written, overview = {}, []
    for key, listed in modules().items():
        title, page = TITLES[key], f"interface_{key.replace('.', '_')}"
        parts = [f"# {title}"]
        overview += [f"## [{title}]({page}.md)", ""]
        for name, path in listed:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
            doc = ast.get_docstring(tree) or ""
            overview.append(f"- [`{name}`](#module-{name}): {escape(first_sentence(doc))}")
            parts += [f"(module-{name})=\n## {name}", f"```{{py:module}} {name}\n```", *paragraphs(doc)]
            parts += [entry(node, text.split("\n")) for node in public(tree.body)]
        overview.append("")
        written[page] = "\n\n".join(parts) + "\n"
    return {"interface": "\n".join(overview) + "\n" + "\n\n".join(command_line()) + "\n", **written}


if __name__ == "__main__":
    print(*pages().values(), sep="\n\n")
