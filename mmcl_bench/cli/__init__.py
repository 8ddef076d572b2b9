"""The command line. One file for each group of verbs; heavy packages are imported inside the verbs that use them."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmcl_bench.cli.completion import verb_being_completed
from mmcl_bench.cli.console import print_on_any_console, use_plain_tables
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.version import __version__

INTERRUPTED = 130
_VERBS = ("plan", "run", "fuse", "info", "report", "compare", "check", "score", "predict", "export")
"""A function of that name in the file of that name."""
_GROUPS = {"baseline": "baseline", "data": "data", "features": "features", "list": "listing"}
"""Groups of verbs, and the file or folder whose ``app`` holds them."""


_PLAIN = "--plain"


class _Verbs(TyperGroup):
    """Verbs to which ``~`` is the user's home folder in whatever is typed, also where the shell leaves it there: in
    ``--output=~/model.onnx``, between quotes, and on Windows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [_at_home(word) for word in args]
        if _PLAIN in words:  # may be typed anywhere
            words = [_PLAIN, *(word for word in words if word != _PLAIN)]
        return super().parse_args(ctx, words)


def _at_home(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + paths.at_home(value)


def command_line(verb: str | None = None) -> typer.Typer:
    """The command line, with one verb or group where that is one, else with all: each that is built takes time."""
    every = (*_VERBS, *_GROUPS)
    app = typer.Typer(
        name="mmcl-bench",
        cls=_Verbs,
        help="Evaluation benchmark suite for skeleton-based action recognition.",
        no_args_is_help=True,
        # Its options stand before verbs; beside a single one that is run they would only take time.
        add_completion=verb not in every or verb_being_completed() is not None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in (verb,) if verb in every else every:
        module = importlib.import_module(f"{__name__}.{_GROUPS.get(name, name)}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def __getattr__(name: str) -> Any:
    """``app``, the whole command line, is built when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return command_line()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
    plain: Annotated[
        bool, typer.Option(_PLAIN, help="Tables as plain columns also on a terminal, as they are when piped.")
    ] = False,
) -> None:
    """Evaluation benchmark suite for skeleton-based action recognition."""
    use_plain_tables(plain)


def main() -> None:
    """Runs the command line; a user's mistake becomes one line and exit code 2."""
    print_on_any_console()
    try:
        command_line(sys.argv[1] if len(sys.argv) > 1 else verb_being_completed())()
    except UserError as error:
        print(f"mmcl-bench: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has turned Ctrl-C into this
            print("mmcl-bench: stopped; the same command continues where it was", file=sys.stderr)
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = f" at {error.filename}" if error.filename else ""
            print(f"mmcl-bench: the disk is full{where}; make room, then the same command continues", file=sys.stderr)
        elif error.filename:
            print(
                f"mmcl-bench: {error.filename}: {error.strerror}; check the path and its permissions", file=sys.stderr
            )
        else:
            raise
        sys.exit(2)
