"""KTH Actions in its official layout: AVIs named person01_boxing_d1_uncomp.avi and the list 00sequences.txt.

Schuldt, Laptev, Caputo, "Recognizing human actions: a local SVM approach", ICPR 2004: 25 subjects, 6 actions, 4
settings; the list names 600 videos, of which 599 exist, with 2,391 sequences in them. A sequence is a sample; its
frames are ``ceil(i * L / T)`` of its L, and a sequence shorter than T stays on its last frame. The paper trains on
subjects 1 to 16 and evaluates on 17 to 25. A frame is 120 high and 160 wide. The AVIs may lie in ROOT or in folders of
it, such as ROOT/boxing/person01_boxing_d1_uncomp.avi.
"""

import re
from pathlib import Path

from interp.data.dataset import DataError, Sample, VideoDataset, check_root, drop_missing, read_json

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
SUBJECTS = {"train": range(1, 17), "validation": range(17, 26), "all": range(1, 26)}
LIST = "00sequences.txt"
TRUTH = "truth.json"  # only where the videos are generated, see `interp.data.motion.kth`

_NAME = r"person(?P<subject>\d\d)_(?P<action>[a-z]+)_d(?P<setting>[1-4])"
_LINE = re.compile(_NAME + r"\s+(?:frames\s+(?P<ranges>\d+\s*-\s*\d+(?:\s*,\s*\d+\s*-\s*\d+)*)|\*missing\*)\s*,?")


def read_sequences(path):
    """The entries of 00sequences.txt: a list of (video name, subject, action, setting, [(first, last), ...]).

    Frames are numbered from 1, the last one included; a video marked as missing has no ranges. The text before the
    first "person" is skipped. In the official list ranges touch, overlap and change order. DataError names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror}); the list {LIST} comes with the KTH videos") from None
    entries, seen = [], set()
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or (not entries and not line.startswith("person")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(path, f"line {number} is not 'personNN_action_dN  frames  1-95, 96-185': {line[:80]!r}")
        subject, action, setting = int(match["subject"]), match["action"], int(match["setting"])
        if action not in CLASSES or subject not in SUBJECTS["all"]:
            raise DataError(path, f"line {number} has an unknown action or subject: {line[:80]!r}")
        name = f"person{subject:02}_{action}_d{setting}"
        if name in seen:
            raise DataError(path, f"the video {name!r} occurs twice (the second time in line {number})")
        seen.add(name)
        pairs = [tuple(map(int, pair.split("-"))) for pair in (match["ranges"] or "").split(",") if pair]
        for first, last in pairs:
            if not 1 <= first <= last:
                raise DataError(path, f"line {number}, {name!r}: no frames lie in {first}-{last}")
        entries.append((name, subject, action, setting, pairs))
    if not entries:
        raise DataError(path, "lists no video")
    return entries


def open_kth(root, split="train", num_frames=32, size=None, *, on_error="skip"):
    """The VideoDataset of one split, "train", "validation" or "all", with a sample for each sequence.

    Ids are such as "person01_boxing_d1_2" (its second repetition); ``meta`` has subject, action, setting, repetition,
    and ``truth`` where the videos are generated. Arguments and errors are those of `open_dataset`.
    """
    root = check_root(root, split, SUBJECTS)
    videos, samples, dataset_name = {}, [], f"{root.name} ({split})"
    for path in sorted(root.rglob("*.avi")):
        if match := re.fullmatch(f"({_NAME})(?:_uncomp)?\\.avi", path.name):
            if videos.setdefault(match[1], path) != path:
                raise DataError(root, f"the video {match[1]!r} is there twice: {videos[match[1]]}, {path}")
    truth = read_json(root / TRUTH) if (root / TRUTH).exists() else {}
    for name, subject, action, setting, ranges in read_sequences(root / LIST):
        if subject not in SUBJECTS[split]:
            continue
        path = videos.get(name, root / f"{name}_uncomp.avi")
        for repetition, (first, last) in enumerate(ranges, 1):
            meta = {"subject": subject, "action": action, "setting": setting, "repetition": repetition}
            meta["short"] = "last"  # see video.read_clip
            if f"{name}_{repetition}" in truth:
                meta["truth"] = truth[f"{name}_{repetition}"]
            samples.append(Sample(f"{name}_{repetition}", path, CLASSES.index(action), first - 1, last, meta))
    samples, missing = drop_missing(samples, dataset_name, root, on_error)
    # A mirrored boxer still boxes and a mirrored walker walks; nobody does so on their head.
    mirror = {action: action for action in CLASSES}
    return VideoDataset(samples, CLASSES, num_frames, size, dataset_name, mirror=mirror, missing=missing)
