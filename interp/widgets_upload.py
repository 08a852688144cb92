"""A button that takes a video and shows what networks see in it; on a page without a kernel, what it would show.

Source of the figure: Mänttäri, Broomé et al., ACCV 2020. Frames are uint8 (T,H,W,3), a clip is (1,C,T,H,W) in [0,1].
The live form is ipywidgets' FileUpload; the static one is told by `static`.

    >>> models = {"I3D": interp.load("i3d"), "C-LSTM": interp.load("clstm")}
    >>> Upload(models, example="holiday.mp4", stop=True)  # the last value of a notebook's cell
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from torch import nn

from interp import data
from interp.explain import Explanation, clip_shape, explain
from interp.tables import figure_html

WORDS = ("In a notebook with a kernel a button stands here: choose a video file, and each network says what it shows, "
         "when and where it looked, as below. A page has no kernel, so this is what the button gives for {}.")
INVITE = ("Choose a video file (mp4, webm, avi, mkv, ...). It stays on the machine of the kernel. "
          "Some notebooks refuse files above 10 MB: give the path of such a file in the cell at the top.")


class Upload:
    """A button for a file, and below it the figures of the file that was chosen; shown by a notebook as it is.

    models: name -> network. example: the path of a video for the static page; examples: its Explanations where they
    are known already. options: further arguments of `interp.explain` (recipe, stop, start, perturbation, ...).
    """

    def __init__(self, models: Mapping[str, nn.Module], example=None, examples: Sequence[Explanation] | None = None,
                 **options):  # fmt: skip
        if not models or not isinstance(models, Mapping):
            raise ValueError(f'models: expected a mapping from names to networks, {{"I3D": i3d}}, got {models!r}')
        self.models, self.options = dict(models), options
        self.example, self.examples = example, examples
        self._live = None

    def answer(self, name: str, content: bytes) -> str:
        """What is shown for a file: a figure for each network, or, where it cannot be read, why; as HTML."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"video{Path(name).suffix[:10]}"  # a file's own name may be odd or too long
            path.write_bytes(content)
            try:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always", UserWarning)
                    records = self._explained(path, Path(name).stem)
            except ValueError as error:  # VideoError is one; its path is a passing one, so its reason is shown
                words = str(getattr(error, "reason", None) or error)
                return f'<p role="alert"><strong>{escape(name)}</strong>: {escape(words)}</p>'
        told = dict.fromkeys(str(one.message).replace(str(path), name) for one in said)
        return "".join(f"<p>{escape(words)}</p>" for words in told) + self._figures(records)

    def static(self) -> str:
        """The form for a page without a kernel: what the button does, and what it gives for the example; HTML."""
        if self.examples is None and self.example is None:
            return f"<p>{escape(WORDS.partition(', so')[0])}.</p>"
        records, name = self.examples, "the clip at the top of this page"
        if records is None:
            records, name = self._explained(Path(self.example), Path(self.example).stem), Path(self.example).name
        words = f'<p style="text-align:left">{escape(WORDS.format(name))}</p>'
        return f'<div class="interp-upload">{words}{self._figures(records)}</div>'

    @property
    def widget(self):
        """The live form, an ipywidgets.VBox, made at the first call; ImportError without ipywidgets."""
        if self._live is None:
            import ipywidgets

            self.button = ipywidgets.FileUpload(accept="video/*", multiple=False, description="Choose a video")
            self.button.tooltip = "a video file to explain"
            self.shown = ipywidgets.HTML(f"<p>{escape(INVITE)}</p>")
            self.button.observe(self._chosen, names="value")
            self._live = ipywidgets.VBox([self.button, self.shown])
        return self._live

    def _chosen(self, change: Mapping) -> None:
        for file in change["new"]:
            name, content = file["name"], bytes(file["content"])
            self.button.disabled, self.shown.value = True, f'<p role="status">Explaining {escape(name)} ...</p>'
            try:
                self.shown.value = self.answer(name, content)
            finally:
                self.button.disabled = False

    def _explained(self, path: Path, name: str) -> list[Explanation]:
        records = []
        for label, model in self.models.items():
            num_frames, *size = clip_shape(model)
            clip = data.to_clip(data.read_clip(path, num_frames, tuple(size)))[None]
            device = next((weight.device for weight in model.parameters()), "cpu")
            records += explain(model, clip.to(device), ids=[name], name=label, **self.options)
        return records

    def _figures(self, records: Sequence[Explanation]) -> str:
        return "".join(figure_html(record, min_width=128) for record in records)

    def _repr_mimebundle_(self, **options) -> dict | tuple[dict, dict]:
        forms = {"text/plain": "Upload: a button for a video file", "text/html": self.static()}
        try:
            live = self.widget._repr_mimebundle_(**options)
        except ImportError:
            return forms
        bundle, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**bundle, **forms}, metadata
