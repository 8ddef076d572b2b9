"""``mmcl-bench data audit``: what is wrong with a prepared set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli.console import AsJson, opened, progress, show, show_json
from mmcl_bench.cli.data.listing import Name
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.datasets.audit import Audit
    from mmcl_bench.datasets.audit.checks import Finding


def audit(
    name: Name,
    page: Annotated[
        Path | None, typer.Option(help="Write everything that was found as an HTML page to this file.", dir_okay=False)
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 when there is an error or a warning.")
    ] = False,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Look for faults in a prepared data set: duplicates, lost tracking, jumps, odd lengths, missing classes.

    Nothing is changed, and what is found is no reason to refuse the set: it shows what figures on it are worth.
    """
    from mmcl_bench.datasets.audit import Severity
    from mmcl_bench.datasets.audit import audit as look
    from mmcl_bench.datasets.audit.page import write_page

    dataset = opened(name, paths.data_root(data_root))
    with progress(f"auditing {name}", "clips") as advance:
        found = look(dataset, advance)
    if as_json:
        show_json(found.as_json())
    else:
        show(_table(found))
    if page is not None:
        write_page(found, page)
        typer.echo(page, err=as_json)
    if strict and (found.tally[Severity.ERROR] or found.tally[Severity.WARNING]):
        raise typer.Exit(1)


def _table(found: Audit) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    tally = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in found.tally.items())
    table = Table(title=Text(f"{found.card.title}: {tally}"), box=box.SIMPLE, show_header=False, show_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=24)
    table.add_column(overflow="fold")
    for finding in found.findings:
        severity = str(finding.check.severity)
        what = Text.assemble(finding.title, "\n", (_first_of(finding), "dim"))
        table.add_row(Text(severity, style=colours[severity]), finding.figure, what)
    return table


def _first_of(finding: Finding) -> str:
    """The first example, and how many more there are."""
    first, more = finding.examples[0], len(finding.examples) - 1
    shown = f"{first.name}: {first.detail}" if first.detail else first.name
    return f"{shown} (and {more:,} more)" if more else shown
