"""What all tests share: figures without a screen, and no more threads than the machine has to give."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")  # before matplotlib is imported anywhere
