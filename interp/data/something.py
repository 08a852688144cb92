"""Something-Something V2 in its official layout: a folder of videos, labels and splits as JSON.

Goyal et al., "The 'something something' video database", ICCV 2017, second release of 2018: 174 classes, 168,913
clips to train, 24,777 to validate.

    ROOT/20bn-something-something-v2/ID.webm             (or ROOT/videos; .mp4 where a clip was re-encoded)
    ROOT/labels/labels.json                              {class name: "index"}
    ROOT/labels/train.json, validation.json              [{"id": "1", "template": "Moving [something] up", ...}]
    ROOT/labels/test.json                                [{"id": "2"}, ...], without labels
    ROOT/labels/truth.json                               only beside generated clips

The JSON files may lie in ROOT itself and may begin with "something-something-v2-".
"""

import os
import re
from pathlib import Path

from interp.data.dataset import DataError, Sample, VideoDataset, check_root, drop_missing, read_json

SPLITS = ("train", "validation", "test")
FOLDERS = ("20bn-something-something-v2", "videos")
PREFIXES = ("", "something-something-v2-")
SUFFIXES = (".webm", ".mp4")

# Words that a mirror image exchanges. In a name such as "from left to right" both are exchanged at once.
LEFT_RIGHT = {"left": "right", "right": "left"}
UP_DOWN = {"up": "down", "down": "up", "upwards": "downwards", "downwards": "upwards"}
NO_DIRECTION = ("right out",)  # "pulling it right out"
# Words of what weight does: an upside-down video of it shows nothing that belongs to any class.
WEIGHT = set(
    "fall falls falling drop dropping pour pouring spill spilling spills sprinkle sprinkling lift lifting throwing "
    "throw air tip tipping tilting slide slides slanted roll rolling rolls overflows collapse collapses collapsing on "
    "onto over under underneath top table surface stack stacking piling upright upside stand burying digging scoop "
    "scooping rock".split())


def open_something(root, split="train", num_frames=16, size=None, *, truth=False, on_error="skip"):
    """The VideoDataset of one split: "train", "validation" or "test". Arguments and errors are those of `open_dataset`.

    truth: the clips are generated: put each one's entry of truth.json into its sample's ``meta["truth"]``.
    """
    root = check_root(root, split, SPLITS)
    labels = root / "labels" if (root / "labels").is_dir() else root
    videos = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
    if videos is None:
        raise DataError(root, f"has no folder of videos; expected {' or '.join(FOLDERS)} in it")
    classes, name = read_classes(_json_file(labels, "labels")), f"{root.name} ({split})"
    samples = _samples(_json_file(labels, split), videos, classes, split, truth)
    samples, missing = drop_missing(samples, name, root, on_error)
    mirror, flip = reversals(classes, weightless=truth)
    return VideoDataset(samples, classes, num_frames, size, name, mirror=mirror, flip=flip, missing=missing)


def read_classes(path):
    """Class names of labels.json ({name: index}, an index as text or number), in the order of the indices."""
    path, content = Path(path), read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataError(path, "expected an object {class name: index} with at least one class")
    names = {}
    for name, index in content.items():
        if isinstance(index, bool) or not re.fullmatch("[0-9]+", str(index)):
            raise DataError(path, f"the entry {name!r} has index {index!r}; expected a whole number from 0")
        number = int(index)
        if number in names:
            raise DataError(path, f"the entries {names[number]!r} and {name!r} have the same index {number}")
        names[number] = name
    if absent := sorted(set(range(len(names))) - set(names)):
        raise DataError(path, f"has {len(names)} classes, but none with index {absent[0]}")
    return [names[index] for index in range(len(names))]


def reversals(classes, weightless=False):
    """Which classes a mirror image turns into which: ({name: name mirrored left-right}, {name: flipped top-bottom}).

    A class with a direction maps to the one whose name has the opposite words, if there is one, others to themselves.
    One in which things fall, lie or stand on something is never upside down, except for drawn, ``weightless`` things.
    """
    known = set(classes)
    mirror = {name: other for name in classes if (other := _exchanged(name, LEFT_RIGHT)) in known}
    flip = {name: other for name in classes if (other := _exchanged(name, UP_DOWN)) in known}
    if not weightless:
        flip = {name: other for name, other in flip.items() if WEIGHT.isdisjoint(re.findall(r"\w+", name.lower()))}
    return mirror, flip


def _exchanged(name, words):
    pieces = re.split(f"({'|'.join(NO_DIRECTION)}|\\W+)", name)
    return "".join(words.get(piece, piece) for piece in pieces)


def _json_file(folder, name):
    """The file NAME.json, or the one with the release's longer name where only that exists."""
    paths = [folder / f"{prefix}{name}.json" for prefix in PREFIXES]
    return next((path for path in paths if path.exists()), paths[0])


def _samples(path, videos, classes, split, with_truth):
    entries, number = read_json(path), {name: index for index, name in enumerate(classes)}
    truth = read_json(truth_file := path.with_name("truth.json")) if with_truth else {}
    if not isinstance(entries, list) or not entries:
        raise DataError(path, "expected a list of clips with at least one")
    files, samples = set(os.listdir(videos)), {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
            raise DataError(path, f"entry {place} has no id: {str(entry)[:80]}")
        name, template = str(entry["id"]), entry.get("template")
        if not name or re.search(r"[/\\]", name) or name in (".", ".."):
            raise DataError(path, f"entry {place} has the id {name!r}, which is no file name")
        if name in samples:
            raise DataError(path, f"the id {name!r} occurs twice (entry {place} is the second)")
        label = number.get(re.sub(r"[][]", "", str(template)))
        if label is None and (template is not None or split != "test"):
            raise DataError(path, f"the clip {name!r} has the template {template!r}, no class of the labels")
        meta = {key: entry[key] for key in ("label", "placeholders") if key in entry}
        suffix = next((suffix for suffix in SUFFIXES if name + suffix in files), SUFFIXES[0])
        if with_truth and name not in truth:
            raise DataError(truth_file, f"says nothing of the clip {name!r}")
        meta |= {"truth": truth[name]} if with_truth else {}
        samples[name] = Sample(name, videos / f"{name}{suffix}", label, meta=meta)
    return [*samples.values()]
