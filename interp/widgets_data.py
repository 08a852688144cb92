"""What the explorer ships to a browser: one clip, its maps, and every score it may show, as one JSON-able dict.

Own format, "interp-explorer" version 1. A clip is (C, T, H, W) in [0, 1], a map (T, H, W), a mask (T) of zeros
and ones, written "0011100". Scores are softmax probabilities of hard masks, from `windows.best_windows` and
`windows.score_table`, float32 and never rounded here. R rows: the clip as it is, all windows by first frame and
then by last, and the masks of `extra`.

    {"format", "version", "id", "title", "fps", "threshold",
     "frames": {"count", "width", "height", "columns", "sprite": a data address (WebP, row by row)},
     "colours": 256 x 3 bytes, "classes": {index: name} of those that occur, "target": index or null,
     "extra": [mask], "models": [{
        "name", "words": one sentence, "guess": index, "explained": index, "columns": [index],
        "map": {"width", "height", "highest", "levels": T x height x width bytes, 255 for the highest},
        "tables": {"freeze": {"scores": columns x R float32, "top": R uint16, "topScores": R float32}, "reverse"},
        "best": {"freeze": mask, "reverse": mask},
        "found": {"mask", "perturbation", "steps", "scores": {"freeze", "reverse"} of the soft mask}}]}

Bytes and numbers are little-endian, in base64. "top" is the class of the highest score under that mask.

    >>> data = explorer_data(torch.rand(3, 16, 64, 64), {"I3D": interp.load("i3d", "motion")})  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from interp.borrow import borrowed, capacity, checked_clips
from interp.explain import Explanation, describe, explain
from interp.figures import PALETTES, clip_frames
from interp.recipes import SOMETHING_MASK, MaskRecipe
from interp.windows import best_windows, score_table

KINDS = ("freeze", "reverse")
SEARCH = {"stop": True}  # the start is the best window, which is scored here anyway
QUALITIES = (90, 80, 65, 50, 35)  # of the frames' WebP, the first that fits; 16 frames of 64x64 take 18 kB
MOST_BYTES = 320_000  # of the frames, so that a page gives no clip more than 600 kB
MAP_SIDES = (4, 7, 8, 12, 14, 16, 24, 28, 32)  # the first that gives the map back is taken
MAP_ERROR = 0.02


def source() -> str:
    """The explorer's one JavaScript module, from its four files."""
    return "".join(_file(f"explorer{part}.js") for part in ("_clip", "_parts", "_paint", ""))


def style() -> str:
    """The explorer's style sheet."""
    return _file("explorer.css")


def collect(clip, models, target: int | None = None, *, title: str | None = None,
            recipe: MaskRecipe | None = None, fps: float = 6, **search) -> tuple[dict, list, dict]:
    """The data of `explorer_data`, the Explanations, and {(perturbation, model's name): WindowResult}."""
    models = checked_models(models)
    records = _records(clip, models)
    if records:
        clip, recipe = records[0].clip, recipe or records[0].recipe
        target = records[0].target if target is None else target
    recipe = recipe or SOMETHING_MASK
    clip = torch.as_tensor(clip).detach().cpu()
    frames = clip_frames(clip)  # says what is wrong with a clip that is none
    about = target if search.get("about") == "target" else None  # None: the guess
    explained = [record.explained for record in records] or [about] * len(models)
    tables = {(kind, name): best_windows(model, clip[None], kind, one, recipe, every_class=True)
              for one, (name, model) in zip(explained, models.items(), strict=True) for kind in KINDS}
    for name, model in {} if records else models.items():
        start = (2 * tables["freeze", name].masks - 1) * recipe.start_logit
        options = {"start": start.cpu(), "name": name} | SEARCH | search
        records += explain(model, clip[None], target, recipe, **options)
    extra = list(dict.fromkeys(_digits(record.snapped) for record in records))
    extra_masks = torch.tensor([[float(digit) for digit in mask] for mask in extra])
    own = []
    for record, (name, model) in zip(records, models.items(), strict=True):
        columns = list(dict.fromkeys(([] if target is None else [int(target)]) + [record.guess]))
        found = {"mask": _digits(record.snapped), "perturbation": record.perturbation, "steps": record.steps,
                 "scores": {"freeze": record.FS, "reverse": record.RS}}
        rows = {kind: torch.cat([record.probabilities[None], tables[kind, name].class_scores[0].cpu(),
                                 class_scores(model, clip, extra_masks, kind, recipe)]) for kind in KINDS}
        own.append({
            "name": name, "words": describe(record.to_dict() | {"model": name}), "guess": record.guess,
            "explained": record.explained, "columns": columns, "map": _map(record.map),
            "tables": {kind: _table(rows[kind], columns) for kind in KINDS},
            "best": {kind: _digits(tables[kind, name].masks[0]) for kind in KINDS}, "found": found,
            "tops": {int(top) for kind in KINDS for top in rows[kind].argmax(1)},
        })  # fmt: skip
    used = sorted({index for one in own for index in one.pop("tops") | set(one["columns"]) | {one["explained"]}})
    named = {str(index): records[0].class_name(index) for index in used}
    data = {
        "format": "interp-explorer", "version": 1, "id": records[0].id, "fps": fps,
        "title": title if title is not None else named.get(str(target), "A clip of unknown class"),
        "threshold": recipe.snap, "frames": _sprite(frames), "colours": _colours(), "classes": named,
        "target": None if target is None else int(target), "extra": extra, "models": own,
    }  # fmt: skip
    return data, records, tables


def class_scores(model: nn.Module, clip: Tensor, masks: Tensor, kind: str, recipe: MaskRecipe) -> Tensor:
    """The softmax (N,K) of a clip (C,T,H,W) under hard masks (N,T): what the explorer shows for any mask."""
    clips = checked_clips(model, clip[None])
    with borrowed(model) as device:
        chunk = capacity(model, clips, device, None)
        return score_table(model, clips, masks.to(clips), None, recipe, kind, device, chunk)[0].cpu()


def checked_models(models) -> dict[str, nn.Module]:
    """Names and models; ValueError for none, or for what is no model."""
    if isinstance(models, nn.Module):
        name = (getattr(models, "config", None) or {}).get("model") or type(models).__name__
        models = {{"i3d": "I3D", "clstm": "C-LSTM"}.get(name, name): models}
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models: expected a model, or a mapping from names to models, got {models!r}; "
                         'write {"I3D": i3d, "C-LSTM": clstm}')
    wrong = [name for name, model in models.items() if not isinstance(model, nn.Module)]
    if wrong:
        raise ValueError(f"models: {', '.join(map(repr, wrong))}: expected a torch.nn.Module; "
                         "wrap a function in a module's forward")
    return {str(name): model for name, model in models.items()}


def _records(clip, models: Mapping) -> list[Explanation]:
    """The Explanations given in place of a clip, one a model; none for a bare clip."""
    if torch.is_tensor(clip) or isinstance(clip, np.ndarray):
        return []
    records = [clip] if isinstance(clip, Explanation) else list(clip) if isinstance(clip, Sequence) else []
    if not records or not all(isinstance(record, Explanation) for record in records):
        raise ValueError(f"clip: expected a float tensor (C,T,H,W), an Explanation, or one for each model, "
                         f"got {type(clip).__name__}; uint8 frames go through interp.data.to_clip")
    if len(records) != len(models):
        raise ValueError(f"got {len(records)} Explanations for {len(models)} models; give one each, in their order")
    if any(not torch.equal(record.clip, records[0].clip) for record in records[1:]):
        raise ValueError("the Explanations are of different clips; an explorer shows one clip")
    return records


def _table(rows: Tensor, columns: Sequence[int]) -> dict:
    """Rows (R,K) to the shown classes' scores and the highest one's."""
    top, place = rows.max(dim=1)
    return {"scores": _base64(rows[:, list(columns)].T.numpy().astype("<f4")),
            "top": _base64(place.numpy().astype("<u2")), "topScores": _base64(top.numpy().astype("<f4"))}


def _sprite(frames: np.ndarray) -> dict:
    """Frames (T, H, W, 3) side by side in one picture of at most MOST_BYTES."""
    count, height, width, _ = frames.shape
    columns = int(np.ceil(np.sqrt(count)))
    padded = np.zeros((-(-count // columns) * columns, height, width, 3), np.uint8)
    padded[:count] = frames
    sheet = padded.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)
    for quality in QUALITIES:
        target = io.BytesIO()
        Image.fromarray(sheet).save(target, "WEBP", quality=quality, method=4)
        if target.tell() <= MOST_BYTES:
            break
    else:  # large, and hard to pack: at half the size
        even = frames[:, : height // 2 * 2, : width // 2 * 2].reshape(count, height // 2, 2, width // 2, 2, 3)
        return _sprite(even.mean(axis=(2, 4)).round().astype(np.uint8))
    address = f"data:image/webp;base64,{base64.b64encode(target.getvalue()).decode()}"
    return {"count": count, "width": width, "height": height, "columns": columns, "sprite": address}


def _map(maps: Tensor) -> dict:
    """A map (T, H, W) as the smallest grid from which bilinear enlarging gives it back, in 256 levels.

    A Grad-CAM map was enlarged from a layer's few cells, so least squares finds those again.
    """
    maps = maps.double()
    for side in MAP_SIDES:
        height, width = (min(side, length) for length in maps.shape[1:])
        up, across = _enlarging(height, maps.shape[1]), _enlarging(width, maps.shape[2])
        grid = (torch.linalg.pinv(up) @ maps @ torch.linalg.pinv(across).T).clamp(min=0)
        if ((up @ grid @ across.T).clamp(0, 1) - maps).abs().max() <= MAP_ERROR:
            break
    highest = max(float(grid.max()), 1e-6)  # a cell's middle may lie higher than every pixel
    levels = (255 * grid / highest).round().numpy().astype(np.uint8)
    return {"width": width, "height": height, "highest": highest, "levels": _base64(levels)}


def _enlarging(cells: int, length: int) -> Tensor:
    """The matrix (length, cells) of linear enlarging as in `figures.overlay`."""
    one = torch.eye(cells, dtype=torch.float64)[:, None]
    return torch.nn.functional.interpolate(one, length, mode="linear")[:, 0].T


def _file(name: str) -> str:
    return resources.files("interp").joinpath(name).read_text(encoding="utf-8")


def _colours() -> str:
    from matplotlib import colormaps

    table = colormaps[PALETTES["safe"].colormap](np.arange(256))[:, :3]
    return _base64((255 * table).round().astype(np.uint8))


def _digits(mask: Tensor) -> str:
    return "".join("1" if on else "0" for on in (mask > 0).tolist())


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
