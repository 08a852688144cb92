"""How many frames of an mp4 or mov file are shown: a phone's "trim" hides the others by an edit list.

Source: ISO/IEC 14496-12 (ISO base media file format), boxes elst, mdhd, stts and ctts. decord counts all
frames of the file, decodes the shown ones first, and repeats the last of them for the rest; so their number
is what it takes to read such a file rightly.

>>> from interp.data.edits import shown_frames
>>> shown_frames("trimmed.mp4")        # doctest: +SKIP
12
"""

import struct
from pathlib import Path

import numpy as np

CONTAINERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")
TOP = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
LARGEST = 64 * 1024**2  # bytes of a movie header; a real one has a few hundred a second


def shown_frames(path):
    """Number of frames of the first video track that its edit list shows, or None: no edit list hides any.

    None, too, for every other kind of file and for a damaged header: whether that can be read, the decoder
        tells.
    """
    try:
        moov = _movie_header(Path(path))
        return _shown(moov) if moov is not None else None
    except (struct.error, IndexError, KeyError, ValueError, OSError, MemoryError):
        return None


def _movie_header(path):
    """The content of the moov box, read without the frames around it, or None."""
    with open(path, "rb") as file:
        while True:
            head = file.read(8)
            if len(head) < 8:
                return None
            length, kind = struct.unpack(">I4s", head)
            skip = 8
            if file.tell() == 8 and kind not in TOP:
                return None
            if length == 1:
                length, skip = struct.unpack(">Q", file.read(8))[0], 16
            if kind == b"moov":
                return file.read(length - skip) if 0 < length - skip <= LARGEST else None
            if length < skip:
                return None
            file.seek(length - skip, 1)


def _boxes(data):
    """(kind, content) of each box in `data`, those of containers included."""
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if length < 8 or place + length > len(data):
            return
        content = data[place + 8 : place + length]
        yield kind, content
        if kind in CONTAINERS and kind != b"trak":
            yield from _boxes(content)
        place += length


def _shown(moov):
    movie = dict(_boxes(moov))
    ticks = struct.unpack_from(">I", movie[b"mvhd"], 20 if movie[b"mvhd"][0] else 12)[
        0
    ]  # a second, of the edits
    for kind, content in _boxes(moov):
        if kind != b"trak":
            continue
        boxes = {}
        for name, box in _boxes(content):
            boxes.setdefault(name, box)
        if boxes[b"hdlr"][8:12] == b"vide":
            return _count(boxes, ticks) if b"elst" in boxes else None
    return None


def _count(boxes, ticks):
    header = boxes[b"mdhd"]
    scale = struct.unpack_from(">I", header, 20 if header[0] else 12)[0]  # ticks a second, of the track
    lengths = _runs(boxes[b"stts"], "u4")
    times = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    if b"ctts" in boxes:
        times = times + _runs(boxes[b"ctts"], "i4")[: len(times)]
    shown, listed = 0, boxes[b"elst"]
    for entry in range(struct.unpack_from(">I", listed, 4)[0]):
        wide = listed[0] == 1
        length, first = struct.unpack_from(">Qq" if wide else ">Ii", listed, 8 + entry * (20 if wide else 12))
        if first < 0:  # an empty stretch before the first frame
            continue
        # Half a tick of either clock is lost to rounding where the edit's end is written in the coarser one.
        end = first + length * scale / ticks - scale / ticks / 2 if length else np.inf
        shown += int(np.count_nonzero((times >= first) & (times < end)))
    return shown if 0 < shown < len(times) else None


def _runs(box, value):
    """The values of a table of (count, value), each repeated count times."""
    table = np.frombuffer(box, np.dtype([("count", ">u4"), ("value", f">{value}")]), offset=8)
    if table["count"].sum() > LARGEST:
        raise ValueError("more frames than a header can list")
    return np.repeat(table["value"].astype(np.int64), table["count"])
