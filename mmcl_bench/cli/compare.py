"""``mmcl-bench compare``: how far one method, job, file or leaderboard is ahead of another."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, progress, show, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.comparing.records import Comparison, FoldsComparison, Side, TaskComparison

_SHOWN = 10
"""Changed samples that are printed without --samples."""


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
        str | None,
        typer.Argument(metavar="B", help="What A is compared with, named likewise; not needed with --revision."),
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
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 10_000,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Also write a csv of the differences; with --samples, of the samples that changed.", dir_okay=False
        ),
    ] = None,
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Say how far A is ahead of B: differences with intervals, p-values, wins and losses, samples that changed."""
    if (b is None) == (revision is None):
        raise UserError("give B, what A is compared with, or --revision for a leaderboard of before; not both")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it, or choose another --output")
    root, pattern = paths.results_root(results), task or "*"

    from mmcl_bench.comparing.paired import compare as compared
    from mmcl_bench.comparing.sides import find_side
    from mmcl_bench.running.foreign import entry_of_scores

    names = (a, b or f"{revision}:{a}")
    with status("reading what is compared"):
        sides: list[Side] = [
            find_side(name, root, pattern, partial(entry_of_scores, task=pattern, data_root=data_root))
            if at == 0 or revision is None
            else _at(revision, a, task)
            for at, name in enumerate(names)
        ]
    with progress("comparing", "tasks") as advance:
        found = compared(sides[0], sides[1], names, metric, resamples, advance)
    if samples and found.unpaired:
        raise UserError("leaderboards have no scores, so no samples; leave out --samples")
    if samples and not found.tasks:
        (first, *_) = found.folds
        raise UserError(
            f"{first.task}: samples are shown of one fold at a time; add --task '*{first.folds[0]}*', or leave out "
            "--samples"
        )
    if output is not None:
        _write_csv(output, _change_rows(found.tasks) if samples else _difference_rows(found))
    if as_json:
        show_json(_record(found, names))
        return
    for table in _tables(found, names, samples):
        show(table)
    for note in found.notes:
        typer.echo(note, err=True)


def _at(revision: str, path: str, task: str | None) -> Side:
    from mmcl_bench.comparing.sides import at_revision, filtered

    return filtered(at_revision(revision, Path(path)), task or "*")


def _tables(found: Comparison, names: tuple[str, str], samples: bool) -> Iterable[Table]:
    if found.unpaired:
        yield _unpaired_table(found, names)
        return
    if len(found.tasks) == 1:
        (only,) = found.tasks
        yield _metric_table(only, names)
        yield _class_table(only)
    elif found.tasks:
        yield _task_table(found, names)
    for of_folds in found.folds:
        yield _folds_table(of_folds, len(found.tasks) + len(found.folds))
    if samples or len(found.tasks) == 1:
        for each in found.tasks:
            if each.changes:
                yield _change_table(each, names, None if samples else _SHOWN)


def _table(title: str, notes: Iterable[str], heads: Sequence[str], left: int = 1) -> Table:
    """An empty table whose first ``left`` columns are words."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold"),
        caption=Text("\n".join(notes)),
        title_justify="left",
        caption_justify="left",
    )
    for at, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if at < left else "right", overflow="fold")
    return table


def _add(table: Table, cells: Iterable[str], bold: bool = False) -> None:
    from rich.text import Text

    table.add_row(*map(Text, cells), style="bold" if bold else None)


def _metric_table(task: TaskComparison, names: tuple[str, str]) -> Table:
    from mmcl_bench.report.tables import percent_value, signed_percent
    from mmcl_bench.results.groups import metric_title

    n_runs = task.main.paired.n_runs
    notes = [
        f"A: {task.a.label}",
        f"B: {task.b.label}",
        f"A - B in points, 95% bootstrap intervals over the {counted(task.n_samples, 'clip')} that both have"
        + _of_seeds(n_runs),
        "McNemar's test is about these fitted models on other clips",
        *task.notes,
    ]
    heads = ["", "A", "B", "A - B", "p", "McNemar p", "won", "lost"]
    table = _table(_title(task), notes, heads)
    for each in task.metrics:
        paired = each.paired
        tests = each.mcnemar
        _add(
            table,
            [
                metric_title(each.metric),
                percent_value(each.a),
                percent_value(each.b),
                _points(signed_percent, paired.difference, paired.low, paired.high),
                _p(paired.p_value),
                _p(each.mcnemar_p),
                str(sum(test.won for test in tests)) if tests else "",
                str(sum(test.lost for test in tests)) if tests else "",
            ],
            bold=each.metric == task.headline,
        )
    return table


def _task_table(found: Comparison, names: tuple[str, str]) -> Table:
    from mmcl_bench.report.tables import percent_value, signed_percent
    from mmcl_bench.results.groups import metric_title

    ahead = sum(task.main.paired.difference > 0 for task in found.tasks)
    sure = [task for task in found.tasks if task.main.p_holm <= 0.05]
    won = sum(task.main.paired.difference > 0 for task in sure)
    notes = [
        f"A: {names[0]}   B: {names[1]}",
        "A - B in points, with 95% bootstrap intervals over test clips and, of several, seeds",
        f"Holm: adjusted over the {counted(len(found.tasks) + len(found.folds), 'task')}"
        + (", class folds of a set as one. In this table " if found.folds else ". ")
        + f"A is ahead on {ahead}; "
        f"p Holm is at most 0.05 on {len(sure)}: {won} for A, {len(sure) - won} for B",
        *dict.fromkeys(note for task in found.tasks for note in task.notes),
    ]
    heads = ["task", "metric", "seeds", "A", "B", "A - B", "p", "p Holm", "McNemar p", "McNemar p Holm", "won", "lost"]
    table = _table("", notes, heads, left=2)
    for task in found.tasks:
        main = task.main
        _add(
            table,
            [
                _title(task),
                metric_title(main.metric),
                str(main.paired.n_runs),
                percent_value(main.a),
                percent_value(main.b),
                _points(signed_percent, main.paired.difference, main.paired.low, main.paired.high),
                *map(_p, (main.paired.p_value, main.p_holm, main.mcnemar_p, main.mcnemar_holm)),
                str(sum(row.won for row in task.classes)),
                str(sum(row.lost for row in task.classes)),
            ],
        )
    for family in found.splits:
        paired = family.paired
        _add(
            table,
            [
                f"{family.task}: mean of {len(family.splits)} splits, the unit",
                metric_title(family.metric),
                *("", "", ""),
                _points(signed_percent, paired.difference, paired.low, paired.high),
                _p(paired.p_value),
                *("", "", "", "", ""),
            ],
            bold=True,
        )
    return table


def _folds_table(found: FoldsComparison, n_tasks: int) -> Table:
    from mmcl_bench.report.tables import percent_value, signed_percent
    from mmcl_bench.results.groups import metric_title

    notes = [
        f"A: {found.a}",
        f"B: {found.b}",
        "A - B in points, paired by fold, class and clip. 95% intervals: for other classes of the same kind; and for "
        "these classes, in other folds, with other seeds and clips",
        *([f"p Holm: {_p(found.p_holm)}, of these classes, adjusted over {n_tasks} tasks"] if n_tasks > 1 else []),
        *found.notes,
    ]
    heads = ["", "A", "B", "A - B, other classes", "p", "A - B, these classes", "p"]
    table = _table(f"{found.task}\npooled over {len(found.folds)} class folds", notes, heads)
    for each in found.metrics:
        other, these = each.of_other_classes, each.of_these_classes
        cells = [metric_title(each.metric), percent_value(each.a), percent_value(each.b)]
        for gap in (other, these):
            cells += [_points(signed_percent, gap.difference, gap.low, gap.high), _p(gap.p_value)]
        _add(table, cells, bold=each.metric == found.headline)
    return table


def _unpaired_table(found: Comparison, names: tuple[str, str]) -> Table:
    from mmcl_bench.report.tables import percent, signed_percent
    from mmcl_bench.results.groups import metric_title

    notes = [
        f"A: {names[0]}",
        f"B: {names[1]}",
        "unpaired: a leaderboard has no scores, so both intervals count in full; a paired comparison of "
        "the jobs, on the same clips, has narrower ones",
    ]
    table = _table("", notes, ["task", "method", "metric", "A", "B", "A - B", "p", "p Holm"], left=3)
    for row in found.unpaired:
        gap = row.difference
        cells = [f"{row.task} v{row.version}", row.method, metric_title(row.metric), percent(row.a), percent(row.b)]
        cells += [_points(signed_percent, gap.difference, gap.low, gap.high), _p(gap.p_value), _p(row.p_holm)]
        _add(table, cells)
    return table


def _class_table(task: TaskComparison) -> Table:
    from mmcl_bench.report.tables import percent_value
    from mmcl_bench.results.groups import metric_title

    mixed = len({row.seen for row in task.classes}) > 1
    runs = " in all runs" if task.main.paired.n_runs > 1 else ""
    notes = [f"won: clips{runs} that A alone has right; lost: that B alone has; as {_setting(task)}"]
    heads = ["class", *(["", "clips"] if mixed else ["clips"]), "A", "B", "won", "lost"]
    table = _table(f"by class, {metric_title(task.headline)}", notes, heads, left=2 if mixed else 1)
    for row in sorted(task.classes, key=lambda row: row.lost - row.won):
        beside = ["seen" if row.seen else "unseen"] if mixed else []
        cells = [row.name, *beside, str(row.n), percent_value(row.a), percent_value(row.b), str(row.won), str(row.lost)]
        _add(table, cells)
    return table


def _change_table(task: TaskComparison, names: tuple[str, str], at_most: int | None) -> Table:
    n_changes = len(task.changes)
    more = f"{n_changes - at_most} more with --samples" if at_most is not None and n_changes > at_most else ""
    seeds = len({change.seed for change in task.changes}) > 1
    title = (
        f"{counted(n_changes, 'answer')} differ{'s' if n_changes == 1 else ''} on {_title(task)}, as {_setting(task)}"
    )
    table = _table(title, [more] if more else [], ["sample", "seed", "class", "A says", "B says", "outcome"], left=6)
    table.columns[0].no_wrap = True
    if not seeds:
        table.columns.pop(1)
    for change in task.changes[:at_most]:
        seed = [] if not seeds else ["" if change.seed is None else str(change.seed)]
        _add(table, [change.sample_id, *seed, change.true, change.a, change.b, change.outcome])
    return table


def _title(task: TaskComparison) -> str:
    return f"{task.task.identity}{'  synthetic' if task.task.synthetic else ''}"


def _of_seeds(n_runs: int) -> str:
    if n_runs == 1:
        return "; one pair of runs says nothing of other seeds"
    return f" and {n_runs} pairs of seeds" + ("; two are few, so that intervals are wide" if n_runs == 2 else "")


def _setting(task: TaskComparison) -> str:
    from mmcl_bench.evaluation.metrics import METRICS

    return f"chosen among {METRICS.get(task.headline).contest} classes"


def _points(text: Any, value: float, low: float, high: float) -> str:
    return "–" if value != value else str(text(value, low, high))


def _p(value: float) -> str:
    return "" if value != value else "<0.001" if value < 0.001 else f"{value:.2g}"


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def _difference_rows(found: Comparison) -> list[dict[str, Any]]:
    paired = [
        {
            "task": task.task.identity,
            "metric": each.metric,
            "headline": each.metric == task.headline,
            "a_method": task.a.label,
            "b_method": task.b.label,
            "a": _number(each.a),
            "b": _number(each.b),
            "difference": _number(each.paired.difference),
            "low": _number(each.paired.low),
            "high": _number(each.paired.high),
            "p": _number(each.paired.p_value),
            "p_holm": _number(each.p_holm),
            "mcnemar_p": _number(each.mcnemar_p),
            "mcnemar_holm": _number(each.mcnemar_holm),
            "won": sum(test.won for test in each.mcnemar) if each.mcnemar else None,
            "lost": sum(test.lost for test in each.mcnemar) if each.mcnemar else None,
            "runs": each.paired.n_runs,
            "clips": task.n_samples,
        }
        for task in found.tasks
        for each in task.metrics
    ]
    unpaired = [
        {
            "task": f"{row.task}",
            "version": row.version,
            "method": row.method,
            "metric": row.metric,
            "a": row.a.value,
            "a_low": row.a.low,
            "a_high": row.a.high,
            "b": row.b.value,
            "b_low": row.b.low,
            "b_high": row.b.high,
            "difference": row.difference.difference,
            "low": row.difference.low,
            "high": row.difference.high,
            "p": _number(row.difference.p_value),
            "p_holm": _number(row.p_holm),
        }
        for row in found.unpaired
    ]
    return [*paired, *_fold_rows(found.folds)] or unpaired


def _fold_rows(found: Iterable[FoldsComparison]) -> list[dict[str, Any]]:
    return [
        {
            "task": of_folds.task,
            "metric": each.metric,
            "headline": each.metric == of_folds.headline,
            "a_method": of_folds.a,
            "b_method": of_folds.b,
            "a": _number(each.a),
            "b": _number(each.b),
            "difference": _number(each.of_these_classes.difference),
            "low": _number(each.of_these_classes.low),
            "high": _number(each.of_these_classes.high),
            "p": _number(each.of_these_classes.p_value),
            "p_holm": _number(of_folds.p_holm) if each.metric == of_folds.headline else None,
            "other_classes_low": _number(each.of_other_classes.low),
            "other_classes_high": _number(each.of_other_classes.high),
            "other_classes_p": _number(each.of_other_classes.p_value),
            "folds": len(of_folds.folds),
        }
        for of_folds in found
        for each in of_folds.metrics
    ]


def _change_rows(tasks: Iterable[TaskComparison]) -> list[dict[str, Any]]:
    return [
        {
            "task": task.task.identity,
            "seed": change.seed,
            "sample_id": change.sample_id,
            "class": change.true,
            "a_says": change.a,
            "b_says": change.b,
            "outcome": change.outcome,
        }
        for task in tasks
        for change in task.changes
    ]


def _record(found: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    rows = _difference_rows(found)
    if found.unpaired:
        return {"a": names[0], "b": names[1], "paired": False, "differences": rows, "notes": list(found.notes)}
    of_each = [*(task.notes for task in found.tasks), *(of_folds.notes for of_folds in found.folds)]
    return {
        "a": names[0],
        "b": names[1],
        "paired": True,
        "differences": rows,
        "classes": [
            {
                "task": task.task.identity,
                "class": row.name,
                "seen": row.seen,
                "clips": row.n,
                "a": row.a,
                "b": row.b,
                "won": row.won,
                "lost": row.lost,
            }
            for task in found.tasks
            for row in task.classes
        ],
        "samples": _change_rows(found.tasks),
        "splits": [
            {
                "task": family.task,
                "splits": list(family.splits),
                "metric": family.metric,
                "difference": _number(family.paired.difference),
                "low": _number(family.paired.low),
                "high": _number(family.paired.high),
                "p": _number(family.paired.p_value),
            }
            for family in found.splits
        ],
        "folds": {of_folds.task: list(of_folds.folds) for of_folds in found.folds},
        "notes": [*found.notes, *dict.fromkeys(note for notes in of_each for note in notes)],
    }


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from mmcl_bench.core.files import write_atomically

    def write(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            heads = list(dict.fromkeys(head for row in rows for head in row)) or ["task"]
            writer = csv.DictWriter(file, heads, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
