"""``mmcl-bench baseline``: which figures the regression gate holds others to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.comparing.baseline import Baseline, Row

DEFAULT = Path("results") / "baseline.json"
_HEADS = ("task", "method", "metric", "seeds", "clips", "figure", "spread", "tolerance", "judged by")

app = typer.Typer(help="The figures that mmcl-bench check holds later ones to.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The figures that mmcl-bench check holds later ones to."""


@app.command()
def accept(
    task: Annotated[
        str, typer.Option(help="Only tasks like this, such as 'zero-shot/*'; other rows of the baseline stay.")
    ] = "*",
    output: Annotated[Path, typer.Option(help="The baseline to write.", dir_okay=False)] = DEFAULT,
    reruns: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results of the same seeds run elsewhere (another machine, or other threads): measures how "
            "far a rerun moves, which is mostly less than another seed does.",
            file_okay=False,
        ),
    ] = None,
    allow_drop: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Accept falls below the present baseline, and write down why."),
    ] = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Take jobs that ran from a checkout with uncommitted changes.")
    ] = False,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Write the figures of stored jobs to a baseline; a row that is there already is replaced.

    Jobs of one seed, or of a changed checkout, are skipped and named.
    """
    if allow_drop is not None and not allow_drop.strip():
        raise UserError("--allow-drop needs a reason in words, which the baseline keeps")

    from mmcl_bench.comparing.baseline import Baseline, rows_of, with_reruns
    from mmcl_bench.comparing.gate import accepted, current_rows
    from mmcl_bench.results.store import require_results

    skipped: list[str] = []
    with status("reading results"):
        rows = rows_of(require_results(paths.results_root(results)), task, allow_dirty, skipped.append)
        if reruns is not None:
            again = current_rows(rows, require_results(reruns))
            rows = [with_reruns(row, again[row.key]) if row.key in again else row for row in rows]
        before = Baseline.read(output) if output.exists() else Baseline(rows=())
        baseline = accepted(before, rows, allow_drop)
    baseline.write(output)
    for why in skipped:
        typer.echo(f"skipped: {why}", err=True)
    if as_json:
        show_json([row.model_dump(mode="json", exclude={"seeds"}) for row in rows])
        return
    show(_table(baseline, rows))
    left_out = f", {len(skipped)} skipped" if skipped else ""
    written = f"{len(rows)} of {counted(len(baseline.rows), 'row')} written to {output}{left_out}"
    typer.echo(
        f"{written}; mmcl-bench check holds to them",
        err=True,
    )


def _table(baseline: Baseline, rows: list[Row]) -> Table:
    """The rows that were accepted, and what a check with as many seeds can see."""
    from rich.table import Table

    from mmcl_bench.comparing.gate import FALSE_ALARMS, basis_of, noises, standard_error, tolerance
    from mmcl_bench.results.groups import metric_title

    noise_of = noises(baseline.rows)
    level = FALSE_ALARMS / max(1, sum(not row.repeatable for row in baseline.rows))
    table = Table(title="accepted, in percent; a check of all seeds fails where a figure falls by more than tolerance")
    for head in _HEADS:
        table.add_column(head, justify="left" if head in _HEADS[:3] else "right")
    for row in rows:
        basis = basis_of(row, [seed.seed for seed in row.seeds])
        error, freedom = standard_error(row, noise_of[row.key], basis, len(row.seeds))
        shares = (row.figure, row.deviation, tolerance(error, freedom, row.n, level, basis))
        figure, spread, allowed = (f"{100 * share:.1f}" for share in shares)
        cells = (str(len(row.seeds)), str(row.n), figure, spread, allowed, basis)
        table.add_row(row.task, row.label, metric_title(row.metric), *cells)
    return table
