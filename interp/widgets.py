"""The widget `Explorer`, on which a reader paints masks over the frames of a clip."""

from interp.show.explorer import Explorer, page_script

__all__ = ["Explorer", "page_script"]
