"""The explorer in a live kernel: the page sends a mask, the models score it, the scores go back.

On anywidget, so that one JavaScript module serves JupyterLab, Notebook, VS Code and Colab. A mask is a list of T
booleans, True = perturbed.

    >>> explorer = Explorer(clip, models)                                          # doctest: +SKIP
    >>> explorer.widget.mask = [False] * 5 + [True] * 6 + [False] * 5              # doctest: +SKIP
    >>> explorer.widget.answer["models"][0]["scores"]                              # doctest: +SKIP
"""

from __future__ import annotations

import anywidget
import torch
import traitlets

from interp.recipes import SOMETHING_MASK
from interp.widgets_data import KINDS, class_scores, source, style


class LiveExplorer(anywidget.AnyWidget):
    """The widget of one Explorer. Setting `mask` or `perturbation`, from either side, brings the `answer`."""

    _esm, _css = source(), style()
    data = traitlets.Dict().tag(sync=True)
    mask = traitlets.List(traitlets.Bool()).tag(sync=True)
    perturbation = traitlets.Enum(KINDS, "freeze").tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)

    def __init__(self, explorer):
        self._clip, self._models = explorer.explanations[0].clip, explorer.models
        self._recipe = explorer.explanations[0].recipe or SOMETHING_MASK
        self._class_name = explorer.explanations[0].class_name
        start = [False] * explorer.data["frames"]["count"]
        super().__init__(data=explorer.data, mask=start)
        self.observe(self._score, ["mask", "perturbation"])

    @traitlets.validate("mask")
    def _checked(self, proposal):
        count = self.data["frames"]["count"]
        if len(proposal["value"]) != count:
            raise traitlets.TraitError(f"mask: expected {count} values, one a frame, got {len(proposal['value'])}")
        return proposal["value"]

    def _score(self, _change) -> None:
        mask = torch.tensor([self.mask], dtype=torch.float32)
        own, names = [], {}
        for model, shipped in zip(self._models.values(), self.data["models"], strict=True):
            scores = class_scores(model, self._clip, mask, self.perturbation, self._recipe)[0]  # (K,)
            top = int(scores.argmax())
            names[str(top)] = self._class_name(top)
            own.append({"scores": scores[shipped["columns"]].tolist(), "top": top, "topScore": float(scores[top])})
        digits = "".join("1" if on else "0" for on in self.mask)
        self.answer = {"mask": digits, "perturbation": self.perturbation, "models": own, "names": names}
