"""``mmcl-bench data``: preparing data sets and looking at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcl_bench import paths

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.skeleton.prepare import Summary
    from mmcl_bench.skeleton.readers import Reader

app = typer.Typer(help="Prepare data sets and look at them.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the data set, as in [bold]mmcl-bench data list[/bold].")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        envvar=paths.DATA_ROOT_VARIABLE,
        help="Folder of prepared data sets; the user's data folder when not given.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of a table.")]


@app.command()
def prepare(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option(
            help="The zip as published, or the folder unpacked from it; "
            "when not given, NAME.zip in the folder that MMCL_BENCH_SOURCES names. Generated sets need none."
        ),
    ] = None,
    data_root: DataRoot = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out clips that cannot be used, and say which, instead of stopping."),
    ] = False,
) -> None:
    """Read a published data set, check every clip, and write it in the form that all tasks use.

    A set that is prepared already is replaced once the new one is whole.
    """
    from mmcl_bench.skeleton import prepare as preparing

    with _progress(f"preparing {name}") as advance:
        dataset = preparing.prepare(name, source, paths.data_root(data_root), skip_bad, advance)
    _print(_summary_table(preparing.summary(dataset)))
    for file, reason in dataset.card.skipped.items():
        typer.echo(f"left out: {file} {reason}", err=True)


@app.command("list")
def list_datasets(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Show every data set that can be prepared, and which are."""
    from mmcl_bench.skeleton.readers import READERS

    root = paths.data_root(data_root)
    rows = [_listed(READERS.get(name), root) for name in READERS.names()]
    if as_json:
        _print_json(rows)
    else:
        _print(_list_table(rows))


@app.command()
def info(name: Name, data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Show what a prepared data set holds: clips, classes, frames, duplicates across its sides, fingerprint."""
    from mmcl_bench.skeleton import prepare as preparing

    with _progress(f"generating {name}") as advance:
        dataset = preparing.open_dataset(name, paths.data_root(data_root), advance)
    figures = preparing.summary(dataset)
    if as_json:
        card = dataset.card
        facts = {"skipped_files": card.skipped, "homepage": card.homepage, "citation": card.citation}
        _print_json({**figures, **facts})
    else:
        _print(_summary_table(figures))


def _listed(reader: type[Reader], root: Path) -> dict[str, Any]:
    from mmcl_bench.errors import UserError
    from mmcl_bench.skeleton.store import CARD, SkeletonDataset

    clips, state = None, "made on first use" if reader.embedded else "not prepared"
    if (root / reader.name / CARD).is_file():
        try:
            clips, state = SkeletonDataset.open(root / reader.name).card.n_clips, "prepared"
        except UserError:
            state = "prepare again"
    return {
        "name": reader.name,
        "title": reader.title,
        "state": state,
        "prepared": clips is not None,
        "clips": clips,
        "embedded": reader.embedded,
        "synthetic": reader.synthetic,
        "modalities": [str(modality) for modality in reader.modalities],
    }


def _list_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("name", "title", "clips", "state", "data", "modalities")
    for row in rows:
        clips = "" if row["clips"] is None else str(row["clips"])
        table.add_row(
            row["name"], row["title"], clips, row["state"], _kind(row["synthetic"]), ", ".join(row["modalities"])
        )
    return table


def _kind(synthetic: bool) -> str:
    return "synthetic" if synthetic else "recorded"


def _summary_table(figures: Summary) -> Table:
    from rich.table import Table

    frames = figures["frames"]
    table = Table(title=figures["title"], show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("data", _kind(figures["synthetic"]))
    table.add_row("clips", f"{figures['clips']} ({figures['skipped']} left out)")
    table.add_row("classes", str(figures["classes"]))
    table.add_row("subjects", str(figures["subjects"]))
    table.add_row("frames", f"{frames['min']} to {frames['max']}, median {frames['median']:g}")
    table.add_row("bodies", ", ".join(f"{clips} clips with {n}" for n, clips in figures["bodies"].items()))
    table.add_row("joints", f"{figures['joints']} ({figures['layout']})")
    table.add_row("modalities", ", ".join(figures["modalities"]))
    for side, clips in figures["duplicates"].items():
        table.add_row(f"test clips of {side} also in training", str(clips))
    table.add_row("fingerprint", figures["fingerprint"])
    return table


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yields what takes (done, total) and shows a bar on standard error, where a person sees it, once there is work."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
