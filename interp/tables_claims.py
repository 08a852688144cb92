"""Claims, their numbers and their measures as tables in Markdown, for a chapter to show.

Source: this project's own. No axes.

    from IPython.display import Markdown
    Markdown(tables_claims.verdicts(claims.judge(record.read().table)))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interp.claims import EMBEDDED, STARTS, Claim, Row
from interp.measure_statistics import p_words
from interp.measure_table import MEASURES


def definitions(keys: Sequence[str] | None = None) -> str:
    """What each measure is, its unit, and the function that made it; all of them, or those named."""
    lines = ["| measure | unit | what it is | function |", "|---|---|---|---|"]
    for key in keys or MEASURES:
        one = MEASURES[key]
        lines.append(f"| {one.name} | {one.unit or '–'} | {one.definition} | `{one.source}` |")
    return "\n".join(lines)


def verdicts(rows: Sequence[Row], embedded: bool = False) -> str:
    """A line for each claim: clips, both means, difference with interval, effect, corrected p, verdict.

    embedded: whether the rows are about the embedded data, which the claims are then said of.
    """
    heads = ["claim", "clips", "first", "second", "difference, 95% interval", "effect", "p", "verdict"]
    if names := {row.claim.names for row in rows}:
        first, second = zip(*names, strict=True)
        heads[2:4] = [one[0] if len(set(one)) == 1 else head
                      for one, head in zip((first, second), ("network", "against"), strict=True)]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---|---:|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        found, digits = row.result, row.claim.measure.digits
        parts = [f"{_words(row.claim, embedded)}: `{row.claim.measure.source}`", str(found.clips),
                 number(found.first, digits), number(found.second, digits), difference(row),
                 number(found.effect, 2, "+"), _p(row.p), row.verdict.word]
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines)


def beside(columns: Mapping[str, tuple[Sequence[Row], Mapping[str, str]]], claims: Sequence[Claim]) -> str:
    """Every claim with what each set of results gives. columns: for each, what `claims.judge` and `claims.untested`
    gave. Where one cannot be asked, the reason stands in its place."""
    lines = ["| the paper says | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for claim in claims:
        cells = [_words(claim)]
        for rows, without in columns.values():
            row = next((one for one in rows if one.claim.words == claim.words), None)
            cells.append(without.get(claim.words, "not asked") if row is None else
                         f"**{row.verdict.word}**: {difference(row)} {row.claim.measure.unit}, p {p_words(row.p)}, "
                         f"{row.result.clips} clips{_seeds(row)}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def left_out(rows: Sequence[Row], embedded: bool = False) -> str:
    """How many clips each measure leaves out of both networks, and why; "" where none is.

    embedded: as in `verdicts`.
    """
    starts = EMBEDDED if embedded else STARTS
    reasons: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        for clip, why in row.left_out:
            reasons.setdefault((starts[row.claim.dataset], row.claim.measure.name, why), {})[clip] = None
    lines = ["| data | measure | clips | because | which |", "|---|---|---:|---|---|"]
    for (start, name, why), clips in reasons.items():
        shown = ", ".join(list(clips)[:4]) + (", ..." if len(clips) > 4 else "")
        lines.append(f"| {start.removeprefix('On ').rstrip(', ')} | {name} | {len(clips)} | {why} | {shown} |")
    return "\n".join(lines) if reasons else ""


def difference(row: Row) -> str:
    """The difference of a claim with its interval, as "−3.71 (−5.71 to −1.94)"."""
    gap, low, high = (number(one, row.claim.measure.digits, "+")
                      for one in (row.result.difference, row.result.low, row.result.high))  # fmt: skip
    return f"{gap} ({low} to {high})"


def number(value: float, digits: int, sign: str = "") -> str:
    """A number as it stands in a sentence, with a true minus sign."""
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _words(claim: Claim, embedded: bool = False) -> str:
    return (claim.embedded if embedded else claim.words) + ("" if claim.paper else " (ours)")


def _p(p: float) -> str:
    return p_words(p).removeprefix("= ").replace(" ", "&nbsp;")


def _seeds(row: Row) -> str:
    if row.seeds is None or row.seeds.word == "not known":
        return ""
    return f"; {row.seeds.word} a change of seed"
