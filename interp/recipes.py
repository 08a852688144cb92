"""Every hyperparameter of the paper and of the networks that this package ships, as frozen dataclasses.

After Mänttäri, Broomé, Folkesson, Kjellström, "Interpreting Video Features", ACCV 2020 (arXiv 2002.00367): the
website's tables; where they are silent, the released configurations; `TrainRecipe.chosen` names what is in neither.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MODELS = ("i3d", "clstm")
_VALID = (  # names of fields, what is valid, and the same in words
    ("model", lambda value: value in MODELS, "one of i3d, clstm"),
    ("optimizer", lambda value: value in ("adam", "adamw", "sgd"), "one of adam, adamw, sgd"),
    ("schedule", lambda value: value in ("plateau", "cosine"), "one of plateau, cosine"),
    ("border", lambda value: value in ("paper", "even"), "one of paper, even"),
    ("size", lambda value: len(value) == 2 and min(value) > 0, "(height, width) in pixels"),
    ("iterations num_frames epochs batch_size learning_rate", lambda value: value > 0, "a number above 0"),
    ("dropout label_smoothing momentum", lambda value: 0 <= value < 1, "a number at least 0 and below 1"),
    ("weight_decay warmup_epochs clip_norm", lambda value: value >= 0, "a number at least 0"),
)


def check(values: Mapping[str, Any], table: Iterable[tuple[str, Callable, str]]) -> None:
    """ValueError for a value that is not valid. Rows of the table: names, what is valid, the same in words."""
    for names, valid, expected in table:
        for name in names.split():
            if name in values and not valid(values[name]):
                raise ValueError(f"{name}: expected {expected}, got {values[name]!r}")


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
        check(vars(self), _VALID)


SOMETHING_MASK = MaskRecipe("something", lambda1=0.01, lambda2=0.02)
KTH_MASK = MaskRecipe("kth", lambda1=0.02, lambda2=0.04)
# The website's table says 0.001: Adam moves a logit by about that a step, so the masks keep the shape of their start.
SOMETHING_MASK_TABLE = MaskRecipe("something-table", lambda1=0.01, lambda2=0.02, learning_rate=0.001)
KTH_MASK_TABLE = MaskRecipe("kth-table", lambda1=0.02, lambda2=0.04, learning_rate=0.001)
MASKS = {m.name: m for m in (SOMETHING_MASK, KTH_MASK, SOMETHING_MASK_TABLE, KTH_MASK_TABLE)}


@dataclasses.dataclass(frozen=True)
class TrainRecipe:
    """One training run."""

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
    model_args: Mapping = dataclasses.field(default_factory=dict, hash=False)  # the model's further arguments
    chosen: tuple[str, ...] = ()  # fields that the paper does not publish

    def __post_init__(self) -> None:
        pairs = ((key, tuple(v) if isinstance(v, list) else v) for key, v in sorted(self.model_args.items()))
        vars(self).update(size=tuple(self.size), chosen=tuple(self.chosen), model_args=dict(pairs))  # of lists in JSON
        check(vars(self), _VALID)

    def config(self, num_classes: int) -> dict[str, Any]:
        """The dict that `interp.models.build` takes to make this recipe's network."""
        names = ("model", "dropout", "num_frames", "size") if self.model == "clstm" else ("model", "dropout")
        return {name: getattr(self, name) for name in names} | self.model_args | {"num_classes": num_classes}


def change(recipe: TrainRecipe, **fields: Any) -> TrainRecipe:
    """A copy with some fields changed; `model_args` are merged into the recipe's own."""
    return dataclasses.replace(recipe, **fields | {"model_args": recipe.model_args | fields.get("model_args", {})})


def asdict(recipe: MaskRecipe | TrainRecipe) -> dict[str, Any]:
    """A dict of strings, numbers, lists and dicts, ready for JSON; `from_dict` is its inverse."""
    return json.loads(json.dumps(vars(recipe)))


def from_dict(record: Mapping[str, Any]) -> MaskRecipe | TrainRecipe:
    """The recipe that `asdict` wrote; ValueError for fields that no recipe has."""
    kind = TrainRecipe if "model" in record else MaskRecipe
    try:
        return kind(**record)
    except TypeError as error:
        raise ValueError(f"expected the fields of a {kind.__name__}, got {sorted(record)}: {error}") from error


def scale() -> str:
    """INTERP_SCALE: "quick" (tests), "book" (the default, two cores) or "paper" (GPU, full size)."""
    value = os.environ.get("INTERP_SCALE", "book")
    if value not in ("quick", "book", "paper"):
        raise ValueError(f"INTERP_SCALE: expected one of quick, book, paper, got {value!r}")
    return value


# --- the paper's four rows (website table). Raw 0-255 values, no augmentation. ---
_RAW, _CENTRED = (0.0, 255.0), (-1.0, 1.0)
_PAPER = dict(data="something", num_frames=16, size=(224, 224), batch_size=16, chosen=("learning_rate", "batch_size"))
I3D_SOMETHING = TrainRecipe(
    "i3d_something", "i3d", epochs=13, optimizer="adam", learning_rate=0.008, dropout=0.5, **_PAPER,
    model_args=dict(temporal_strides=(1, 1, 2), pixel_range=_RAW))
I3D_KTH = change(I3D_SOMETHING, name="i3d_kth", data="kth", num_frames=32, size=(120, 160), epochs=30,
                 weight_decay=5e-5, dropout=0.7)
CLSTM_SOMETHING = TrainRecipe(
    "clstm_something", "clstm", epochs=105, optimizer="sgd", learning_rate=0.001, momentum=0.2, **_PAPER,
    model_args=dict(filters=(32, 32, 32), kernel_size=5, strides=(2, 2, 2), pools=(2, 2, 2), padding="valid",
                    gate="hard_sigmoid", batch_norm=True, classifier="sequence", pixel_range=_RAW))
CLSTM_KTH = change(
    CLSTM_SOMETHING, name="clstm_kth", data="kth", num_frames=32, size=(120, 160), epochs=21, batch_size=24,
    weight_decay=1e-4, dropout=0.5, model_args=dict(
        filters=(32, 32), kernel_size=(3, 5), strides=(2, 2), pools=(2, 2), batch_norm=False, classifier="last"))

# --- the networks that the package ships, trained on generated clips; strides keep at least 6x6 map cells ---
_MOTION = dict(
    data="motion", num_frames=16, size=(64, 64), optimizer="adamw", weight_decay=0.01, dropout=0.3,
    schedule="cosine", augment=True, label_smoothing=0.05,
    chosen=("epochs", "optimizer", "learning_rate", "batch_size", "weight_decay", "dropout", "schedule", "augment",
            "warmup_epochs", "label_smoothing", "clip_norm", "model_args"))
I3D_MOTION = TrainRecipe(
    "i3d_motion", "i3d", epochs=9, learning_rate=0.002, batch_size=16, warmup_epochs=1, **_MOTION,
    model_args=dict(width=0.25, temporal_strides=(2, 1, 1), spatial_strides=(2, 2, 2, 1, 1), bn_momentum=0.1,
                    pixel_range=_CENTRED))
CLSTM_MOTION = TrainRecipe(
    "clstm_motion", "clstm", epochs=16, learning_rate=0.001, batch_size=32, warmup_epochs=0.2, clip_norm=1.0, **_MOTION,
    model_args=dict(filters=(16, 24, 32), kernel_size=5, strides=(4, 1, 1), pools=(1, 2, 4), padding="same",
                    gate="sigmoid", bn_momentum=0.1, pixel_range=_CENTRED))

# --- and on generated sequences in KTH's layout: map cells of 8x8 pixels; fewer clips, so smaller batches ---
_KTH = dict(data="kth", num_frames=32, size=(48, 64), batch_size=16)
I3D_MOTION_KTH = change(
    I3D_MOTION, name="i3d_motion_kth", epochs=26, model_args=dict(temporal_strides=(2, 2, 1)), **_KTH)
CLSTM_MOTION_KTH = change(  # two layers of kernels 3x5 with strides of two, as the paper's for KTH
    CLSTM_MOTION, name="clstm_motion_kth", epochs=40, learning_rate=0.0012, warmup_epochs=0.5, **_KTH,
    model_args=dict(filters=(8, 16), kernel_size=(3, 5), strides=(2, 2), pools=(2, 2)))

PAPER = (I3D_SOMETHING, I3D_KTH, CLSTM_SOMETHING, CLSTM_KTH)
RECIPES = {row.name: row for row in (*PAPER, I3D_MOTION, CLSTM_MOTION, I3D_MOTION_KTH, CLSTM_MOTION_KTH)}


def find(name: str, model: str | None = None, data: str | None = None) -> TrainRecipe:
    """The recipe of that name; "paper" gives the paper's row for `model` and `data`. ValueError if there is none."""
    rows, name = (PAPER, f"{model}_{data}") if name == "paper" else (RECIPES.values(), name)
    if row := next((row for row in rows if row.name == name), None):
        return row
    raise ValueError(f"no recipe {name!r}; known: {', '.join(row.name for row in rows)}")
