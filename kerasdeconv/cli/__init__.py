"""The `kerasdeconv` command.

A mistake of the user's is one line on standard error and exit code 2; a fault of ours is a
traceback and exit code 1. `check` says no with exit code 1 too; Ctrl-C gives 130.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.main import get_command

from kerasdeconv.cli.app import app
from kerasdeconv.errors import KerasDeconvError
from kerasdeconv.quiet import quiet

__all__ = ["app", "main"]

_EXTRA = {
    "ai_edge_litert": "export",
    "flatbuffers": "export",
    "onnx": "export",
    "onnxruntime": "export",
    "tf2onnx": "export",
    "skimage": "demo",
}
# What a machine refuses, rather than what a program gets wrong.
_REFUSALS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
# Typer carries a Click of its own by now; this is the base of the usage errors of both.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Instead of the process's own.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments  # anywhere: it is typed after something went wrong
    arguments = [argument for argument in arguments if argument != "--debug"]
    with quiet(enabled=not debug):
        try:
            code = get_command(app).main(arguments, prog_name="kerasdeconv", standalone_mode=False)
            sys.stdout.flush()
        except BrokenPipeError:  # `kerasdeconv list | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (KeyboardInterrupt, typer.Abort):
            code = 130
        except Exception as error:
            line = message(error)
            if line is None:
                raise
            if debug:
                traceback.print_exc()
            print(f"kerasdeconv: {line}", file=sys.stderr)
            return 2
        if code == 130:
            print("kerasdeconv: interrupted", file=sys.stderr)
        return code if isinstance(code, int) else 0


def message(error: Exception) -> str | None:
    """Returns the line that tells a user of a mistake; None for a fault of ours."""
    text: str | None = None
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "kerasdeconv"
        text = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        text += f"{'' if text.endswith('?') else '.'} See '{path} --help'."
    elif isinstance(error, KerasDeconvError) or (
        isinstance(error, ValueError | TypeError) and _meant(error)
    ):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError) and error.name in _EXTRA:
        text = (
            f"This needs the package {error.name}: pip install 'kerasdeconv[{_EXTRA[error.name]}]'."
        )
    elif isinstance(error, OSError) and error.errno in _REFUSALS and error.filename:
        text = f"{error.strerror}. Received: {os.fspath(error.filename)!r}"
    return None if text is None else " ".join(text.split())


def _meant(error: Exception) -> bool:
    """Whether our code raised this about an argument: not a library's error, nor a slip."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    module = str(frame.f_globals.get("__name__", ""))
    return module.split(".", maxsplit=1)[0] == "kerasdeconv" and "Received: " in str(error)
