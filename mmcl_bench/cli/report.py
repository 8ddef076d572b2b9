"""``mmcl-bench report``: tables, figures and a page from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench import paths


def report(
    results: Annotated[
        Path | None, typer.Option("--results", envvar=paths.RESULTS_VARIABLE, help="Folder of results.")
    ] = None,
    reports: Annotated[Path, typer.Option("--reports", help="Folder to write to.")] = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Make the leaderboards, the figures and one self-contained page."""
    from rich.console import Console

    from mmcl_bench.report.page import build_report

    with Console(stderr=True).status("drawing tables and figures"):
        summary = build_report(paths.results_root(results), reports)
    for folder in summary.damaged:
        typer.echo(f"{folder}: damaged, left out; run its job again with --fresh", err=True)
    if as_json:
        import json

        written = {
            "page": str(summary.page),
            "leaderboards": list(map(str, summary.leaderboards)),
            "figures": list(map(str, summary.figures)),
            "jobs": summary.n_jobs,
            "limited": summary.n_limited,
            "damaged": list(map(str, summary.damaged)),
        }
        typer.echo(json.dumps(written, indent=1))
        return
    for path in (summary.page, *summary.leaderboards):
        typer.echo(path)
    typer.echo(f"{reports / 'figures'}: {len(summary.figures)} files")
    left_out = f", {summary.n_limited} smoke runs with --limit left out" if summary.n_limited else ""
    typer.echo(f"from {summary.n_jobs} jobs{left_out}")
