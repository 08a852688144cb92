"""Studies of many clips: results folders, the shipped record, measures, claims and their tests, sanity checks."""

import importlib


def import_extra(name: str, extra: str = "results"):
    """Import a library of an extra, such as pandas of `results`; ValueError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"expected {name} to be installed ({error}); pip install 'interp[{extra}]'") from error
