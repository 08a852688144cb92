"""Claims as tables and pictures: every number stands where it belongs, and what is not there is said."""

import pytest

pytest.importorskip("pandas")
pytest.importorskip("scipy")

from interp import claims, published, tables_claims  # noqa: E402
from interp.measure_table import MEASURES  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return claims.judge(published.table(), resamples=199)


def test_every_measure_has_a_line_with_its_function():
    lines = tables_claims.definitions().splitlines()
    assert len(lines) == 2 + len(MEASURES) and {line.count("|") for line in lines} == {5}
    assert "`measure.length`" in tables_claims.definitions(["length"]).splitlines()[2]


def test_a_verdicts_line(rows):
    lines = tables_claims.verdicts(rows).splitlines()
    assert len(lines) == 2 + 13 and lines[0].split(" | ")[2:4] == ["I3D", "C-LSTM"]
    parts = lines[2].strip("| ").split(" | ")
    assert parts[:4] == ["On Something-Something, I3D's masks are shorter: `measure.length`", "31", "6.35", "10.06"]
    assert parts[4].startswith("−3.71 (−") and parts[-1] == "supported"
    assert "On motion, I3D's masks" in tables_claims.verdicts(rows[:1], embedded=True)


def test_results_stand_beside_each_other_or_the_reason(rows):
    columns = {"a": (rows, claims.untested(published.table())), "b": ([], {claims.CLAIMS[0].words: "nothing is there"})}
    lines = tables_claims.beside(columns, claims.CLAIMS).splitlines()
    assert len(lines) == 2 + len(claims.CLAIMS) and lines[0] == "| the paper says | a | b |"
    assert "**supported**: −3.71" in lines[2] and lines[2].endswith("| nothing is there |")
    ratio = next(line for line in lines if line.startswith("| On KTH, RS/FS"))
    assert "no number for RS and FS" in ratio and ratio.endswith("| not asked |")


def test_what_is_left_out_is_listed_with_the_reason(rows):
    listed = tables_claims.left_out(rows)
    assert "| Something-Something | RS/FS | 1 | no number for RS and FS | 73154 |" in listed
    assert tables_claims.left_out(rows[:1]) == ""


def test_pictures_show_each_claim_and_each_seed(rows):
    pytest.importorskip("matplotlib")
    from interp import plots_claims

    axes = plots_claims.effects(rows).axes[0]
    marks = [line for line in axes.lines if line.get_marker() in "oX"]
    assert [line.get_xdata()[0] for line in marks] == [row.result.effect * row.claim.side for row in rows]
    figure = plots_claims.seeds({"length": {"i3d": [1, 2, 3], "clstm": [4, 5]}, "runs": {"i3d": [1], "clstm": [2]}})
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1, 2, 3], [2, 2], [4, 5], [4.5, 4.5]]
