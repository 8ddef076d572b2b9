"""``mmcl-bench report``: tables, figures and a page from stored results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, progress, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.text import counted


class Figures(StrEnum):
    """Which figures are written as PNG and PDF."""

    AUTO = "auto"
    ALL = "all"
    TASKS = "tasks"
    NONE = "none"


def report(
    results: options.Results = None,
    reports: Annotated[Path, typer.Option("--reports", help="Folder to write to.", file_okay=False)] = Path("reports"),
    figures: Annotated[
        Figures,
        typer.Option(
            help="Figures that are written as PNG and PDF, beside those on the page: all, those of tasks that compare "
            "methods, or none. auto: all of a report with up to 60 rows, else those of tasks."
        ),
    ] = Figures.AUTO,
    columns: Annotated[
        str,
        typer.Option(
            help="Columns of the LaTeX tables by their heads, in this order, such as 'Method,ZSL top-1,H'. "
            "By default those that fit a paper.",
            metavar="HEAD,HEAD",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make the leaderboards, the figures and one self-contained page."""
    with status("reading results"):
        from mmcl_bench.report.page import build_report

        root = paths.results_root(results)
    with progress("drawing figures", "figures") as advance:
        summary = build_report(root, reports, figures.value, advance, options.names(columns))
    for folder in summary.damaged:
        typer.echo(f"{folder}: damaged, left out; run its job again with --fresh", err=True)
    if as_json:
        show_json(
            {
                "page": str(summary.page),
                "leaderboards": list(map(str, summary.leaderboards)),
                "tables": list(map(str, summary.tables)),
                "figures": list(map(str, summary.figures)),
                "figures_on_page": summary.n_page_figures,
                "jobs": summary.n_jobs,
                "limited": summary.n_limited,
                "older": summary.n_older,
                "damaged": list(map(str, summary.damaged)),
            }
        )
        return
    for path in (summary.page, *summary.leaderboards):
        typer.echo(path)
    typer.echo(f"{reports / 'tables'}: {counted(len(summary.tables), 'file')}")
    of_page = f"{counted(summary.n_page_figures, 'figure')} on the page"
    files = f"{counted(len(summary.figures), 'file')} of the " if summary.figures else "no files, "
    typer.echo(f"{reports / 'figures'}: {files}{of_page}")
    left_out = f", {counted(summary.n_limited, 'smoke run')} with --limit left out" if summary.n_limited else ""
    left_out += f", {summary.n_older} of older versions left out" if summary.n_older else ""
    typer.echo(f"from {counted(summary.n_jobs, 'job')}{left_out}")
