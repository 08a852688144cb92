"""Reads video files: the one place of the package that decodes.

Source: decord's reader (as `decord2`), frames chosen as the paper does (Manttari et al., ACCV 2020): evenly,
by index, so that in a video of variable frame rate each frame counts once, however long it was shown. Axes:
frames (T, H, W, 3), uint8, RGB, upright; sizes are (height, width).

>>> from interp.data.video import read_clip
>>> frames = read_clip("holiday.mp4", num_frames=16, size=(224, 224))     # doctest: +SKIP
>>> frames.shape                                                          # doctest: +SKIP
(16, 224, 224, 3)
"""

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

# decord asks its decoding thread for the last frames so many times, without a pause, and then takes a sound
# file for damaged: on a busy machine its 10,240 can be too few, as 256 nearly always are. TIMEOUT ends what
# does not end by itself.
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "10000000")

import decord  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

from interp.data.edits import shown_frames  # noqa: E402
from interp.data.quiet import quiet, within  # noqa: E402

decord.logging.set_level(decord.logging.QUIET)

TIMEOUT = 120.0  # seconds after which a decoder is given up, see _within
DAMAGE = 0.5  # of the frames may be damaged (the decoder shows the nearest sound one instead), not more


class VideoError(ValueError):
    """A file that cannot be read as video; `path` says which and `reason` why."""

    def __init__(
        self, path, reason=None
    ):  # a DataLoader makes it anew from one text, when a worker raised it
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self):
        text = str(self.args[0]) if self.reason is None else f"{self.path}: {self.reason}"
        return text.encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` knows: number of frames, upright height and width in pixels, mean frames per second."""

    path: Path
    num_frames: int
    height: int
    width: int
    fps: float

    @property
    def seconds(self):
        return self.num_frames / self.fps if self.fps > 0 else float("nan")


def even_indices(length, num_frames):
    """Indices of frames spread evenly over `length`: ceil(i * length / num_frames), at most length - 1.

    int64 (num_frames,), ascending; with fewer frames than asked for, frames are repeated.
    """
    if length < 1 or num_frames < 1:
        raise ValueError(f"got length {length} and num_frames {num_frames}; expected at least 1 each")
    steps = np.arange(num_frames, dtype=np.int64)
    return np.minimum(-(-steps * length // num_frames), length - 1)


def read_clip(path, num_frames=16, size=None, start=None, end=None, *, short="spread", timeout=TIMEOUT):
    """Frames of a video, evenly chosen, as uint8 (num_frames, H, W, 3).

    Args:
        path: any file that FFmpeg reads (mp4, webm, avi, mkv, mov, ...); only its first video stream is used.
        size: (height, width), or one int for both; None keeps the video's own. See `resize`; the
            aspect ratio is not kept, as in the paper.
        start, end: the range of frames, 0-based, `end` exclusive; None is the video's own. A range that
            reaches beyond the video is cut to what is there.
        short: a range with fewer than `num_frames` frames is "spread" evenly, or plays through once and then
            stays on its "last" frame.
        timeout: seconds until a decoder that does not come back is given up.

    A file cut short is read as far as its frames go. Gives a UserWarning where frames had to be repeated or
    the video is shorter than `end`. Raises VideoError on a file that is absent, empty, not a video or damaged
    so that the chosen frames cannot be had; ValueError on impossible arguments.
    """
    frames, notes = read_with_notes(path, num_frames, size, start, end, short=short, timeout=timeout)
    for note in notes:
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    return frames


def read_with_notes(path, num_frames=16, size=None, start=None, end=None, *, short="spread", timeout=TIMEOUT):
    """What `read_clip` gives, and the texts of the warnings it would have given: (frames, list of str)."""
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; expected at least 1")
    if short not in ("spread", "last"):
        raise ValueError(f'short is {short!r}; expected "spread" or "last"')
    size, first = _checked_size(size), 0 if start is None else int(start)
    if first < 0 or (end is not None and end <= first):
        raise ValueError(f"got frames {start} to {end}; expected 0 <= start < end")
    path = _checked_path(path)

    def decode():
        shown, notes = shown_frames(path), []
        reader = _open(path, DAMAGE if shown is None else -1)  # to decord, hidden frames are damaged ones
        there = shown or len(reader)
        last = there if end is None else min(int(end), there)
        length = last - first
        if length < 1:
            raise VideoError(path, f"has {there} frames; frames {first} to {end} were asked for")
        if end is not None and end > last:
            notes.append(f"has {last} frames and not {end}; those are used")
        if length < num_frames:
            notes.append(f"has {length} frames where {num_frames} are asked for; frames are repeated")
        if short == "last" and length < num_frames:
            chosen = np.minimum(np.arange(num_frames), length - 1)
        else:
            chosen = even_indices(length, num_frames)
        return _frames(reader, path, first + chosen, in_sequence=shown is not None), notes

    frames, notes = _within(timeout, path, decode)
    return resize(frames, size), notes


def resize(frames, size):
    """uint8 (T,H,W,3) at another (height, width): bicubic with antialiasing, within 2 levels of Pillow's.

    decord's own resize is no faster and gives neighbouring pixels one colour, as YUV does at full size.
    """
    if size is None or frames.shape[1:3] == size:
        return frames
    images = torch.from_numpy(frames).permute(0, 3, 1, 2)
    images = functional.interpolate(images, size, mode="bicubic", antialias=True)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def probe(path, timeout=TIMEOUT):
    """The VideoInfo of a file, from its index and its first frame; VideoError where there is none."""
    path = _checked_path(path)

    def look():
        reader, shown = _open(path), shown_frames(path)
        frame = _frames(reader, path, [0], in_sequence=shown is not None)
        return VideoInfo(
            path, shown or len(reader), frame.shape[1], frame.shape[2], float(reader.get_avg_fps())
        )

    return _within(timeout, path, look)


def _checked_size(size):
    if size is None:
        return None
    height, width = (size, size) if np.isscalar(size) else size
    if int(height) != height or int(width) != width or height < 1 or width < 1:
        raise ValueError(f"size is {size}; expected (height, width) in pixels, or one number for both")
    return int(height), int(width)


def _checked_path(path):
    """The Path, if it is an ordinary file with something in it: a pipe would block, a device never end."""
    path = Path(path)
    try:
        info = path.stat()
    except FileNotFoundError:
        raise VideoError(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(info.st_mode):
        raise VideoError(path, "is a folder, not a video")
    if not stat.S_ISREG(info.st_mode):
        raise VideoError(path, "is not an ordinary file")
    if info.st_size == 0:
        raise VideoError(path, "is empty")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "may not be read by this user")
    return path


def _open(path, damage=DAMAGE):
    name = "file:" + str(path)  # keeps FFmpeg from reading a name such as "a:b.mp4" as a network address
    try:
        with quiet():
            return decord.VideoReader(name, ctx=decord.cpu(0), num_threads=1, fault_tol=damage)
    except Exception as error:  # decord has three kinds, one of them AssertionError
        nothing = "cannot find video stream" in str(error)
        reason = "has no pictures in it" if nothing else "is not a video, or is damaged beyond reading"
        raise VideoError(path, reason) from error


def _frames(reader, path, indices, in_sequence=False):
    """The frames at ascending `indices`, (len(indices), H, W, 3) uint8.

    A jump goes to a time, which an edit list shifts by a frame here and there; so such files are read in
    sequence.
    """
    try:
        with quiet():
            if in_sequence:
                return _one_by_one(_sequence(reader), indices)
            try:
                return reader.get_batch(indices).asnumpy()
            except decord.DECORDError:
                # Either damage or a width that batches refuse: single frames of such a width have padding.
                reader = _open(path)
                if reader[0].shape[2] <= 3:
                    raise
                return _one_by_one(lambda index: reader[index].asnumpy(), indices)
    except Exception as error:
        raise VideoError(path, "is damaged: the frames wanted cannot be decoded") from error


def _sequence(reader):
    """A function index -> frame, for ascending indices, that decodes every frame from the first."""
    place = -1

    def get(index):
        nonlocal place
        while place < index:
            frame, place = reader.next(), place + 1
        return frame.asnumpy()

    return get


def _one_by_one(get, indices):
    """(len(indices), H, W, 3) from frames got singly; a repeated index is got once.

    Where decord pads a frame's rows to a whole multiple of its width (16, 32, 48, 96, 144, ...), it takes the
    padding
    for further channels, and its batches fail: the row's first 3 * width bytes are the pixels.
    """
    frames, place = [], None
    for index in map(int, indices):
        if index != place:
            frame, place = get(index), index
            height, width = frame.shape[:2]
            frame = frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
        frames.append(frame)
    return np.stack(frames)


def _within(timeout, path, work):
    try:
        return within(timeout, work)
    except TimeoutError:
        raise VideoError(path, f"took longer than {timeout:g} s to decode and was given up") from None
