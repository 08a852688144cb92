"""``python -m interp data | train | explain | record | check``: makes data, trains, explains, gathers, checks.

Source: this project's own. No tensor axes. Exit codes: 0 done; 1 stopped on the way (disk full, loss not
finite); 2 a mistake in what was asked for or given, told in one line on stderr; 130 interrupted.

>>> main(["train", "--help"])                                            # doctest: +SKIP
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from interp.commands import NAMES


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line; the usage is a --help away."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(commands: Sequence[str] = NAMES) -> argparse.ArgumentParser:
    """The command line's parser; only ``commands`` are imported and know their arguments."""
    top = _Parser(prog="python -m interp", description="See when and where two video networks look.")
    rooms = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name in commands:
        room = importlib.import_module(f"interp.commands.{name}")
        sub = rooms.add_parser(name, help=room.HELP, description=room.HELP)
        room.add_arguments(sub)
        sub.set_defaults(run=room.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Raises SystemExit on --help and on a wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [arguments[0]] if arguments and arguments[0] in NAMES else NAMES
    args = parser(wanted).parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        print(f"interp {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return code


def _code(error: Exception) -> int | None:
    """2 for a user's mistake, 1 for what stops a run, None for a mistake of ours, which is traced."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ValueError | FileNotFoundError | NotADirectoryError) or "VideoError" in names:
        return 2
    return 1 if isinstance(error, OSError) or "TrainingError" in names else None


if __name__ == "__main__":
    sys.exit(main())
