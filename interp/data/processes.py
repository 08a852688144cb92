"""Processes that draw clips, each with one thread of its own.

Source: this project's own. No tensor axes. Drawing multiplies many small matrices. Left alone, NumPy's library gives
each process a thread for every core; they wait for each other in busy loops, and two processes on two cores drew fewer
clips a second than one.

>>> with processes(2) as pool:  # doctest: +SKIP
...     lengths = list(pool.map(len, ["ab", "c"]))
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@contextmanager
def processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of `workers` new processes. The libraries read these variables as they load, so they are set while
    the processes start, and then put back."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
