"""The explorer: paint a temporal mask on a clip's frames and see what each network makes of it, live or on a page.

After the figures of Mänttäri, Broomé et al., ACCV 2020: clip, Grad-CAM, perturbed clip, and the bar of the mask,
which the reader now paints. In a kernel with a front end (anywidget) every mask is scored by the models; a static
page holds the scores of every window of frames under both perturbations. A clip is (C, T, H, W) in [0, 1], a mask
(T), 1 = perturbed.

    >>> models = {"I3D": interp.load("i3d", "motion"), "C-LSTM": interp.load("clstm", "motion")}  # doctest: +SKIP
    >>> interp.widgets.Explorer(clip, models, target=6)  # the last value of a notebook's cell    # doctest: +SKIP

Many on one page share one script:

    >>> page_script() + "".join(mount_html(data, f"clip-{k}") for k, data in enumerate(all_data))  # doctest: +SKIP
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from html import escape

from interp.explain import Explanation
from interp.recipes import MaskRecipe
from interp.widgets_data import checked_models, collect, source, style

__all__ = ["Explorer", "explorer_data", "mount_html", "page_script"]


def explorer_data(clip, models, target: int | None = None, *, title: str | None = None,
                  recipe: MaskRecipe | None = None, fps: float = 6, **search) -> dict:
    """Everything an explorer of one clip shows, JSON-able; its form is told in `interp.widgets_data`.

    clip: float (C,T,H,W) in [0,1]; or one Explanation, or one for each model in the models' order, all of the same
        clip: their masks, maps and classes are then shown, and nothing is searched.
    models: a mapping from names to models, or one model. target: the true class, where it is known.
    title: what stands above; the true class by default. recipe: the loss by which masks are found and the best
        window is named. search: further arguments of `explain` (about, layer, weights, stop), for a bare clip.

    Every window is scored: T(T+1) forward passes a model. ValueError for what does not fit together.
    """
    return collect(clip, models, target, title=title, recipe=recipe, fps=fps, **search)[0]


def page_script() -> str:
    """The style and the script that the explorers of a page share, as HTML to be put there once.

    Put twice it does no harm. It defines `window.interpExplorer` with mount(element, data), scan(root) and
    order(mask, perturbation), and mounts every placeholder of `mount_html` as it comes into view.
    """
    body, exports = source().rsplit("export default", 1)
    names = exports.strip().rstrip(";")
    script = f"""(() => {{
if (!window.interpExplorer) {{
{_short(body)}
window.interpExplorer = {names};
}}
const scan = () => window.interpExplorer.scan();
scan();
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", scan);
}})();"""
    return f"<style>{_short(style())}</style><script>{script}</script>"


def mount_html(data: Mapping, id: str) -> str:
    """The place of one explorer in a page, with its data inside; `page_script` fills it when it is seen.

    id: unique on its page. Readers without scripts get the sentences of `describe`.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", id):
        raise ValueError(f"id: expected a letter, then letters, digits, - and _, got {id!r}")
    words = " ".join(escape(model["words"]) for model in data["models"])
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (f'<div class="interp-explorer" id="{id}" data-interp-explorer="{id}-data"><noscript><p>{words}</p>'
            f'</noscript></div><script type="application/json" id="{id}-data">{content}</script>')


class Explorer:
    """A clip to paint masks on; shown by a notebook, live where there is a kernel, and on a static page.

    Arguments as in `explorer_data`. `data` is what a page holds, `explanations` has one a model, and `windows` the
    WindowResult of each (perturbation, model's name). On a live page `widget.mask` and `widget.perturbation` are
    those on the screen and may be set; `widget.answer` holds their scores.
    """

    def __init__(self, clip, models, target: int | None = None, *, title: str | None = None,
                 recipe: MaskRecipe | None = None, fps: float = 6, **search):
        self.models = checked_models(models)
        found = collect(clip, self.models, target, title=title, recipe=recipe, fps=fps, **search)
        self.data: dict = found[0]
        self.explanations: list[Explanation] = found[1]
        self.windows: dict = found[2]
        self._live = None

    @property
    def widget(self):
        """The live widget (an `anywidget.AnyWidget`), made at the first call; ImportError without anywidget."""
        if self._live is None:
            from interp.widgets_live import LiveExplorer

            self._live = LiveExplorer(self)
        return self._live

    def to_html(self, script: bool = True) -> str:
        """The static form, whole in itself; script=False where the page has `page_script` already."""
        return mount_html(self.data, f"explorer-{uuid.uuid4().hex[:12]}") + (page_script() if script else "")

    def _repr_mimebundle_(self, **options) -> dict | tuple[dict, dict]:
        words = " ".join(model["words"] for model in self.data["models"])
        forms = {"text/plain": f"Explorer: {self.data['title']}. {words}", "text/html": self.to_html()}
        try:
            live = self.widget._repr_mimebundle_(**options)
        except ImportError:  # without anywidget there is the static form
            return forms
        bundle, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**bundle, **forms}, metadata


def _short(text: str) -> str:
    """Source without indentation, empty lines and lines of comment."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/*")))
