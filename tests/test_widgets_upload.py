"""An uploaded file is explained; for a file that is not a video the reason is shown, escaped."""

from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from reading import Reader
from test_figures import explanation

from interp import recipes
from interp.show import figure
from interp.widgets import Upload


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
    recipe = recipes.MaskRecipe("short", 0.01, 0.02, iterations=2)
    return Upload({"<Net>": Net()}, example=[explanation()], recipe=recipe, layer="look")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    pytest.importorskip("av")
    frames = np.full((8, 32, 32, 3), 0, np.uint8) + np.arange(0, 240, 30, dtype=np.uint8)[:, None, None, None]
    return figure.write(tmp_path_factory.mktemp("films") / "a.mp4", frames).read_bytes()


def test_a_video_is_explained_and_the_button_can_be_used_again(upload, content):
    pytest.importorskip("ipywidgets")
    assert "Choose a video file" in upload.widget.children[1].value
    upload.button.value = ({"name": "my <film>.mp4", "type": "video/mp4", "size": len(content),
                            "content": memoryview(content), "last_modified": datetime.now(timezone.utc)},)
    page = Reader(upload.output.value)
    (image,) = page.all("img")
    assert page.open == [] and image["src"].startswith("data:image/webp") and not upload.button.disabled
    assert "<Net> guesses 'class" in image["alt"] and "of 8" in image["alt"]
    upload._uploaded({"new": ({"name": "b.mp4", "content": memoryview(b"x")},)})
    assert 'role="alert"' in upload.output.value and not upload.button.disabled


@pytest.mark.parametrize("content", [b"", b"no moving pictures"])
def test_a_file_that_is_not_a_video_gives_the_reason(upload, content):
    html = upload.explain_file("my <b>film.mp4", content)
    assert html.startswith('<p role="alert"><strong>my &lt;b&gt;film.mp4</strong>: ')
    assert "<b>" not in html and "/tmp" not in html


def test_both_forms_are_in_one_output(upload):
    pytest.importorskip("ipywidgets")
    forms = upload._repr_mimebundle_()
    forms = forms[0] if isinstance(forms, tuple) else forms
    assert "application/vnd.jupyter.widget-view+json" in forms
    page = Reader(forms["text/html"])
    assert page.open == [] and len(page.all("img")) == 1
    assert any("A page has no kernel" in text for text in page.text)
    assert "here: choose a video file" in Upload({"a": Net()}).to_html()
    with pytest.raises(ValueError, match="expected a torch.nn.Module"):
        Upload({})
