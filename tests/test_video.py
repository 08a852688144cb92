"""The decoder against a full decode with PyAV: the same frames from every container, and plain errors."""

import copy
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from interp.data.video import VideoError, even_indices, probe, read_clip  # noqa: E402

REAL = Path(__file__).parents[2] / "shared" / "real"
VIDEOS = REAL.parent / "videos" / "frames.npz"
CONTAINERS = {
    "mp4": ("libx264", {"g": "5"}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "5"}),
    "avi": ("mpeg4", {"g": "5"}),
    "mkv": ("libx264", {"g": "5"}),
    "mov": ("mpeg4", {"g": "5"}),
}


def drawn(n, height, width):
    """A smooth moving pattern with a red corner at the upper left, uint8 (n, height, width, 3)."""
    y, x, t = np.arange(height)[:, None], np.arange(width), np.arange(n)[:, None, None]
    frames = np.stack([x * 2 + t * 9 + 0 * y, y * 3 + t * 5 + 0 * x, x + y + t * 12], -1)
    frames = (127.5 + 127.5 * np.sin(frames / 25)).astype(np.uint8)
    frames[:, : height // 4, : width // 4] = [255, 0, 0]
    return frames


def write(path, codec, frames, pix_fmt="yuv420p", pts=None, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = i if pts is None else pts[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path, keep=lambda index: True):
    """Every frame (or those to keep), by PyAV in sequence: the oracle."""
    with av.open(str(path)) as container:
        frames = enumerate(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for index, frame in frames if keep(index)])


def assert_same_frames(frames, expected):
    """Equal up to how colours are interpolated: less than half of what two neighbouring drawn frames differ by."""
    assert frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected).mean((1, 2, 3)).max() < 6


MATRIX = {  # file's suffix, codec and options of what was once read wrongly, each against a decode in sequence
    "avi with B-frames": ("avi", "mpeg4", {"bf": "2", "g": "12"}),
    "avi, H.264 with B-frames": ("avi", "libx264", {"bf": "2", "g": "12"}),
    "transport stream": ("ts", "libx264", {"bf": "2", "g": "12"}),
    "transport stream, long groups": ("ts", "libx264", {"bf": "0", "g": "250"}),
    "programme stream": ("mpg", "mpeg2video", {"bf": "2", "g": "12"}),
    "wmv": ("wmv", "wmv2", {"g": "12"}),
    "open groups": ("mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=8:scenecut=0"}),
    "hevc with open groups": ("mp4", "libx265", {"x265-params": "open-gop=1:bframes=3:keyint=8:log-level=none"}),
    "mpeg4 with B-frames in mp4": ("mp4", "mpeg4", {"bf": "2", "g": "12"}),
    "mkv with hevc": ("mkv", "libx265", {"x265-params": "keyint=8:log-level=none"}),
    "intra refresh": ("mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
    "theora": ("ogv", "libtheora", {"g": "12"}),
    "flv": ("flv", "flv", {"g": "12"}),
    "raw h264": ("h264", "libx264", {"g": "12"}),
    "av1": ("webm", "libsvtav1", {"preset": "12", "g": "12"}),
    "gif": ("gif", "gif", {}),
}


@pytest.mark.parametrize("kind", MATRIX)
def test_every_kind_of_file_gives_the_frames_that_ffmpeg_shows(tmp_path, kind):
    suffix, codec, options = MATRIX[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no encoder {codec} here")
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    path = write(tmp_path / f"a.{suffix}", codec, drawn(41, 64, 96), pix_fmt, **options)
    whole = decoded(path)
    count = len(whole)
    assert 39 <= count <= 41 and probe(path).num_frames == count
    for indices, arguments in ((even_indices(count, 16), {}), (20 + even_indices(12, 7), {"start": 20, "end": 32})):
        assert_same_frames(read_clip(path, len(indices), **arguments), whole[indices])


def test_even_indices_known_answers():
    assert even_indices(8, 4).tolist() == [0, 2, 4, 6]
    assert even_indices(10, 4).tolist() == [0, 3, 5, 8]  # ceil of 0, 2.5, 5, 7.5
    assert even_indices(3, 6).tolist() == [0, 1, 1, 2, 2, 2]  # ceil of 0, .5, 1, 1.5, 2, 2.5, at most 2
    assert even_indices(1, 3).tolist() == [0, 0, 0]
    for bad in [(0, 4), (4, 0)]:
        with pytest.raises(ValueError):
            even_indices(*bad)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_frame_exact(tmp_path, suffix):
    codec, options = CONTAINERS[suffix]
    path = write(tmp_path / f"a.{suffix}", codec, drawn(41, 60, 80), **options)
    whole = decoded(path)
    assert len(whole) == 41
    np.testing.assert_array_equal(read_clip(path, 41), whole)
    np.testing.assert_array_equal(read_clip(path, 16), whole[even_indices(41, 16)])
    np.testing.assert_array_equal(read_clip(path, 7, start=11, end=32), whole[11 + even_indices(21, 7)])


@pytest.mark.parametrize("pix_fmt, size", [("yuv420p", (62, 98)), ("yuv444p", (61, 97)), ("gray", (60, 81))])
def test_odd_sizes_grey_and_full_colour(tmp_path, pix_fmt, size):
    path = write(tmp_path / "a.mkv", "libx264", drawn(9, *size), pix_fmt)
    np.testing.assert_array_equal(read_clip(path, 9), decoded(path))
    assert read_clip(path, 9).shape == (9, *size, 3)


def test_alpha_is_dropped(tmp_path):
    path = write(tmp_path / "a.webm", "libvpx-vp9", drawn(5, 48, 64), "yuva420p")
    assert read_clip(path, 5).shape == (5, 48, 64, 3)
    np.testing.assert_array_equal(read_clip(path, 5), decoded(path))


KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # BT.709, BT.601, BT.2020 by H.273's numbers


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", KR_KB)
def test_colours_by_the_matrix_and_range_of_the_file(tmp_path, matrix, full, pix_fmt):
    """Patches turned into YCbCr by the standards' formulas, written without loss, come back as they were."""
    colours = [[200, 30, 40], [30, 180, 60], [40, 60, 210], [220, 210, 40], [128] * 3, [250] * 3, [10] * 3]
    rgb = np.tile(np.repeat(np.uint8(colours), 32, axis=0), (64, 1, 1)) / 255  # (64, 224, 3)
    kr, kb = KR_KB[matrix]
    y = rgb @ [kr, 1 - kr - kb, kb]
    planes = [y, (rgb[..., 2] - y) / (2 - 2 * kb), (rgb[..., 0] - y) / (2 - 2 * kr)]
    bits = 10 if "10" in pix_fmt else 8
    scales = [2**bits - 1] * 3 if full else [219 * 2 ** (bits - 8), *[224 * 2 ** (bits - 8)] * 2]
    offsets = [0 if full else 2 ** (bits - 4), *[2 ** (bits - 1)] * 2]
    with av.open(str(tmp_path / "a.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=12, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *y.shape, pix_fmt
        context = stream.codec_context
        context.colorspace = context.color_primaries = matrix
        context.color_range, context.color_trc = 1 + full, 1
        for index in range(3):
            frame = av.VideoFrame(*y.shape[::-1], pix_fmt)
            frame.colorspace, frame.color_range, frame.pts = matrix, 1 + full, index
            for target, plane, scale, offset in zip(frame.planes, planes, scales, offsets, strict=True):
                step = y.shape[0] // target.height
                values = np.rint(plane[::step, ::step] * scale + offset).astype(f"u{target.line_size // target.width}")
                padded = np.zeros((target.height, target.line_size // values.itemsize), values.dtype)
                padded[:, : values.shape[1]] = values
                target.update(padded)
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    middles = read_clip(tmp_path / "a.mp4", 2)[:, 32, 16::32].astype(int)
    assert np.abs(middles - colours).max() <= 3


def test_one_frame(tmp_path):
    path = write(tmp_path / "a.mp4", "libx264", drawn(1, 48, 64))
    with pytest.warns(UserWarning, match="has 1 frames where 4 are needed"):
        frames = read_clip(path, 4)
    np.testing.assert_array_equal(frames, np.repeat(decoded(path), 4, 0))


def test_short_video_repeats_frames(tmp_path):
    path = write(tmp_path / "a.avi", "mpeg4", drawn(6, 48, 64))
    whole = decoded(path)
    with pytest.warns(UserWarning, match="repeated"):
        np.testing.assert_array_equal(read_clip(path, 8), whole[[0, 1, 2, 3, 3, 4, 5, 5]])
    with pytest.warns(UserWarning, match="repeated"):
        np.testing.assert_array_equal(read_clip(path, 5, start=3, short="last"), whole[[3, 4, 5, 5, 5]])
    with pytest.warns(UserWarning, match="has 6 frames and not 60"):
        np.testing.assert_array_equal(read_clip(path, 3, start=0, end=60), whole[[0, 2, 4]])
    with pytest.raises(VideoError, match="has 6 frames; frames 6 to the end"):
        read_clip(path, 3, start=6)


def test_variable_frame_rate_counts_frames(tmp_path):
    pts = np.cumsum([0, 1, 1, 9, 1, 30, 2, 1, 1, 5, 1, 1]).tolist()
    path = write(tmp_path / "a.mkv", "libx264", drawn(12, 48, 64), pts=pts)
    np.testing.assert_array_equal(read_clip(path, 6), decoded(path)[[0, 2, 4, 6, 8, 10]])


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_usual_files_are_read_as_by_decord(tmp_path, suffix):
    """Bit for bit, so that what was computed with decord's frames still holds."""
    decord = pytest.importorskip("decord")
    codec, options = CONTAINERS[suffix]
    path = write(tmp_path / f"a.{suffix}", codec, drawn(41, 60, 80), **options)
    indices = even_indices(41, 16)
    np.testing.assert_array_equal(read_clip(path, 16), decord.VideoReader(str(path)).get_batch(indices).asnumpy())


def test_resize_is_antialiased_and_the_same_for_each_container(tmp_path):
    image = pytest.importorskip("PIL.Image")
    frames = drawn(8, 96, 128)
    frames[:, 48:, ::2] = (
        255 - frames[:, 48:, ::2]
    )  # stripes that plain subsampling would turn into one colour
    clips = {}
    for suffix, codec in {"mp4": "libx264", "mkv": "libx264", "mov": "libx264"}.items():
        path = write(tmp_path / f"a.{suffix}", codec, frames, crf="4")
        clips[suffix] = read_clip(path, 8, (24, 32))
    for clip in clips.values():
        np.testing.assert_array_equal(clip, clips["mp4"])
    full = decoded(tmp_path / "a.mp4")
    expected = [np.asarray(image.fromarray(f).resize((32, 24), image.Resampling.BICUBIC)) for f in full]
    assert np.abs(clips["mp4"].astype(int) - np.stack(expected)).max() <= 2
    assert (
        np.abs(full[:, 2::4, 2::4].astype(int) - np.stack(expected)).mean() > 20
    )  # what no antialiasing does
    np.testing.assert_array_equal(read_clip(tmp_path / "a.mp4", 8, (96, 128)), full)
    np.testing.assert_array_equal(
        read_clip(tmp_path / "a.mp4", 8, 24), read_clip(tmp_path / "a.mp4", 8, (24, 24))
    )


MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0), "hflip": (-1, 0, 0, 1), "vflip": (1, 0, 0, -1),
            "transpose": (0, 1, 1, 0), "transverse": (0, -1, -1, 0)}


def turned(path, degrees, out):
    """A copy whose track header says: to be shown turned clockwise, as a phone held upright writes it."""
    a, b, c, d = (65536 * v for v in MATRICES[degrees])
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("degrees, turns", [(90, -1), (180, 2), (270, 1)])
@pytest.mark.parametrize("height, width", [(96, 128), (60, 80)])
def test_rotation_is_applied(tmp_path, degrees, turns, height, width):
    path = write(tmp_path / "a.mp4", "libx264", drawn(9, height, width))
    upright = turned(path, degrees, tmp_path / "b.mp4")
    expected = np.rot90(decoded(path), turns, axes=(1, 2))  # PyAV does not apply the rotation
    # The turn happens before the conversion from YUV, whose colour samples are shared by 2x2 pixels.
    assert_same_frames(read_clip(upright, 9), expected)
    small = read_clip(upright, 9, (40, 30))
    assert small.shape == (9, 40, 30, 3)
    corner = {90: small[:, 3, -3], 180: small[:, -3, -3], 270: small[:, -3, 3]}[degrees].astype(int)
    assert (corner[:, 0] > 200).all() and (corner[:, 1:] < 60).all()
    info = probe(upright)
    assert (info.num_frames, info.height, info.width) == (9, *expected.shape[1:3])


@pytest.mark.parametrize("kind, rows, columns, swapped", [
    ("hflip", 1, -1, False), ("vflip", -1, 1, False), ("transpose", 1, 1, True), ("transverse", -1, -1, True)])
def test_mirrors_are_applied(tmp_path, kind, rows, columns, swapped):
    path = write(tmp_path / "a.mp4", "libx264", drawn(9, 60, 80))
    expected = decoded(path).swapaxes(1, 2) if swapped else decoded(path)
    assert_same_frames(read_clip(turned(path, kind, tmp_path / "b.mp4"), 9), expected[:, ::rows, ::columns])


@pytest.mark.parametrize("first, count", [(0, 12), (6, 12), (18, 6), (7, 33), (3, 1)])
def test_edit_list(tmp_path, first, count):
    path = write(tmp_path / "a.mp4", "libx264", drawn(40, 48, 64), g="5")
    data = bytearray(path.read_bytes())
    entry = data.find(b"elst") + 12
    start = struct.unpack_from(">i", data, entry + 4)[0]
    struct.pack_into(">Ii", data, entry, round(count * 1000 / 12), start + first * 1024)
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(data)
    whole = decoded(trimmed)
    assert len(whole) == probe(trimmed).num_frames == count
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "has 1 frames")
        warnings.filterwarnings("error", ".*damaged.*")
        assert_same_frames(read_clip(trimmed, 5), whole[even_indices(count, 5)])


@pytest.mark.parametrize(
    "name", ["with space.mp4", "Grüße 视频.mp4", "<b>&amp;'\".mp4", "http:no.mp4", "-x %d.mp4"]
)
def test_names(tmp_path, name):
    path = write(tmp_path / "a.mp4", "libx264", drawn(5, 48, 64)).rename(tmp_path / name)
    assert read_clip(path, 5).shape == (5, 48, 64, 3)
    assert read_clip(str(path), 5).shape == (5, 48, 64, 3)


def bad_files(folder):
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video\n" * 100)
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write(folder / "cut.mp4", "libx264", drawn(24, 48, 64))
    (folder / "cut.mp4").write_bytes((folder / "cut.mp4").read_bytes()[:2000])
    return {
        "absent.mp4": "there is no such file",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "folder.mp4": "is a folder",
        "pipe.mp4": "is not an ordinary file",
        "sound.mp4": "has no pictures",
        "cut.mp4": "is not a video, or is damaged",
        "nul\0.mp4": "cannot be opened",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_errors_are_plain_and_nothing_is_printed(tmp_path, capfd):
    for name, reason in bad_files(tmp_path).items():
        for call in (read_clip, probe):
            with pytest.raises(VideoError, match=reason) as caught:
                call(tmp_path / name)
            assert caught.value.path == tmp_path / name and "\n" not in str(caught.value)
            assert isinstance(caught.value, ValueError)
    assert capfd.readouterr() == ("", "")


def test_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.webm", "libvpx-vp9", drawn(40, 48, 64), deadline="realtime", g="5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole = decoded(path)
    assert 5 < len(whole) < 40
    np.testing.assert_array_equal(read_clip(path, 5), whole[even_indices(len(whole), 5)])


def test_error_can_be_copied():
    error = copy.deepcopy(
        VideoError("a.mp4", "is empty")
    )  # by the protocol that brings it from process to process
    assert (error.path, error.reason, str(error)) == (Path("a.mp4"), "is empty", "a.mp4: is empty")


@pytest.mark.parametrize("arguments", [{"num_frames": 0}, {"size": (0, 4)}, {"size": 1.5}, {"start": -1},
                                       {"start": 5, "end": 5}, {"short": "never"}])  # fmt: skip
def test_impossible_arguments(arguments):
    with pytest.raises(ValueError) as caught:
        read_clip("a.mp4", **arguments)
    assert not isinstance(caught.value, VideoError)


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason="../shared is not here")
def test_real_videos_are_frame_exact():
    paths = sorted((REAL / "videos").glob("*")) + sorted((REAL / "kth").glob("*.avi"))
    paths += (
        sorted((REAL / "something").rglob("*.webm"))[::9] + sorted((REAL / "weizmann").rglob("*.avi"))[::20]
    )
    for path in paths:
        if path.stat().st_size > 3e6:  # a full decode of 1080p takes seconds
            assert read_clip(path, 16, 64).shape == (16, 64, 64, 3)
            continue
        wanted = even_indices(probe(path).num_frames, 16)
        whole = decoded(path, set(wanted.tolist()).__contains__)
        chosen = whole[np.searchsorted(np.unique(wanted), wanted)]
        np.testing.assert_array_equal(read_clip(path, 16), chosen, err_msg=str(path))


@pytest.mark.real
@pytest.mark.skipif(not VIDEOS.exists(), reason="../shared is not here")
def test_known_frames():
    """At most 4 levels from FFmpeg's own frames, on files of the kinds that public reports describe."""
    with np.load(VIDEOS) as known:
        for name in known.files:
            frames = read_clip(VIDEOS.parent / name, 16)
            assert frames.shape == known[name].shape
            assert np.abs(frames.astype(int) - known[name]).mean() <= 4, name
