"""The command line: ``python -m interp data | train | explain | record | check``.

A command is a module with HELP, add_arguments(parser) and run(args) -> exit code. Exit codes: 0 done; 1 stopped on
the way (disk full, loss not finite); 2 a mistake in the command or a bad file, in one line on stderr; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "main", "parser"]

COMMANDS = ("data", "train", "explain", "record", "check")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        """Report a mistake in one line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser; only the modules of `commands` are imported, since some wait for torch."""
    top = _Parser(prog="python -m interp", description="See when and where a video network looks.")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name in commands:
        module = importlib.import_module(f"interp.cli.{name}")
        command = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. SystemExit on --help and on wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    args = parser(commands).parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has ended, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(f"interp {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return code


def _exit_code(error: Exception) -> int | None:
    """2 for a user's mistake, 1 for what stops a run, None for a bug, which keeps its traceback."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ValueError | FileNotFoundError | NotADirectoryError) or "VideoError" in names:
        return 2
    return 1 if isinstance(error, OSError) or "TrainingError" in names else None
