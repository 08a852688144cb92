"""What all tests share: figures without a screen, and one way to a browser."""

import os

import pytest
from offline import chromium

os.environ.setdefault("MPLBACKEND", "Agg")  # before matplotlib is imported anywhere


@pytest.fixture(scope="module")
def browser():
    """Chromium with the network off; the test skips, and says so, where there is none."""
    with chromium() as running:
        yield running
