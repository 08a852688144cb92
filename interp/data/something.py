"""Something-Something V2 as it is handed out: a folder of webm files, and labels and splits as JSON.

Source: Goyal et al., "The 'something something' video database", ICCV 2017, second release of 2018: 174
classes, 168,913 clips to train, 24,777 to validate. Axes: as in `dataset`; 16 frames, evenly over the whole
clip.

    ROOT/20bn-something-something-v2/ID.webm     (or ROOT/videos/ID.webm)
    ROOT/labels/labels.json                      {class name: "index"}   (the JSON files may lie in ROOT
    itself) ROOT/labels/train.json, validation.json      [{"id": "1", "label": ..., "template": "Moving
    [something] up", ...}] ROOT/labels/test.json                        [{"id": "2"}, ...], without labels
    ROOT/labels/truth.json                       only in the embedded dataset, see `motion`

>>> from interp.data.something import open_something
>>> validation = open_something("data/something", "validation", 16, (224, 224))     # doctest: +SKIP
"""

import re
from pathlib import Path

from interp.data.dataset import DataError, Sample, VideoDataset, checked_root, leave_out_missing, read_json

SPLITS = ("train", "validation", "test")
FOLDERS = ("20bn-something-something-v2", "videos")

# Words that a mirror image exchanges. In a name such as "from left to right" both are exchanged at once.
LEFT_RIGHT = {"left": "right", "right": "left"}
UP_DOWN = {"up": "down", "down": "up", "upwards": "downwards", "downwards": "upwards"}
NO_DIRECTION = ("right out",)  # "pulling it right out"
# Words of what weight does: an upside-down video of it shows nothing that belongs to any class.
WEIGHT = set(
    """
    fall falls falling drop dropping pour pouring spill spilling spills sprinkle sprinkling lift
    lifting throwing throw air tip tipping tilting slide slides slanted roll rolling rolls overflows
    collapse collapses collapsing on onto over under underneath top table surface stack stacking
    piling upright upside stand burying digging scoop scooping rock
    """.split()
)


def open_something(
    root, split="train", num_frames=16, size=None, *, truth=False, mirror=None, flip=None, strict=False
):
    """The VideoDataset of one split.

    Args:
        root: the folder described above.
        split: "train", "validation" or "test".
        truth: put each clip's entry of truth.json into its sample's `meta["truth"]`.
        mirror, flip: class name -> class name; None derives both from the words of the names (`reversals`).
        strict: a listed video that is absent is an error instead of a warning with the count.

    Raises DataError with the file and the entry for whatever contradicts the layout.
    """
    root = checked_root(root, split, SPLITS)
    labels = root / "labels" if (root / "labels").is_dir() else root
    videos = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
    if videos is None:
        raise DataError(root, f"has no folder of videos; expected {' or '.join(FOLDERS)} in it")
    classes = read_classes(labels / "labels.json")
    samples = _samples(labels / f"{split}.json", videos, classes, split)
    if truth:
        samples = _with_truth(labels / "truth.json", samples)
    samples, missing = leave_out_missing(samples, f"{root.name} ({split})", root, strict)
    derived_mirror, derived_flip = reversals(classes)
    return VideoDataset(
        samples, classes, num_frames, size, f"{root.name} ({split})", missing=missing,
        mirror=derived_mirror if mirror is None else mirror, flip=derived_flip if flip is None else flip,
    )  # fmt: skip


def read_classes(path):
    """Class names of labels.json ({name: index}, an index as text or number), in the order of the indices."""
    path, content = Path(path), read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataError(path, "expected an object {class name: index} with at least one class")
    names = {}
    for name, index in content.items():
        try:
            number = int(index) if isinstance(index, str | int) and not isinstance(index, bool) else -1
        except ValueError:
            number = -1
        if number < 0:
            raise DataError(path, f"the entry {name!r} has index {index!r}; expected a whole number from 0")
        if number in names:
            raise DataError(path, f"the entries {names[number]!r} and {name!r} have the same index {number}")
        names[number] = name
    if set(names) != set(range(len(names))):
        absent = next(i for i in range(len(names)) if i not in names)
        raise DataError(path, f"has {len(names)} classes, but none with index {absent}")
    return [names[index] for index in range(len(names))]


def reversals(classes):
    """({name: name mirrored left-right}, {name: name flipped top-bottom}) of classes that may be mirrored.

    A class with a direction maps to the class whose name has the opposite words, if there is one, and is left
    out if there is none; a class without a direction maps to itself. One in which things fall, lie or stand
    on something is never flipped.
    """
    known = set(classes)
    mirror = {name: other for name in classes if (other := _exchanged(name, LEFT_RIGHT)) in known}
    flip = {name: other for name in classes if (other := _exchanged(name, UP_DOWN)) in known}
    return mirror, {name: other for name, other in flip.items() if WEIGHT.isdisjoint(_words(name))}


def _exchanged(name, words):
    pieces = re.split(f"({'|'.join(NO_DIRECTION)}|\\W+)", name)
    return "".join(words.get(piece, piece) for piece in pieces)


def _words(name):
    return re.findall(r"\w+", name.lower())


def _samples(path, videos, classes, split):
    entries, number = read_json(path), {name: index for index, name in enumerate(classes)}
    if not isinstance(entries, list) or not entries:
        raise DataError(path, "expected a list of clips with at least one")
    samples, seen = [], set()
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
            raise DataError(path, f"entry {place} has no id: {str(entry)[:80]}")
        name = str(entry["id"])
        if not name or "/" in name or "\\" in name or name in (".", ".."):
            raise DataError(path, f"entry {place} has the id {name!r}, which is no file name")
        if name in seen:
            raise DataError(path, f"the id {name!r} occurs twice (entry {place} is the second)")
        seen.add(name)
        label, template = None, entry.get("template")
        if template is not None:
            if not isinstance(template, str):
                raise DataError(path, f"the clip {name!r} has the template {template!r}; expected text")
            label = number.get(template.replace("[", "").replace("]", ""))
            if label is None:
                raise DataError(
                    path, f"the clip {name!r} has the template {template!r}, no class of labels.json"
                )
        elif split != "test":
            raise DataError(path, f"the clip {name!r} has no template")
        meta = {key: entry[key] for key in ("label", "placeholders") if key in entry}
        samples.append(Sample(name, videos / f"{name}.webm", label, meta=meta))
    return samples


def _with_truth(path, samples):
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(path, "expected an object {id: truth}")
    absent = next((sample.id for sample in samples if sample.id not in content), None)
    if absent is not None:
        raise DataError(path, f"says nothing of the clip {absent!r}")
    return [Sample(s.id, s.path, s.label, s.start, s.end, s.meta | {"truth": content[s.id]}) for s in samples]
