"""The widgets: `Explorer`, on which a reader paints masks, and `Upload`, which explains a video file."""

from interp.show.explorer import Explorer, Upload, page_script

__all__ = ["Explorer", "Upload", "page_script"]
