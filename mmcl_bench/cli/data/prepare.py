"""``mmcl-bench data prepare``: from published files to a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench.cli.console import AsJson, progress, show, show_json
from mmcl_bench.cli.data.listing import Name, described, summary_table
from mmcl_bench.cli.options import DataRoot, SkipBad, key_values
from mmcl_bench.core import paths


def prepare(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option(
            help="The file as published, or the folder unpacked from it; "
            "when not given, NAME.zip or the file under its owner's name, in the folder that MMCL_BENCH_SOURCES "
            "names. Generated sets need none."
        ),
    ] = None,
    prepared_as: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Call the prepared set so; its reader's name otherwise.")
    ] = None,
    data_root: DataRoot = None,
    skip_bad: SkipBad = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the reader, as key=value. Repeatable.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read; by default one a core, eight at most. Any number gives the same.", min=1
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a published data set, check every clip, and write it in the form that all tasks use.

    Stopped or killed, the same command goes on where it was. A prepared set is replaced once the new one is whole.
    """
    from mmcl_bench.datasets import prepare as preparing

    chosen = key_values("--set", settings)
    with progress(f"preparing {prepared_as or name}", "units") as advance:
        dataset = preparing.prepare(
            name, source, paths.data_root(data_root), skip_bad, advance, workers, prepared_as, chosen
        )
    found = dataset.card.completeness
    if found is not None and not found.is_whole:
        details = f"; {found.details}" if found.details else ""
        typer.echo(f"incomplete: {dataset.card.name} has {found}{details}", err=True)
    if as_json:
        show_json(described(dataset))
        return
    show(summary_table(preparing.summary(dataset)))
    for file, reason in dataset.card.skipped.items():
        typer.echo(f"left out: {file} {reason}", err=True)
