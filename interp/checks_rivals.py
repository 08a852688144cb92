"""Three checks without any new search: masks drawn by lot, rivals that know less, and what snapping loses.

Source: this project's own; the central start is the released code's of Mänttäri, Broomé et al., ACCV 2020. Axes:
clips (B,C,T,H,W), masks (B,T), 1 = perturbed; a score is that of the explained class on the frozen clip, so a lower
one is the better one.

    >>> outcome = by_lot(subject, Parts(None))
    >>> outcome.verdicts["masks"]["sentence"]
"""

from __future__ import annotations

import torch
from torch import Tensor

from interp import masks as search
from interp import measure
from interp.checks_numbers import Outcome, figure, judged, mean, median, said, verdict
from interp.checks_parts import Parts, generator
from interp.checks_subject import Subject
from interp.windows import penalty

KINDS = ("scattered", "runs")
DRAWN = 100  # masks by lot of each kind for a clip
BEATEN = 0.95  # share of the masks by lot that a found one must beat: the usual one in twenty may be luck
KEPT = 0.9  # share of the soft mask's drop that the snapped one must keep: the paper's own for its central start
FEW = 0.1  # share of clips that may keep less: a bar is read as the mask, and one in ten may mislead


def by_lot(subject: Subject, parts: Parts) -> Outcome:
    """Where the found mask, snapped, lies among DRAWN scattered masks and as many single runs of its length.

    Masks equal to the found one are not drawn; of equal scores half count as beaten. A clip where every frame or
    none is on has no others of its length, and is left out.
    """
    snapped = subject.snapped
    found = parts("found", lambda: subject.scores(snapped))
    values: dict[str, list] = {f"{key}_{kind}": [] for kind in KINDS for key in ("score", "loss", "share")}
    for place, name in enumerate(subject.ids):
        own = parts(f"clip-{place}", lambda place=place, name=name: _lot(subject, place, name, found[place]))
        for key in values:
            values[key].append(own[key])
    values |= {"found": found, "length": measure.length(snapped).tolist()}
    beaten = {kind: median(_numbers(values[f"share_{kind}"])) for kind in KINDS}
    cheaper = {kind: median(_numbers(values[f"loss_{kind}"])) for kind in KINDS}
    means = {kind: mean(_numbers(values[f"share_{kind}"]), subject.classes) for kind in beaten}
    known = all(number == number for number in beaten.values())
    good = all(number >= BEATEN for number in beaten.values()) if known else None
    sentence = (
        f"in the median clip the found mask, snapped, takes more of the score than {_percent(beaten['scattered'])} of "
        f"{DRAWN} scattered masks of its length, and than {_percent(beaten['runs'])} of {DRAWN} single runs (by the "
        f"loss it beats {_percent(cheaper['scattered'])} and {_percent(cheaper['runs'])}). The rule: at least "
        f"{BEATEN:.0%} of both.")  # fmt: skip
    if not known:
        sentence = "no clip's mask has others of its length to be compared with."
    numbers = {"beaten": beaten, "beaten_by_loss": cheaper, "mean_beaten": means, "drawn": DRAWN,
               "left_out": sum(value is None for value in values["share_scattered"])}
    return Outcome(numbers, values, {"masks": verdict(judged(good), sentence)})


def rivals(subject: Subject, parts: Parts) -> Outcome:
    """The found mask, snapped, beside what takes no search: the untouched central start, the best window, and the
    frames of the largest frame difference, which know nothing of the network."""
    shown = candidates(subject)
    values: dict[str, list] = {}
    for name, own in shown.items():
        scores = torch.tensor(parts(name, lambda own=own: subject.scores(own)))
        values |= {f"{name}_score": scores.tolist(), f"{name}_loss": subject.losses(own, scores).tolist(),
                   f"{name}_length": measure.length(own).tolist()}
        if subject.known is not None:
            values[f"{name}_agreement"] = measure.agreement(own, subject.known).tolist()
    if subject.known is not None:
        values["chance_agreement"] = measure.chance_agreement(shown["found"], subject.known).tolist()
    numbers = {key: mean(one, subject.classes) for key, one in values.items()}

    def gap(rival: str, key: str) -> dict:
        first, second = (torch.tensor(values[f"{name}_{key}"]) for name in ("found", rival))
        return mean(first - second, subject.classes)

    numbers["loss_to_central"] = gap("central", "loss")
    numbers["loss_to_window"] = gap("window", "loss")
    numbers["score_to_difference"] = gap("difference", "score")
    told = [numbers["loss_to_central"], numbers["score_to_difference"]]
    good = True if all(one["high"] < 0 for one in told) else False if any(one["low"] > 0 for one in told) else None
    sentence = (
        f"the found mask's loss lies {said(told[0], 3, '+')} from the untouched central start's and "
        f"{said(numbers['loss_to_window'], 3, '+')} from the best window's; its score lies {said(told[1], 3, '+')} "
        "from that of a window of its length around the largest frame difference, which knows nothing of the network. "
        "The rule: the intervals to the central start and to the frame difference lie below 0. ")  # fmt: skip
    sentence += _about_truth(numbers, gap) if subject.known is not None else (
        "When something happens in these clips is not known, so nothing is said of agreement.")
    return Outcome(numbers, values, {"masks": verdict(judged(good), sentence.strip())})


def soft(subject: Subject, parts: Parts) -> Outcome:
    """The soft mask, whose scores are told, against the snapped one, which is shown."""
    scores = {kind: torch.tensor(parts(kind, lambda own=own: subject.scores(own)))
              for kind, own in (("soft", subject.masks), ("snapped", subject.snapped))}
    drops = {kind: measure.drop(subject.originals, own) for kind, own in scores.items()}
    kept = torch.where(drops["soft"] > 0, drops["snapped"] / drops["soft"], torch.nan)
    less = torch.where(kept.isnan(), torch.nan, (kept < KEPT).float())
    values = {"original": subject.originals, "soft": scores["soft"], "snapped": scores["snapped"], "kept": kept}
    numbers = {f"{kind}_score": mean(own, subject.classes) for kind, own in scores.items()}
    numbers |= {"kept": median(kept), "less": mean(less, subject.classes), "left_out": int(kept.isnan().sum())}
    share = numbers["less"]["mean"]
    sentence = (
        f"the soft masks leave a score of {said(numbers['soft_score'], 3)}, the snapped ones "
        f"{said(numbers['snapped_score'], 3)}. In the median clip snapping keeps {_percent(numbers['kept'])} of the "
        f"drop; in {_percent(share)} of the clips it keeps less than {KEPT:.0%}. The rule: at most {FEW:.0%} of the "
        "clips."
    )  # fmt: skip
    good = None if share != share else share <= FEW
    lists = {key: own.tolist() for key, own in values.items()}
    return Outcome(numbers, lists, {"masks": verdict(judged(good), sentence)})


def candidates(subject: Subject) -> dict[str, Tensor]:
    """The masks (B,T) of zeros and ones that are compared: found, central, window, difference."""
    snapped, recipe = subject.snapped, subject.recipe
    central = search.central_start(subject.model, subject.clips, subject.explained, recipe, chunk=subject.chunk)
    shown = {"found": snapped, "central": (central > 0).float()}
    if subject.windows is not None:
        time = torch.arange(snapped.shape[1])
        ends = torch.tensor(subject.windows)
        shown["window"] = ((time >= ends[:, :1]) & (time <= ends[:, 1:])).float()
    else:
        shown["window"] = search.best_windows(subject.model, subject.clips, "freeze", subject.explained, recipe,
                                              chunk=subject.chunk).masks  # fmt: skip
    lengths = measure.length(snapped).tolist()
    rows = [difference_window(clip, length) for clip, length in zip(subject.clips, lengths, strict=True)]
    return shown | {"difference": torch.stack(rows)}


def difference_window(clip: Tensor, length: int) -> Tensor:
    """One run (T,) of `length` frames around the frame that differs most from the one before it, all pixels' mean.

    That frame is in the middle, or one after it for an even length; near an end of the clip (C,T,H,W) the run is
    pushed inside.
    """
    num_frames = clip.shape[1]
    peak = int((clip[:, 1:] - clip[:, :-1]).abs().mean(dim=(0, 2, 3)).argmax()) + 1 if num_frames > 1 else 0
    first = min(max(peak - length // 2, 0), num_frames - length)
    time = torch.arange(num_frames)
    return ((time >= first) & (time < first + length)).float()


def lots(mask: Tensor, generator: torch.Generator, drawn: int = DRAWN) -> tuple[Tensor, Tensor]:
    """Masks (drawn,T) as long as `mask` (T,) and other than it: frames drawn one by one, and single runs.

    None of a kind, (0,T), where there is no other.
    """
    num_frames, length = len(mask), int(mask.sum())
    if length in (0, num_frames):
        return mask.new_zeros(0, num_frames), mask.new_zeros(0, num_frames)
    scattered = []
    while len(scattered) < drawn:
        one = torch.zeros(num_frames)
        one[torch.randperm(num_frames, generator=generator)[:length]] = 1
        if not torch.equal(one, mask):
            scattered.append(one)
    time, places = torch.arange(num_frames), torch.arange(num_frames - length + 1)[:, None]
    runs = ((time >= places) & (time < places + length)).float()
    runs = runs[(runs != mask).any(dim=1)]
    chosen = torch.randint(len(runs), (drawn,), generator=generator)
    return torch.stack(scattered), runs[chosen]


def share_beaten(found: float, others: Tensor) -> float:
    """The share of the others' values (N,) that are higher; equal ones count half. nan where there is none."""
    higher = (others > found).float() + 0.5 * (others == found).float()
    return float(higher.mean()) if len(others) else float("nan")


def _lot(subject: Subject, place: int, name: str, found: float) -> dict[str, float | None]:
    mask = subject.snapped[place]
    drawn = lots(mask, generator(subject.seed, f"lot:{name}"))
    scores = subject.table(place, torch.cat([mask[None], *drawn]))
    loss = penalty(mask[None], subject.recipe)[0] + scores[0]
    own: dict[str, float | None] = {}
    for kind, rows, part in zip(KINDS, drawn, scores[1:].split([len(one) for one in drawn]), strict=True):
        own[f"share_{kind}"] = share_beaten(float(scores[0]), part)
        own[f"loss_{kind}"] = share_beaten(float(loss), penalty(rows, subject.recipe) + part)
        own[f"score_{kind}"] = float(part.mean()) if len(part) else float("nan")
    return own


def _about_truth(numbers: dict, gap) -> str:
    numbers["agreement_to_difference"] = closer = gap("difference", "agreement")
    names = {"found": "the found masks", "central": "the central start", "window": "the best window",
             "difference": "the frame difference", "chance": "chance"}
    told = ", ".join(f"{words} {figure(numbers[f'{key}_agreement']['mean'])}" for key, words in names.items())
    tail = (
        f"On agreement alone, the found masks are ahead of the frame difference by {said(closer)}."
        if closer["low"] > 0 else
        f"The frame difference knows nothing of the network and agrees as well or better ({said(closer, 2, '+')}): in "
        "these clips agreement with the known interval alone does not show that a mask explains the network.")
    return f"Agreement with the known interval: {told}. {tail}"


def _numbers(values: list) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _percent(share: float) -> str:
    return "none" if share != share else f"{share:.0%}"
