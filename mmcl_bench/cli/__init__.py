"""The command line. One file for each group of verbs; heavy packages are imported inside the verbs that use them."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from mmcl_bench.cli import (
    baseline,
    check,
    compare,
    data,
    export,
    features,
    fuse,
    info,
    listing,
    plan,
    predict,
    report,
    run,
    score,
)
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.version import __version__

INTERRUPTED = 130

app = typer.Typer(
    name="mmcl-bench",
    help="Evaluation benchmark suite for skeleton-based action recognition.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(plan.plan)
app.command()(run.run)
app.command()(fuse.fuse)
app.command()(info.info)
app.command()(report.report)
app.command()(compare.compare)
app.command()(check.check)
app.command()(score.score)
app.command()(predict.predict)
app.command()(export.export)
app.add_typer(baseline.app, name="baseline")
app.add_typer(data.app, name="data")
app.add_typer(features.app, name="features")
app.add_typer(listing.app, name="list")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Evaluation benchmark suite for skeleton-based action recognition."""


def main() -> None:
    """Runs the command line; a user's mistake becomes one line and exit code 2."""
    try:
        app()
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
