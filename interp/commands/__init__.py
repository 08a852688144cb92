"""The commands of ``python -m interp``, one module each: HELP, add_arguments(parser) and run(args) -> exit
code.

Source: this project's own. No tensor axes. ``__main__`` imports a command only when it is the one asked for.

>>> NAMES
('data', 'train', 'explain', 'record', 'check')
"""

NAMES = ("data", "train", "explain", "record", "check")
