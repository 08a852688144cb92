"""Every hyperparameter of the paper and of the networks that this package ships, as frozen dataclasses.

After Mänttäri, Broomé, Folkesson, Kjellström, "Interpreting Video Features", ACCV 2020 (arXiv 2002.00367): the
website's tables; where they are silent, the released configurations. Fields that are published nowhere are named in
`TrainRecipe.chosen`. Axes: `num_frames` is T, `size` is (H, W).

    >>> I3D_KTH.epochs, I3D_KTH.dropout, KTH_MASK.lambda1
    (30, 0.7, 0.02)
    >>> short = change(I3D_MOTION, epochs=2)
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

SCALES = ("quick", "book", "paper")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("plateau", "cosine")
MODELS = ("i3d", "clstm")
BORDERS = ("paper", "even")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class MaskRecipe:
    """How a temporal mask is found: the lowest loss = lambda1*sum|m| + lambda2*TV(m) + F_c."""

    name: str
    lambda1: float  # weight of the mask's length
    lambda2: float  # weight of its total variation
    beta: float = 3.0  # power inside the total variation
    iterations: int = 300  # steps of Adam on the logits
    learning_rate: float = 0.2  # 0.2: the released script, which made the published masks
    reverse_threshold: float = 0.1  # a frame belongs to a reversed run above this
    snap: float = 0.5  # a frame of the binary mask is on above this
    start_logit: float = 5.0  # the central start is -5 off, +5 on
    drop_fraction: float = 0.9  # the central start keeps this share of the fully frozen drop
    border: str = "paper"  # price of an edge at the clip's border: "paper": half an inner edge | "even": a whole one

    def __post_init__(self) -> None:
        _check_choice("border", self.border, BORDERS)


SOMETHING_MASK = MaskRecipe("something", lambda1=0.01, lambda2=0.02)
KTH_MASK = MaskRecipe("kth", lambda1=0.02, lambda2=0.04)
# The website's table says 0.001. Adam moves a logit by about the learning rate a step, so these masks keep
# the shape that they start with; they are here to show that.
SOMETHING_MASK_TABLE = MaskRecipe("something-table", lambda1=0.01, lambda2=0.02, learning_rate=0.001)
KTH_MASK_TABLE = MaskRecipe("kth-table", lambda1=0.02, lambda2=0.04, learning_rate=0.001)
MASKS = {m.name: m for m in (SOMETHING_MASK, KTH_MASK, SOMETHING_MASK_TABLE, KTH_MASK_TABLE)}


@dataclasses.dataclass(frozen=True)
class TrainRecipe:
    """One training run. `model_args` takes a mapping and is kept as sorted pairs, for comparing."""

    name: str
    model: str  # "i3d" | "clstm"
    data: str  # "something" | "kth" | "folder" | "motion"
    num_frames: int  # T
    size: tuple[int, int]  # (H, W) in pixels
    epochs: int
    optimizer: str  # "adam" (decay inside the gradient) | "adamw" (decoupled) | "sgd"
    learning_rate: float  # the highest, after warm-up
    batch_size: int  # clips a step over all processes together
    momentum: float = 0.0  # sgd only
    weight_decay: float = 0.0
    dropout: float = 0.0  # probability of dropping, before the classifier
    schedule: str = "plateau"  # "plateau": halved after 2 epochs without a better score | "cosine"
    augment: bool = False
    warmup_epochs: float = 0.0  # linear, from 0 to learning_rate
    label_smoothing: float = 0.0
    clip_norm: float = 0.0  # largest gradient norm; 0: not clipped
    model_args: Mapping[str, Any] | tuple = ()  # further constructor arguments of the model
    chosen: tuple[str, ...] = ()  # fields that the paper does not publish

    def __post_init__(self) -> None:
        pairs = sorted((str(k), _with_tuples(v)) for k, v in dict(self.model_args).items())
        object.__setattr__(self, "size", tuple(int(s) for s in self.size))
        object.__setattr__(self, "chosen", tuple(self.chosen))
        object.__setattr__(self, "model_args", tuple(pairs))
        for name, choices in (("model", MODELS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            _check_choice(name, getattr(self, name), choices)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size: expected (height, width) in pixels, got {self.size!r}")
        for names, valid, expected in (
            ("num_frames epochs batch_size learning_rate", lambda value: value > 0, "above 0"),
            ("dropout label_smoothing momentum", lambda value: 0 <= value < 1, "at least 0 and below 1"),
            ("weight_decay warmup_epochs clip_norm", lambda value: value >= 0, "at least 0"),
        ):
            for name in names.split():
                if not valid(getattr(self, name)):
                    raise ValueError(f"{name}: expected a number {expected}, got {getattr(self, name)!r}")
        unknown = set(self.chosen) - {f.name for f in dataclasses.fields(self)}
        if unknown:
            raise ValueError(f"chosen: expected fields of TrainRecipe, got {sorted(unknown)}")

    def config(self, num_classes: int) -> dict[str, Any]:
        """The dict that `interp.models.build` takes to make this recipe's network."""
        config: dict[str, Any] = {"model": self.model, "num_classes": num_classes, "dropout": self.dropout}
        if self.model == "clstm":  # its classifier is as wide as the flattened sequence
            config.update(num_frames=self.num_frames, size=self.size)
        return config | dict(self.model_args)


def change(recipe: TrainRecipe, **fields: Any) -> TrainRecipe:
    """A copy with some fields changed; `model_args` are merged into the recipe's own."""
    if "model_args" in fields:
        fields["model_args"] = dict(recipe.model_args) | dict(fields["model_args"])
    return dataclasses.replace(recipe, **fields)


def asdict(recipe: MaskRecipe | TrainRecipe) -> dict[str, Any]:
    """A dict of strings, numbers, lists and dicts, ready for JSON; `from_dict` is its inverse."""
    record = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    if isinstance(recipe, TrainRecipe):
        record["model_args"] = dict(recipe.model_args)
    return json.loads(json.dumps(record))


def from_dict(record: Mapping[str, Any]) -> MaskRecipe | TrainRecipe:
    """The recipe that `asdict` wrote; ValueError for fields that no recipe has."""
    kind = TrainRecipe if "model" in record else MaskRecipe
    unknown = set(record) - {f.name for f in dataclasses.fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    return kind(**record)


def scale() -> str:
    """INTERP_SCALE: "quick" (tests), "book" (the default, two cores) or "paper" (GPU, full size)."""
    value = os.environ.get("INTERP_SCALE", "book")
    _check_choice("INTERP_SCALE", value, SCALES)
    return value


def _with_tuples(value: Any) -> Any:
    """Lists become tuples at every level, so that a recipe from JSON equals the one in this file."""
    return tuple(_with_tuples(v) for v in value) if isinstance(value, list | tuple) else value


# --- the paper's four rows (website table). Raw 0-255 values, no augmentation. ---
_CHOSEN = ("learning_rate", "batch_size")
_RAW = (0.0, 255.0)

I3D_SOMETHING = TrainRecipe(
    "i3d_something", "i3d", "something", num_frames=16, size=(224, 224), epochs=13, optimizer="adam",
    learning_rate=0.008, batch_size=16, dropout=0.5, chosen=_CHOSEN,
    model_args=dict(temporal_strides=(1, 1, 2), pixel_range=_RAW),
)  # fmt: skip
I3D_KTH = TrainRecipe(
    "i3d_kth", "i3d", "kth", num_frames=32, size=(120, 160), epochs=30, optimizer="adam",
    learning_rate=0.008, batch_size=16, weight_decay=5e-5, dropout=0.7, chosen=_CHOSEN,
    model_args=dict(temporal_strides=(1, 1, 2), pixel_range=_RAW),
)  # fmt: skip
CLSTM_SOMETHING = TrainRecipe(
    "clstm_something", "clstm", "something", num_frames=16, size=(224, 224), epochs=105, optimizer="sgd",
    learning_rate=0.001, batch_size=16, momentum=0.2, chosen=_CHOSEN,
    model_args=dict(filters=(32, 32, 32), kernel_size=5, strides=(2, 2, 2), pools=(2, 2, 2), padding="valid",
                    gate="hard_sigmoid", batch_norm=True, classifier="sequence", pixel_range=_RAW),
)  # fmt: skip
CLSTM_KTH = TrainRecipe(
    "clstm_kth", "clstm", "kth", num_frames=32, size=(120, 160), epochs=21, optimizer="sgd",
    learning_rate=0.001, batch_size=24, momentum=0.2, weight_decay=1e-4, dropout=0.5, chosen=_CHOSEN,
    model_args=dict(filters=(32, 32), kernel_size=(3, 5), strides=(2, 2), pools=(2, 2), padding="valid",
                    gate="hard_sigmoid", batch_norm=False, classifier="last", pixel_range=_RAW),
)  # fmt: skip

# --- the networks that the package ships, trained on generated clips; strides keep at least 6x6 map cells ---
_CHOSEN_HERE = ("epochs", "optimizer", "learning_rate", "batch_size", "weight_decay", "dropout", "schedule",
                "augment", "warmup_epochs", "label_smoothing", "clip_norm", "model_args")  # fmt: skip

I3D_MOTION = TrainRecipe(
    "i3d_motion", "i3d", "motion", num_frames=16, size=(64, 64), epochs=10, optimizer="adamw",
    learning_rate=0.002, batch_size=32, weight_decay=0.01, dropout=0.3, schedule="cosine", augment=True,
    warmup_epochs=1, label_smoothing=0.05, chosen=_CHOSEN_HERE,
    model_args=dict(width=0.25, temporal_strides=(2, 1, 1), spatial_strides=(2, 2, 2, 1, 1), bn_momentum=0.1,
                    pixel_range=(-1.0, 1.0)),
)  # fmt: skip
CLSTM_MOTION = TrainRecipe(
    "clstm_motion", "clstm", "motion", num_frames=16, size=(64, 64), epochs=9, optimizer="adamw",
    learning_rate=0.0008, batch_size=32, weight_decay=0.01, dropout=0.3, schedule="cosine", augment=True,
    warmup_epochs=0.2, label_smoothing=0.05, clip_norm=1.0, chosen=_CHOSEN_HERE,
    model_args=dict(filters=(16, 24, 32), kernel_size=5, strides=(2, 1, 1), pools=(2, 2, 4), padding="same",
                    gate="sigmoid", bn_momentum=0.1, pixel_range=(-1.0, 1.0)),
)  # fmt: skip

# --- and on generated sequences in KTH's layout: T = 32 as in the paper, map cells of 8x8 pixels; fewer clips
# than above, so smaller batches for more steps ---
I3D_MOTION_KTH = change(
    I3D_MOTION, name="i3d_motion_kth", data="kth", num_frames=32, size=(48, 64), epochs=18, batch_size=16,
    model_args=dict(temporal_strides=(2, 2, 1)),
)  # fmt: skip
CLSTM_MOTION_KTH = change(  # two layers of kernels 3x5 with strides of two, as the paper's for KTH
    CLSTM_MOTION, name="clstm_motion_kth", data="kth", num_frames=32, size=(48, 64), epochs=8, batch_size=16,
    learning_rate=0.0012, warmup_epochs=0.5,
    model_args=dict(filters=(8, 16), kernel_size=(3, 5), strides=(2, 2), pools=(2, 2)),
)  # fmt: skip

PAPER = (I3D_SOMETHING, I3D_KTH, CLSTM_SOMETHING, CLSTM_KTH)
RECIPES = {r.name: r for r in (*PAPER, I3D_MOTION, CLSTM_MOTION, I3D_MOTION_KTH, CLSTM_MOTION_KTH)}


def find(name: str, model: str | None = None, data: str | None = None) -> TrainRecipe:
    """The recipe of that name; "paper" gives the paper's row for `model` and `data`. ValueError if there is none."""
    rows = {r.name: r for r in PAPER} if name == "paper" else RECIPES
    name = f"{model}_{data}" if name == "paper" else name
    if name not in rows:
        raise ValueError(f"no recipe {name!r}; known: {', '.join(rows)}")
    return rows[name]
