"""``mmcl-bench compare``: how far one method, job, file or leaderboard is ahead of another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, progress, show, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.comparing.records import Side

_RESAMPLES = 10_000


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A method, such as mmcl or 'mmcl\\[preset=paper,backbone=hd-gcn]'; a job, by its folder or the start "
            "of its hash; a file of scores; a leaderboard of a report, or REVISION:PATH of one in git.",
        ),
    ],
    b: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="B", help="What A is compared with, one or more, named likewise; not needed with --revision."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Tasks to compare on, a glob such as 'zero-shot/*'; for a file of scores, its one task."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Compare the leaderboard A with what it was at this git revision.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Compare by this metric instead of each task's main one, such as gzsl_h.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Print every sample on which the two say different things.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = _RESAMPLES,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Also write a csv of the differences; with --samples, of the samples that changed.", dir_okay=False
        ),
    ] = None,
    add: Annotated[
        bool,
        typer.Option("--add", help="Keep what other commands wrote to --output; without it, the file is replaced."),
    ] = False,
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Say how far A is ahead of B: differences with intervals, p-values, wins and losses, samples that changed."""
    if bool(b) == (revision is not None):
        raise UserError("give B, what A is compared with, or --revision for a leaderboard of before; not both")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it, or choose another --output")
    if add and (output is None or samples):
        raise UserError("--add is about the differences in --output: give it, and leave out --samples")
    others = list(dict.fromkeys(b or [f"{revision}:{a}"]))
    several = len(others) > 1
    if samples and several:
        raise UserError("samples are shown of one comparison at a time; name one B, or leave out --samples")
    root, pattern = paths.results_root(results), task or "*"

    from mmcl_bench.comparing.paired import adjust_together, require_shared
    from mmcl_bench.comparing.paired import compare as compared
    from mmcl_bench.comparing.records import Leaderboard
    from mmcl_bench.comparing.rows import change_rows, csv_rows, record_of, rows_of_other_commands, write_csv
    from mmcl_bench.comparing.sides import find_side
    from mmcl_bench.comparing.tables import table_of_several, tables_of
    from mmcl_bench.running.foreign import entry_of_scores

    command = _command(a, [] if revision else others, task, revision, metric, resamples)
    kept = rows_of_other_commands(output, command) if output is not None and add else []
    foreign = partial(entry_of_scores, task=pattern, data_root=data_root)
    with status("reading what is compared"):
        ours = find_side(a, root, pattern, foreign)
        theirs = {
            name: find_side(name, root, pattern, foreign) if revision is None else _at(revision, a, task)
            for name in others
        }
    if several and any(isinstance(side, Leaderboard) for side in (ours, *theirs.values())):
        raise UserError("leaderboards are compared one at a time; name one B")
    for name, side in theirs.items():
        require_shared(ours, side, (a, name))
    made = []
    for name, side in theirs.items():
        with progress(f"comparing with {name}" if several else "comparing", "tasks") as advance:
            made.append(compared(ours, side, (a, name), metric, resamples, advance))
    found = dict(zip(others, adjust_together(made), strict=True))
    (first, *_) = found.values()
    if samples and first.unpaired:
        raise UserError("leaderboards have no scores, so no samples; leave out --samples")
    if samples and not first.tasks:
        (of_folds, *_) = first.folds
        raise UserError(
            f"{of_folds.task}: samples are shown of one fold at a time; add --task '*{of_folds.folds[0]}*', or leave "
            "out --samples"
        )
    if output is not None:
        write_csv(output, change_rows(first.tasks) if samples else [*kept, *csv_rows(found, a, command)])
    if as_json:
        records = [record_of(each, (a, name)) for name, each in found.items()]
        show_json({"a": a, "b": others, "comparisons": records} if several else records[0])
        return
    for table in [table_of_several(found)] if several else tables_of(first, (a, others[0]), samples):
        show(table)
    for name, each in found.items():
        for note in each.notes:
            typer.echo(f"{name}: {note}" if several else note, err=True)


def _command(
    a: str, others: Sequence[str], task: str | None, revision: str | None, metric: str | None, resamples: int
) -> str:
    """What makes the differences again, in a shell."""
    given = {"task": task, "revision": revision, "metric": metric}
    options = [part for name, value in given.items() if value is not None for part in (f"--{name}", value)]
    options += ["--resamples", str(resamples)] if resamples != _RESAMPLES else []
    return shlex.join(["mmcl-bench", "compare", a, *others, *options])


def _at(revision: str, path: str, task: str | None) -> Side:
    from mmcl_bench.comparing.sides import at_revision, filtered

    return filtered(at_revision(revision, Path(path)), task or "*")
