"""The command line: ``python -m interp data | train | inspect | explain | record | check``.

A command is a module with HELP, add_arguments(parser) and run(args) -> exit code. Exit codes: 0 done; 1 stopped on
the way (disk full, loss not finite); 2 a mistake in the command or a bad file, in one line on stderr; 130 interrupted.
"""

import argparse
import importlib
import os
import sys

COMMANDS = ("data", "train", "inspect", "explain", "record", "check")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        """Report a mistake in one line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. SystemExit on --help and on wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a file name may have characters that a terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    top = _Parser(prog="python -m interp", description="See when and where a video network looks.")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS:  # imports take time
        module = importlib.import_module(f"interp.cli.{name}")
        command = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = top.parse_args(arguments)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has ended, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        mistake = isinstance(error, ValueError | FileNotFoundError | NotADirectoryError | FileExistsError)
        if not mistake and not isinstance(error, OSError) and type(error).__name__ != "TrainingError":
            raise  # a bug keeps its traceback
        print(f"interp {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if mistake else 1
