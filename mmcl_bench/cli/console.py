"""What the verbs write: tables and live progress for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of a table.")]


def show(table: RenderableType) -> None:
    """Prints a rich table or text on standard output; brackets are shown, as in ``mmcl[preset=paper]``."""
    from rich.console import Console

    Console(markup=False).print(table)


def show_json(value: object) -> None:
    """Prints a value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def status(what: str) -> Iterator[None]:
    """Shows on standard error that something is under way, where that is a terminal."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(what)):
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
            return Text("" if speed is None else f"{speed:,.0f} {what}/s")

    console = Console(stderr=True)
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
