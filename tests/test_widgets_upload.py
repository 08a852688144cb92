"""An uploaded file is explained; what is no video is told in escaped words; a page without a kernel says so."""

from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from reading import Reader
from test_figures import record

from interp import films, recipes
from interp.widgets_upload import Upload


class Net(torch.nn.Module):
    """Two classes: whether the picture gets lighter."""

    config = {"num_frames": 8, "size": (16, 16)}

    def __init__(self):
        super().__init__()
        self.look = torch.nn.Conv3d(3, 2, 1)

    def forward(self, clips):
        maps = self.look(clips)
        return maps[:, :, -1].mean((2, 3)) - maps[:, :, 0].mean((2, 3))


@pytest.fixture(scope="module")
def upload():
    torch.manual_seed(0)
    steps = {"recipe": recipes.MaskRecipe("short", 0.01, 0.02, iterations=2), "layer": "look"}
    return Upload({"<Net>": Net()}, examples=[record()], **steps)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    pytest.importorskip("av")
    frames = np.full((8, 32, 32, 3), 0, np.uint8) + np.arange(0, 240, 30, dtype=np.uint8)[:, None, None, None]
    return films.write(tmp_path_factory.mktemp("films") / "a.mp4", frames).read_bytes()


def test_a_video_is_explained(upload, content):
    page = Reader(upload.answer("my <film>.mp4", content))
    (image,) = page.all("img")
    assert page.open == [] and image["src"].startswith("data:image/webp")
    assert "<Net> guesses 'class" in image["alt"] and "of 8" in image["alt"]


@pytest.mark.parametrize("content", [b"", b"no moving pictures"])
def test_what_is_no_video_is_told_in_words(upload, content):
    html = upload.answer("my <b>film.mp4", content)
    assert html.startswith('<p role="alert"><strong>my &lt;b&gt;film.mp4</strong>: ')
    assert "<b>" not in html and "/tmp" not in html


def test_the_button_shows_what_is_found_and_can_be_used_again(upload, content):
    pytest.importorskip("ipywidgets")
    assert "Choose a video file" in upload.widget.children[1].value
    upload.button.value = ({"name": "a.mp4", "type": "video/mp4", "size": len(content), "content": memoryview(content),
                            "last_modified": datetime.now(timezone.utc)},)  # fmt: skip
    assert "<Net> guesses" in Reader(upload.shown.value).all("img")[0]["alt"] and not upload.button.disabled
    upload._chosen({"new": ({"name": "b.mp4", "content": memoryview(b"x")},)})
    assert 'role="alert"' in upload.shown.value and not upload.button.disabled


def test_both_forms_are_in_one_output(upload):
    pytest.importorskip("ipywidgets")
    forms = upload._repr_mimebundle_()
    forms = forms[0] if isinstance(forms, tuple) else forms
    assert "application/vnd.jupyter.widget-view+json" in forms
    page = Reader(forms["text/html"])
    assert page.open == [] and len(page.all("img")) == 1
    assert any("A page has no kernel" in text for text in page.text)
    assert "here: choose a video file" in Upload({"a": Net()}).static()
    with pytest.raises(ValueError, match="expected a mapping"):
        Upload({})
