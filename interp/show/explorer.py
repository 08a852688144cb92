"""`Explorer`, the widget on which a reader paints a mask over a clip's frames: live in a kernel, and static in a page.

static/explorer.js describes the dict that the page holds.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from interp.core.explanation import DEFAULT_METHOD, Explanation, explain
from interp.core.inference import attribute, check_clips, model_name
from interp.core.windows import best_windows, score_table
from interp.recipes import SOMETHING_MASK, MaskRecipe
from interp.show.figure import COLORMAP, clip_frames, describe
from interp.show.html import data_address, json_text, static

KINDS = ("freeze", "reverse")
LARGE = 1_000_000  # bytes of decoded frames; fewer are kept exactly, for networks in the page to score them
MAP_SIDE = 32  # cells a side of a map on the page; a layer has fewer


class Explorer:
    """A clip to paint masks on: live, each mask is scored by the models; on a page, every window is scored beforehand.

    Attributes: `data`, the page's dict; `explanations`, one a model; `windows`, the WindowResult of each (perturbation,
    model's name). `widget.mask` and `widget.perturbation` may be set; `widget.scores` holds the models' scores.

    Args:
        clip: (C,T,H,W) in [0,1]; or an Explanation of it for each model, in their order: then nothing is searched.
        models: a mapping from names to models, or one model.
        target: the true class.
        recipe: the loss of the mask search and of the best window; by default the explanations' own.
        search: further arguments of `interp.explain` for a bare clip.
    """

    def __init__(self, clip, models, target: int | None = None, *, recipe: MaskRecipe | None = None, **search):
        from matplotlib import colormaps

        if isinstance(models, nn.Module):
            models = {{"i3d": "I3D", "clstm": "C-LSTM"}.get(name := model_name(models), name): models}
        if not (isinstance(models, Mapping) and models and all(isinstance(m, nn.Module) for m in models.values())):
            raise ValueError(f"models: expected a torch.nn.Module, or a mapping from names to modules, got {models!r}")
        self.models = {str(name): model for name, model in models.items()}
        self.explanations = records = _given_explanations(clip, len(models))
        if records:
            clip, recipe = records[0].clip, recipe or records[0].recipe
            target = records[0].target if target is None else target
        self.recipe, self.clip = recipe or SOMETHING_MASK, torch.as_tensor(clip).detach().cpu()
        colours = colormaps[COLORMAP](np.arange(256), bytes=True)[:, :3]
        explained = target if search.get("explained_class") == "target" else None
        classes = [record.explained for record in records] or [explained] * len(self.models)
        self.windows = {
            (kind, name): best_windows(model, self.clip[None], kind, index, self.recipe)
            for index, (name, model) in zip(classes, self.models.items(), strict=True) for kind in KINDS}
        if not records:
            for name, model in self.models.items():
                options = {"name": name, **search}
                if search.get("method", DEFAULT_METHOD) == "gradient":  # from the best window, which is known here
                    options = {"start": self.windows["freeze", name].starts.cpu(), "stop": True, **options}
                records += explain(model, self.clip[None], target, self.recipe, **options)
        extra = list(dict.fromkeys(_digits(record.binary_mask) for record in records))
        shown = [self._model_data(*both, target, extra) for both in zip(self.models, records, strict=True)]
        names = {str(index): records[0].class_name(index) for index in range(len(records[0].probabilities))}
        self.data = {
            "format": "interp-explorer", "version": 1, "id": records[0].id, "fps": 6,
            "title": names.get(str(target), "A clip of unknown class"),
            "threshold": self.recipe.snap, "frames": _sprite(clip_frames(self.clip)), "classes": names,
            "recipe": {key: getattr(self.recipe, key) for key in ("lambda1", "lambda2", "border")},
            "colours": _base64(colours), "extra": extra, "target": None if target is None else int(target),
            "models": shown}

    @cached_property
    def widget(self):
        """The live widget, an anywidget: setting `mask` or `perturbation`, from either side, brings `scores`."""
        import anywidget
        import traitlets

        explorer, count = self, self.data["frames"]["count"]

        class LiveExplorer(anywidget.AnyWidget):
            _esm, _css = static("explorer.js"), static("explorer.css")
            data = traitlets.Dict().tag(sync=True)
            mask = traitlets.List(traitlets.Bool(), minlen=count, maxlen=count).tag(sync=True)
            perturbation = traitlets.Enum(KINDS, "freeze").tag(sync=True)
            scores = traitlets.Dict().tag(sync=True)

            @traitlets.observe("mask", "perturbation")
            def _score(self, _change) -> None:
                self.scores = explorer._live_scores(self.mask, self.perturbation)

        return LiveExplorer(data=self.data, mask=[False] * count)

    def _repr_mimebundle_(self, **options) -> dict | tuple[dict, dict]:
        """Both forms for a notebook; the static one alone where anywidget is not installed."""
        forms = {"text/plain": f"Explorer of {', '.join(self.models)}", "text/html": self.to_html()}
        try:
            live = self.widget._repr_mimebundle_(**options)
        except ImportError:
            return forms
        return (live[0] | forms, live[1]) if isinstance(live, tuple) else (live or {}) | forms

    def to_html(self) -> str:
        """The static form; readers without scripts get the sentences of `describe`."""
        words = " ".join(escape(model["words"]) for model in self.data["models"])
        return (f'<div class="interp-explorer"><noscript><p>{words}</p></noscript></div>'
                f'<script type="application/json">{json_text(self.data)}</script>{page_script()}')

    def score(self, name: str, masks: Sequence[str], kind: str) -> Tensor:
        """The softmax (N,K) of a model on the clip under binary masks, one forward pass each."""
        model, masks = self.models[name], torch.tensor([[float(digit) for digit in mask] for mask in masks])
        clips = check_clips(model, self.clip[None])
        return score_table(model, clips, masks.to(clips), None, self.recipe, kind)[0].cpu()

    def _model_data(self, name: str, record: Explanation, target: int | None, extra: Sequence[str]) -> dict:
        columns = list(dict.fromkeys(([] if target is None else [int(target)]) + [record.guess]))
        scores = {kind: torch.cat([record.probabilities[None], self.windows[kind, name].class_scores[0].cpu(),
                                   self.score(name, extra, kind)]) for kind in KINDS}  # (R, K)
        tops = {kind: table.max(1) for kind, table in scores.items()}
        return {
            "name": name, "words": describe(dataclasses.replace(record, model=name)), "guess": record.guess,
            "weights": (attribute(self.models[name], "record", Mapping) or {}).get("sha256"),
            "explained": record.explained, "columns": columns, "map": _map(record.map),
            "tables": {kind: {"scores": _base64(scores[kind][:, columns].T.numpy().astype("<f4")),
                              "top": _base64(tops[kind].indices.numpy().astype("<u2")),
                              "topScores": _base64(tops[kind].values.numpy().astype("<f4"))} for kind in KINDS},
            "best": {kind: _digits(self.windows[kind, name].masks[0]) for kind in KINDS},
            "found": {"mask": _digits(record.binary_mask), "perturbation": record.perturbation, "steps": record.steps,
                      "soft": bool(((record.mask > 0) & (record.mask < 1)).any()),
                      "scores": {"freeze": record.FS, "reverse": record.RS}}}

    def _live_scores(self, mask: Sequence[bool], kind: str) -> dict:
        digits, models = "".join("01"[on] for on in mask), []
        for shown in self.data["models"]:
            scores = self.score(shown["name"], [digits], kind)[0]  # (K,)
            top = int(scores.argmax())
            models.append({"scores": scores[shown["columns"]].tolist(), "top": top, "topScore": float(scores[top])})
        return {"mask": digits, "perturbation": kind, "models": models}


def page_script() -> str:
    """The style and script that the explorers of a page share, as HTML; a second copy does no harm."""
    return f'<style>{static("explorer.css")}</style><script type="module">{static("explorer.js")}</script>'


def _given_explanations(clip, count: int) -> list[Explanation]:
    """The Explanations given in place of a clip, one a model; none for a bare clip."""
    if torch.is_tensor(clip) or isinstance(clip, np.ndarray):
        return []
    if not isinstance(clip, Sequence) or not all(isinstance(record, Explanation) for record in clip):
        raise ValueError("clip: expected a float tensor (C,T,H,W), or an Explanation for each model, got "
                         f"{type(clip).__name__}; turn uint8 frames into a clip with interp.data.to_clip")
    if len(clip) != count or any(not torch.equal(record.clip, clip[0].clip) for record in clip):
        raise ValueError(f"expected {count} Explanations of one clip, in the models' order, got {len(clip)}")
    return list(clip)


def _sprite(frames: np.ndarray) -> dict:
    """Frames (T,H,W,3) side by side in one picture."""
    count, height, width, _ = frames.shape
    columns = int(np.ceil(np.sqrt(count)))
    padded = np.pad(frames, [(0, -count % columns), (0, 0), (0, 0), (0, 0)])
    sheet = padded.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)
    target = io.BytesIO()
    Image.fromarray(sheet).save(target, "WEBP", lossless=sheet.size < LARGE, quality=50, method=4)
    return {"count": count, "width": width, "height": height, "columns": columns,
            "sprite": data_address("image/webp", target.getvalue())}


def _map(maps: Tensor) -> dict:
    """A map (T,H,W) in [0,1] as a grid of at most MAP_SIDE cells a side, in 256 levels."""
    grid = interpolate(maps[None], [min(MAP_SIDE, side) for side in maps.shape[1:]], mode="area")[0]
    levels = _base64((255 * grid).round().numpy().astype(np.uint8))
    return {"width": grid.shape[2], "height": grid.shape[1], "levels": levels}


def _digits(mask: Tensor) -> str:
    return "".join("01"[on] for on in (mask > 0).tolist())


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
