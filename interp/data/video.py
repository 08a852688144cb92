"""Reads video files: the one place of the package that decodes, by PyAV (FFmpeg's libraries).

The frames of a file are those that FFmpeg shows, in presentation order: hidden frames of an edit list left out, turned
and mirrored as the display matrix says, in coded size. They are chosen as in the paper (Manttari et al., ACCV 2020):
evenly, by index, so that each frame counts once, however long it is shown; or as a `Sampling` says.
"""

import os
import stat
import warnings
from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby, islice
from pathlib import Path

import av
import numpy as np

from interp.data.sampling import Sampling, check_size
from interp.data.sampling import even_indices as even_indices  # part of this module's interface

_ERRORS = (av.FFmpegError, OSError, ValueError, MemoryError)
_SKIPPED = 300  # frames that seeking must save
_COUNTABLE = {"h264", "hevc", "vp9", "av1"}  # in MP4 and Matroska, each packet of these is one frame
_PLAIN = {"h264", "mpeg4", "vp8", "vp9"}  # see _Video._rgb
_HDR = {16: "PQ", 18: "HLG"}  # transfer functions of ITU-T H.273


class FileError(ValueError):
    """A file or folder that cannot be read: `path` says which and `reason` why."""

    def __init__(self, path, reason=None):  # a DataLoader copies an error from a worker by its text alone
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self):
        text = str(self.args[0]) if self.reason is None else f"{self.path}: {self.reason}"
        return text.encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8


class VideoError(FileError):
    """A file that cannot be read as video."""


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds: number of frames, upright size in pixels, mean rate, width of a pixel over its height."""

    path: Path
    num_frames: int
    height: int
    width: int
    fps: float
    pixel_aspect: float = 1.0


def read_clip(path, num_frames=16, size=None, start=None, end=None, *, short="spread"):
    """Read frames of a video, evenly chosen.

    Args:
        path: any file that FFmpeg reads; of several video streams the one that FFmpeg shows.
        num_frames: number of frames T.
        size: (height, width), or one int for both; None keeps the video's own. The aspect ratio is not kept.
        start, end: the range of frames, 0-based, `end` exclusive, cut to what is there; None is the video's own.
        short: a range with fewer than `num_frames` frames is "spread" evenly, or plays through once and then stays on
            its "last" frame.

    Returns:
        uint8 (T,H,W,3), RGB, upright. A UserWarning says where frames are repeated, or where the video is shorter than
        `end`, damaged (the frames that FFmpeg decodes are used) or of high dynamic range.

    Raises:
        VideoError: the file is absent, empty, not a video, or so damaged that fewer than `num_frames` frames are left.
        ValueError: impossible arguments.
    """
    frames, notes = read_with_notes(path, Sampling(num_frames, check_size(size)), start, end, short=short)
    for note in notes:
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    return frames


def read_with_notes(path, sampling, start=None, end=None, *, at=None, short="spread"):
    """The frames, uint8 (T,H,W,3), of a Sampling, and as list of str the warnings that `read_clip` would give.

    at: seconds at which the clip begins. Other arguments and errors: those of `read_clip`.
    """
    num_frames, first, end = sampling.num_frames, 0 if start is None else int(start), None if end is None else int(end)
    if num_frames < 1:
        raise ValueError(f"expected num_frames of at least 1, got {num_frames}")
    if short not in ("spread", "last"):
        raise ValueError(f'expected short "spread" or "last", got {short!r}')
    if first < 0 or (end is not None and end <= first) or (at or 0) < 0:
        raise ValueError(f"expected 0 <= start < end, got frames {start} to {end} and {at or 0} seconds")
    with closing(_Video(path)) as video:
        first += round((at or 0) * video.rate)

        def choose(count):
            last = count if end is None else min(end, count)
            if last <= first:
                return np.arange(0)
            if short == "last" and last - first < num_frames:
                return first + np.minimum(np.arange(num_frames), last - first - 1)
            return sampling.indices(first, last, video.rate, at is None)

        pictures, indices, count = video.read(choose, end)
        damaged, hdr = video.damaged, _HDR.get(video.stream.codec_context.color_trc)
    length, steps = (count if end is None else min(end, count)) - first, sampling.steps(video.rate)
    if damaged and length < num_frames:
        raise VideoError(path, f"is damaged or cut short: {count} frames can be decoded; {num_frames} are needed"
                         + (f" from frame {first} on" if first else ""))
    if not len(indices):
        raise VideoError(path, f"has {count} frames; frames {first} to {end or 'the end'} do not exist")
    notes = {f"is damaged or cut short; the {count} frames that can be decoded are used": damaged,
             f"has {count} frames and not {end}; those are used": end is not None and end > count,
             f"has {length} frames where {num_frames} are needed; frames are repeated": length < num_frames,
             f"has {length} frames where a clip covers more; its frames are closer": steps is not None
             and num_frames <= length <= steps[-1],
             f"has high dynamic range ({hdr}); its tones are not mapped, so that it looks flat": hdr}
    frames = np.stack([pictures[index] for index in indices.tolist()])
    return sampling.fit(frames), [note for note, applies in notes.items() if applies]


def probe(path):
    """The VideoInfo of a file, decoded as far as it takes to be right; VideoError where it is no video."""
    with closing(_Video(path)) as video:
        pictures, _, count = video.read(lambda count: np.arange(min(count, 1)), None)
        aspect = float(video.stream.sample_aspect_ratio or 1) or 1.0
    height, width = pictures[0].shape[:2]
    return VideoInfo(Path(path), count, height, width, video.rate, 1 / aspect if video.sideways else aspect)


class _Video:
    """An open file: first a look at all packets, which says how many frames there are and where; then the frames.

    count: of the frames, as far as the packets say; times, keys: the frames' time stamps, ascending, and indices of the
    key frames, [] where `count` is not sure; plain: packets are in a usual order, see `_rgb`; damaged: FFmpeg met an
    error.
    """

    def __init__(self, path):
        self.path, self.damaged, self.sideways, self.graphs = _check_path(path), False, False, {}
        self._open()
        self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 0)
        self._look()

    def close(self):
        self.container.close()

    def _open(self):
        name = "file:" + str(self.path)  # keeps FFmpeg from reading a name such as "a:b.mp4" as a network address
        try:
            self.container = av.open(name, metadata_errors="replace")
        except _ERRORS as error:
            raise VideoError(self.path, "is not a video, or is damaged beyond reading") from error
        kind, streams, flag = self.container.format.name, self.container.streams, av.stream.Disposition
        videos = [s for s in streams.video if s.codec_context is not None and not s.disposition & flag.attached_pic]
        picture = kind == "image2" or kind.endswith("_pipe")
        if picture or not videos:
            only = ", only sound" if streams.audio else ""
            self.container.close()  # its streams cannot be read afterwards
            raise VideoError(self.path, "is a picture, not a video" if picture else f"has no pictures in it{only}")
        # FFmpeg's own rule: the largest picture, but first a stream that is marked as the default.
        self.stream = max(videos, key=lambda s: s.width * s.height + 5_000_000 * bool(s.disposition & flag.default))
        self.stream.codec_context.thread_count = 1

    def _packets(self):
        try:
            yield from (packet for packet in self.container.demux(self.stream) if packet.size)
        except _ERRORS:
            self.damaged = True

    def _look(self):
        context, kind = self.stream.codec_context, self.container.format.name
        rows, hidden, leading, latest, end, length = [], 0, False, None, 0, 0
        for packet in self._packets():
            self.damaged |= packet.is_corrupt
            if packet.is_discard:
                hidden += 1
                continue
            rows.append((packet.pts, packet.is_keyframe))
            if packet.pts is not None:
                length = packet.duration or 0
                end = max(end, packet.pts + length)
                latest = packet.pts if packet.is_keyframe else latest
                leading |= latest is not None and packet.pts < latest
        indexed = kind.startswith(("mov,", "matroska,"))
        if self.stream.frames > len(rows) + hidden and self.stream.duration:  # cut short, or trimmed by an edit list
            self.damaged |= indexed and end - (self.stream.start_time or 0) < self.stream.duration - length
        self.count, self.times, self.keys = len(rows), [], []
        ordered = sorted(rows) if all(time is not None for time, _ in rows) else []
        usual = ordered and indexed and not hidden and not self.damaged
        if usual and context.name in _COUNTABLE and rows[0] == ordered[0] and rows[0][1]:
            if len({time for time, _ in rows}) == len(rows):
                self.times = [time for time, _ in ordered]
                self.keys = [index for index, (_, key) in enumerate(ordered) if key]
        # B-frames are usual in MP4 and Matroska; elsewhere only where decord, which read them before, could not jump.
        self.bare = context.name == "mpeg4" or not indexed and sum(key for _, key in rows) > 1
        self.plain = bool(usual or kind == "avi") and context.name in _PLAIN and not (leading and indexed)

    def read(self, choose, end):
        """({index: uint8 (H,W,3)}, indices, number of frames), where indices = choose(number of frames).

        Where the packets do not say for sure how many frames there are, all are decoded (up to `end`), and decoded a
        second time if the number is another one.
        """
        while True:
            indices = choose(self.count)
            places = np.unique(indices).tolist()
            frames = self._seek(places)
            if frames is None:
                frames = self._decode(places, places[-1] + 1 if self.times and places else end)
            if np.array_equal(choose(self.count), indices):
                size = next(((frame.width, frame.height) for frame in frames.values()), None)
                return {i: self._upright(frame, *size) for i, frame in frames.items()}, indices, self.count

    def _decode(self, places, stop):
        """The frames at `places`, in sequence from the first up to `stop`; corrects `count`."""
        self.container.close()
        self._open()
        frames, seen, places = {}, 0, set(places)
        for seen, frame in enumerate(self._frames(), 1):
            if seen - 1 in places:
                frames[seen - 1] = frame
            if seen == stop:
                self.count = max(self.count, seen)
                return frames
        if not seen:
            raise VideoError(self.path, "is damaged: not one frame can be decoded")
        self.count = seen
        return frames

    def _frames(self):
        for packet in chain(self._packets(), [None]):  # None: the frames that the decoder still holds
            try:
                for frame in self.stream.codec_context.decode(packet):
                    self.plain &= not frame.key_frame or frame.pict_type == 1  # else a picture is refreshed bit by bit
                    self.plain &= frame.pict_type != 3 or not self.bare
                    yield frame
            except _ERRORS:
                self.damaged = True

    def _seek(self, places):
        """The frames at `places` by jumps to the key frames before them; None where that saves little or goes wrong.

        A jump counts only if the key frame itself and every frame after it come with the expected time stamps.
        """
        groups = [(self.keys[key], list(group)) for key, group in
                  groupby(places, lambda place: bisect_right(self.keys, place) - 1)] if self.keys else []
        needed = sum(group[-1] - first + 1 for first, group in groups)
        if not groups or places[-1] - needed < max(needed, _SKIPPED):
            return None
        frames = {}
        for first, group in groups:
            try:
                self.container.seek(self.times[first], stream=self.stream)
            except _ERRORS:
                return None
            shown = (frame for frame in self._frames() if frame.pts is None or frame.pts >= self.times[first])
            for index, frame in enumerate(islice(shown, group[-1] - first + 1), first):
                if frame.pts != self.times[index] or (index == first and frame.pict_type != 1):  # 1: an I-frame
                    return None
                if index in group:
                    frames[index] = frame
        return frames if len(frames) == len(places) else None

    def _upright(self, frame, width, height):
        """uint8 (H,W,3) of a frame, in the size of the first, turned and mirrored as its display matrix says."""
        matrix = frame.side_data.get("DISPLAYMATRIX")
        picture = self._rgb(frame, width, height, self.plain and matrix is None)
        if matrix is not None:  # x' = a x + c y, y' = b x + d y
            a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
            self.sideways = abs(b) + abs(c) > abs(a) + abs(d)
            if self.sideways:
                picture, a, d = picture.swapaxes(0, 1), c, b
            picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(picture)

    def _rgb(self, frame, width, height, plain):
        """uint8 (H,W,3). Alpha is put over black.

        Usual videos go FFmpeg's default way, where 2x2 pixels share a colour: their frames are, bit for bit, those
        that the shipped weights were trained on. All others go its precise way, with the colour interpolated.
        """
        alpha = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
        if plain and frame.format.name == "yuv420p" and frame.color_range != 2:
            frame = frame.reformat(width, height, "rgb24", threads=1)
        else:
            key = (frame.width, frame.height, frame.format.name)
            if key not in self.graphs:
                graph = self.graphs[key] = av.filter.Graph()
                graph.threads = 1
                graph.link_nodes(
                    graph.add_buffer(None, *key, time_base=Fraction(1, 1000)),
                    graph.add("scale", f"{width}:{height}:flags=bicubic+full_chroma_int+accurate_rnd"),
                    graph.add("format", "rgba" if alpha else "rgb24"), graph.add("buffersink"),
                ).configure()
            self.graphs[key].push(frame)
            frame = self.graphs[key].pull()
        plane, channels = frame.planes[0], 4 if alpha else 3
        picture = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * channels]
        picture = picture.reshape(height, width, channels)
        if alpha:
            return ((picture[..., :3].astype(np.uint16) * picture[..., 3:] + 127) // 255).astype(np.uint8)
        return picture


def _check_path(path):
    """The Path, if it is an ordinary file with something in it: a pipe would block, a device never end."""
    path = Path(path)
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        reason = f"cannot be opened: {getattr(error, 'strerror', None) or error}"
        raise VideoError(path, "there is no such file" if isinstance(error, FileNotFoundError) else reason) from None
    for reason, applies in {"is a folder, not a video": stat.S_ISDIR(info.st_mode),
                            "is not an ordinary file": not stat.S_ISREG(info.st_mode), "is empty": info.st_size == 0,
                            "may not be read by this user": not os.access(path, os.R_OK)}.items():
        if applies:
            raise VideoError(path, reason)
    return path
