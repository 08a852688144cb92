"""UCF101 with its official lists: ROOT/**/v_Biking_g01_c03.avi, classInd.txt, trainlist01.txt and testlist01.txt.

Soomro et al., "UCF101", 2012. The videos of a group (g01) show the same people and place; the lists keep each group on
one side. The lists may lie anywhere below ROOT, as in ROOT/ucfTrainTestlist; the test list is the validation split.
"""

import re

from interp.data.dataset import DataError, Sample, VideoDataset, check_root, drop_missing

SPLITS = {"train": "trainlist", "validation": "testlist"}


def open_ucf101(root, split="train", num_frames=16, size=None, *, fold=1, on_error="skip"):
    """The VideoDataset of one split of one `fold`, 1 to 3. Ids are such as "v_Biking_g01_c03".

    Other arguments and errors are those of `open_dataset`.
    """
    root = check_root(root, split, SPLITS)
    if fold not in (1, 2, 3):
        raise ValueError(f"fold: expected 1, 2 or 3, got {fold!r}")
    lists = {path.name: path for path in root.rglob("*.txt")}
    files = {path.name: path for path in root.rglob("*.avi")}
    names = [f"{name}{fold:02d}.txt" for name in SPLITS.values()]
    if lost := [name for name in ("classInd.txt", *names) if name not in lists]:
        raise DataError(root, f"has no {lost[0]} in it; it comes with UCF101's train/test splits")
    classes = [name for line in lists["classInd.txt"].read_text("utf-8").splitlines() if line.strip()
               for _, name in [line.split()]]
    parts = {}
    for key, name in zip(SPLITS, names, strict=True):
        parts[key] = {}
        for number, line in enumerate(lists[name].read_text("utf-8").splitlines(), 1):
            match = re.fullmatch(r"(\w+)/((v_\w+_g\d+)_c\d+)\.avi(?:\s+\d+)?", line.strip())
            if line.strip() and (match is None or match[1] not in classes):
                raise DataError(lists[name], f"line {number} names no video of a known class: {line[:80]!r}")
            if match:
                parts[key][match[2]] = match[3], classes.index(match[1])  # once a video spells its class otherwise
    groups = [{group for group, _ in part.values()} for part in parts.values()]
    if shared := sorted(groups[0] & groups[1]):
        raise DataError(lists[names[0]], f"the group {shared[0]!r} is in both lists; its videos show the same scene")
    samples = [Sample(name, files.get(f"{name}.avi", root / f"{name}.avi"), label)
               for name, (_, label) in parts[split].items()]
    name = f"{root.name} ({split})"
    samples, missing = drop_missing(samples, name, root, on_error)
    mirror = {name: name for name in classes}  # a mirrored sport is the same sport
    return VideoDataset(samples, classes, num_frames, size, name, mirror=mirror, missing=missing)
