"""Claims as tables and pictures: every number stands where it belongs, and a missing one has its reason."""

import pytest

pytest.importorskip("pandas")
pytest.importorskip("scipy")

from interp.show import html, plots  # noqa: E402
from interp.study import claims, published  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return claims.judge(published.table(), resamples=199)


def test_a_verdicts_line(rows):
    lines = html.verdict_table(rows).splitlines()
    assert len(lines) == 2 + 13 and lines[0].split(" | ")[2:4] == ["I3D", "C-LSTM"]
    assert {line.count("|") for line in lines} == {9}
    parts = lines[2].strip("| ").split(" | ")
    assert parts[0].startswith("On Something-Something, I3D's masks are shorter: `")
    assert parts[1:4] == ["31", "6.35", "10.06"]
    assert parts[4].startswith("−3.71 (−") and parts[-1] == "supported"
    assert "On motion, I3D's masks" in html.verdict_table(rows[:1], embedded=True)


def test_results_stand_beside_each_other_or_the_reason(rows):
    columns = {"a": (rows, claims.untested(published.table())), "b": ([], {claims.CLAIMS[0].words: "nothing is there"})}
    lines = html.claim_table(columns, claims.CLAIMS).splitlines()
    assert len(lines) == 2 + len(claims.CLAIMS) and lines[0] == "| the paper says | a | b |"
    assert "**supported**: −3.71" in lines[2] and lines[2].endswith("| nothing is there |")
    ratio = next(line for line in lines if line.startswith("| On KTH, RS/FS"))
    assert "no number for RS and FS" in ratio and ratio.endswith("| not tested |")


def test_what_is_left_out_is_listed_with_the_reason(rows):
    assert "| Something-Something | RS/FS | 1 | no number for RS and FS | 73154 |" in html.left_out_table(rows)
    assert html.left_out_table(rows[:1]) == ""


def test_pictures_show_each_claim_and_each_clip(rows):
    axes = plots.effects(rows).axes[0]
    marks = [line for line in axes.lines if line.get_marker() in "oX"]
    assert [line.get_xdata()[0] for line in marks] == [row.result.effect * row.claim.side for row in rows]
    axes = plots.against({"length": {"a": ([1, 1, 3], [2, 2, 5]), "b": ([4], [4])}}).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[1, 2], [3, 5]]
    assert axes.collections[0].get_sizes().tolist() == [56, 28]  # two clips on one point
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("I3D", "C-LSTM")
    with pytest.raises(ValueError, match="the same clips"):
        plots.against({"length": {"a": ([1], [2, 3])}})
