"""Claims are judged by the numbers alone: made-up tables give made-up verdicts, in both directions; seeds count."""

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy")

from interp.study import claims, measures, published  # noqa: E402
from interp.study.claims import CLAIMS, TRUTH, Claim  # noqa: E402

SHORTER, HIGHER = Claim("shorter", "something", "length", -1), Claim("higher", "something", "ratio", 1)


def made_up(shift, number=12, seeds=(0,), flavour="something", wobble=0):
    """Clips of six classes whose masks are `shift` frames longer under I3D, and whose RS/FS is 10**shift higher;
    I3D's masks are `wobble` frames longer with every seed after the first."""
    rows = []
    for clip in range(number):
        for model, extra in (("i3d", shift), ("clstm", 0)):
            for seed in seeds:
                frames = 7 + extra + (clip % 3 == 0) * np.sign(extra) + (model == "i3d") * wobble * seed
                ratio = 10.0 ** (extra / 4 + clip / 100 * np.sign(extra))
                rows.append({"flavour": flavour, "model": model, "seed": seed, "id": str(clip), "P": "class 0",
                             "label_name": f"class {clip % 6}", "mask": (np.arange(16) < frames).astype(float),
                             "OS": 0.9, "FS": 0.02, "RS": 0.02 * ratio, "error": None})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("shift", "words"), [(-3, ("supported", "contradicted")), (0, ("not decided", "not decided")),
                                              (3, ("contradicted", "supported"))])  # fmt: skip
def test_verdicts_follow_made_up_numbers_in_both_directions(shift, words):
    rows = claims.judge(made_up(shift), (SHORTER, HIGHER), resamples=500)
    assert tuple(row.verdict for row in rows) == words
    assert claims.table(rows)["verdict"].tolist() == list(words)


def test_less_than_what_matters_decides_nothing():
    table = made_up(-1)  # one frame in most clips, two in the others
    row = claims.judge(table, (SHORTER,), resamples=500)[0]
    assert row.result.high <= -1 and row.claim.measure.least == 1 and row.verdict == "not decided"


def test_a_claim_about_turns_of_the_camera_takes_those_clips():
    def named(table, prefix):
        return table.assign(id=prefix + table["id"], label_name=prefix + " " + table["label_name"])

    table = pd.concat([named(made_up(0), claims.CAMERA_TURNS), named(made_up(-4), "Moving")])
    only = claims.pairs(table, Claim("", "something", "length", -1, turns=True))
    assert len(only.ids) == 12 and (only.first - only.second == pytest.approx(0, abs=1.01))


def test_of_the_papers_figures_the_known_verdicts_come_out():
    rows = {row.claim.words: row for row in claims.judge(published.table(), resamples=499)}
    without = claims.untested(published.table())
    assert len(rows) == 15 and len(without) == 5 and all("others lack" in why for why in without.values())
    first = rows[CLAIMS[0].words]
    assert [first.result.first, first.result.second] == pytest.approx([6.35, 10.06], abs=0.006)
    assert first.verdict == "supported" and first.left_out == () and len(first.result.seeds) == 1
    assert rows["On Something-Something, I3D attends to larger blobs"].verdict == "contradicted"
    row = rows["On Something-Something, RS/FS is higher for I3D"]
    reasons = dict(row.left_out)
    assert row.result.clips == 29 and set(reasons) == {"73154", "213899"}
    assert set(reasons.values()) == {measures.BOTH_SMALL}
    line = claims.table([first], embedded=True).iloc[0]
    assert line["claim"].startswith("On motion, I3D's masks") and line["means"] == "I3D 6.35, C-LSTM 10.06"
    assert line["difference (95 % interval)"].startswith("−3.71 (−") and line["each seed"] == "−3.71"


def test_a_clip_under_one_model_is_an_error():
    with pytest.raises(ValueError, match="only one model"):
        claims.judge(made_up(1).iloc[1:], (SHORTER,))
    alone = made_up(1)
    alone = alone[alone["model"] == "i3d"]
    assert claims.judge(alone, (SHORTER,)) == [] and "C-LSTM" in claims.untested(alone, (SHORTER,))["shorter"]
    with pytest.raises(ValueError, match="expected I3D and C-LSTM"):
        claims.pairs(alone, SHORTER)
    with pytest.raises(ValueError, match="as many seeds of both networks, got 2 and 1"):
        claims.pairs(pd.concat([made_up(1), alone.assign(seed=1)]), SHORTER)


def test_a_clips_number_is_the_mean_over_its_seeds():
    table = made_up(-3, seeds=(0, 1, 2), wobble=1)
    one = claims.pairs(table, SHORTER)
    assert one.first_seeds.shape == (3, 12) and (one.second == 7).all()
    assert one.first[[0, 1]].tolist() == [7 - 3 - 1 + 1, 7 - 3 + 1]  # wobbles of 0, 1 and 2
    table.loc[(table["id"] == "1") & (table["seed"] == 2), "mask"] = None
    assert claims.pairs(table, SHORTER).first[1] == 4.5  # of the two seeds left
    table.loc[(table["id"] == "1") & (table["model"] == "i3d"), ["mask", "error"]] = [None, "damaged"]
    left = claims.pairs(table, SHORTER)
    assert left.left_out == (("1", "a score or a mask"),) and "1" not in left.ids and len(left.first) == 11


def test_only_the_clips_that_both_guess_right():
    table = made_up(-3)
    one = claims.pairs(table, SHORTER, only_right=True)
    assert one.ids == ["0", "6"] and one.left_out[0] == ("1", "a right guess")
    table.loc[(table["id"] == "0") & (table["model"] == "clstm"), "P"] = "class 3"
    assert claims.pairs(table, SHORTER, only_right=True).ids == ["6"]


def test_a_claim_about_chance_compares_a_network_with_it():
    table = made_up(0)
    known = np.zeros(16, int)
    known[:7] = 1  # just the frames that are on
    table["known"] = [known] * len(table)
    claim = next(one for one in TRUTH if one.key == "agreement" and one.models == ("i3d", "i3d"))
    row = claims.judge(table, (claim,), resamples=99)[0]
    # a run of 7 among 16 frames has 10 places, overlapping by 7, 6, ... 0, 0, 0
    chance = np.mean([n / (14 - n) for n in (7, 6, 5, 4, 3, 2, 1, 0, 0, 0)])
    assert (row.result.first, row.result.second) == (1.0, pytest.approx(chance))
    assert row.verdict == "supported" and claims.table([row])["means"][0].startswith("I3D 1.00, chance 0.")


@pytest.mark.parametrize(("wobble", "word"), [(0, "supported"), (1, "supported"), (4, "not decided")])
def test_every_seed_has_to_agree(wobble, word):
    row = claims.judge(made_up(-4, seeds=(0, 1), wobble=wobble), (SHORTER,), resamples=200)[0]
    assert row.verdict == word and np.diff(row.result.seeds) == pytest.approx(wobble)
