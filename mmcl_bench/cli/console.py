"""What the verbs write: tables and live progress for people, JSON for programs."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from mmcl_bench.datasets.store import SkeletonDataset

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of a table.")]

_WANTS_PLAIN = ContextVar("wants_plain", default=False)
_PLAIN = str.maketrans("–−·…", "--|~")
"""Signs of this program and of rich, and what stands for them where they cannot be shown; one letter for one, so that
columns stay below one another."""


def print_on_any_console() -> None:
    """Lets whatever is printed be printed: what the encoding of a console or a pipe lacks is written as an escape."""
    codecs.register_error("mmcl-bench", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mmcl-bench")
    # For processes that are started; they are given the streams of this one.
    encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.translate(_PLAIN).encode("ascii", "backslashreplace").decode(), error.end


def show(table: RenderableType, spare: Collection[str] = ()) -> None:
    """Prints a rich table or text on standard output; brackets are shown, as in ``mmcl[preset=paper]``.

    A table fits the terminal, see :func:`.fitting.fitted`, where ``spare`` columns may be left out. Where standard
    output is none, or with ``--plain``, it is plain columns.
    """
    from rich.console import Console
    from rich.table import Table

    from mmcl_bench.cli import fitting

    console = Console(markup=False)
    wants_plain = not console.is_terminal or _WANTS_PLAIN.get()
    if not isinstance(table, Table):
        console.print(table, highlight=False, soft_wrap=wants_plain)
    elif wants_plain:
        sys.stdout.writelines(f"{line}\n" for line in fitting.plain(table))
    else:
        console.print(fitting.fitted(table, console.width, spare), highlight=False)


def use_plain_tables(wanted: bool) -> None:
    """Sets whether tables are plain columns on a terminal as well."""
    _WANTS_PLAIN.set(wanted)


def show_json(value: object) -> None:
    """Prints a value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def status(what: str) -> Iterator[None]:
    """Shows on standard error that something is under way, where that is a terminal."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(what), spinner="line"):
        yield


@contextmanager
def progress(label: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields what takes (done, total); shows a bar with rate and time left on standard error once there is work.

    ``what`` is what is counted, such as clips. Nothing is shown where standard error is no terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.{0 if speed >= 10 else 1}f} {what}/s")

    console = Console(stderr=True)
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    # Standard output is left alone: it may be a file while standard error is a terminal.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False
    ) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def opened(name: str, data_root: Path) -> SkeletonDataset:
    """A prepared data set, or the embedded one, which is made on first use under a bar."""
    from mmcl_bench.datasets.prepare import open_dataset

    with progress(f"generating {name}", "clips") as advance:
        return open_dataset(name, data_root, advance)
