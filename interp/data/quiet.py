"""Keeps a C library off the terminal: what it writes to stderr by itself is dropped while it is being called.

Source: this project's own. decord reports each damaged file there, besides raising an error; the user gets
the error.

>>> from interp.data.quiet import quiet
>>> with quiet():
...     pass                      # nothing that C code writes to stderr is seen
"""

import contextlib
import os
import queue
import sys
import threading

_lock = threading.Lock()
_state = {"inside": 0, "round": 0, "saved": None}


@contextlib.contextmanager
def quiet():
    """Sends file descriptor 2 to nowhere. Threads share it: the last one to leave brings it back."""
    with _lock:
        if _state["inside"] == 0:
            _hide()
        _state["inside"] += 1
        mine = _state["round"]
    try:
        yield
    finally:
        with _lock:
            if mine == _state["round"]:  # else speak_again has brought it back already
                _state["inside"] -= 1
                if _state["inside"] == 0:
                    _show()


def speak_again():
    """Brings stderr back at once, for when a thread inside `quiet` does not come back."""
    with _lock:
        if _state["inside"]:
            _state["inside"], _state["round"] = 0, _state["round"] + 1
            _show()


def _hide():
    try:
        saved = os.dup(2)
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _state["saved"] = saved


def _show():
    saved, _state["saved"] = _state["saved"], None
    if saved is not None:
        os.dup2(saved, 2)
        os.close(saved)


def within(timeout, work):
    """work(), in a thread of its own; TimeoutError after `timeout` seconds, and the thread is left behind.

    A call into C cannot be stopped from outside: a thread that never returns costs its memory until the end.
    """
    results = queue.SimpleQueue()
    # Here and not in the thread: Jupyter's stderr opens a socket for every thread that flushes it, and keeps it.
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr, or one that is closed
        sys.stderr.flush()

    def run():
        try:
            results.put((work(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True, name="decode").start()
    try:
        value, error = results.get(timeout=timeout)
    except queue.Empty:
        speak_again()
        raise TimeoutError(f"no result after {timeout:g} s") from None
    if error is not None:
        raise error
    return value
