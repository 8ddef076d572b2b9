"""Tables of a comparison, for people on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from mmcl_bench.comparing.records import Comparison, FoldsComparison, TaskComparison, notes_of_each
from mmcl_bench.core.text import counted
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.evaluation.statistics import Difference, PairedDifference
from mmcl_bench.report.tables import percent, percent_value, signed_percent
from mmcl_bench.results.groups import metric_title

_SHOWN = 10
"""Changed samples that are printed without --samples."""


def tables_of(found: Comparison, names: tuple[str, str], samples: bool) -> Iterable[Table]:
    """A against one other; ``samples`` shows every sample on which the two say different things."""
    if found.unpaired:
        yield _unpaired_table(found, names)
        return
    if len(found.tasks) == 1:
        (only,) = found.tasks
        yield _metric_table(only)
        yield _class_table(only)
    elif found.tasks:
        yield _task_table(found, names)
    for of_folds in found.folds:
        yield _folds_table(of_folds, len(found.tasks) + len(found.folds))
    if samples or len(found.tasks) == 1:
        for each in found.tasks:
            if each.changes:
                yield _change_table(each, None if samples else _SHOWN)


def table_of_several(found: Mapping[str, Comparison]) -> Table:
    """A against each of several others, by their names: a row for each and each task, by the main metric alone."""
    rows = [row for each in found.values() for row in _main_differences(each)]
    of_folds = any(row.of_other_classes is not None for row in rows)
    of_splits = any(each.splits for each in found.values())
    tasks = dict.fromkeys(row.task for row in rows)
    several_tasks = len(tasks) > 1
    notes = [
        f"A: {', '.join(dict.fromkeys(row.a_label for row in rows))}",
        "A - B in points, with 95% intervals over test clips and, of several, seeds"
        + ("; of class folds, for these classes and for other classes of the same kind" if of_folds else "")
        + ("; of means over splits, over these" if of_splits else ""),
        *(["one pair of runs says nothing of other seeds"] if any(row.seeds == 1 for row in rows) else []),
        "Holm: adjusted over all rows" + (" of a kind: single tasks, and means over splits" if of_splits else ""),
        *(f"{name}: {note}" for name, each in found.items() for note in notes_of_each(each)),
    ]
    heads = ["B", *(["task"] if several_tasks else []), "metric", "seeds", "A", "B", "A - B", "p", "p Holm"]
    heads += ["A - B, other classes", "p"] if of_folds else []
    table = _table("" if several_tasks else next(iter(tasks)), notes, heads, left=3 if several_tasks else 2)
    for row in rows:
        cells = [row.b_label, *([row.task] if several_tasks else []), metric_title(row.metric)]
        cells += ["" if row.seeds is None else str(row.seeds), percent_value(row.a), percent_value(row.b)]
        cells += [_gap(row.gap), _p(row.gap.p_value), _p(row.p_holm)]
        if (other := row.of_other_classes) is not None:
            cells += [_gap(other), _p(other.p_value)]
        _add(table, cells)
    return table


@dataclass(frozen=True)
class _MainDifference:
    task: str
    metric: str
    a_label: str
    b_label: str
    a: float
    b: float
    gap: PairedDifference
    p_holm: float
    seeds: int | None = None
    """Of a single task."""
    of_other_classes: PairedDifference | None = None
    """Of class folds."""


def _main_differences(found: Comparison) -> Iterator[_MainDifference]:
    """By the main metric: of tasks, of class folds, and of means over splits."""
    for task in found.tasks:
        main, labels = task.main, (task.a.label, task.b.label)
        of_task = (_title(task), main.metric, *labels, main.a, main.b, main.paired, main.p_holm)
        yield _MainDifference(*of_task, seeds=main.paired.n_runs)
    for each in found.folds:
        name, of_folds = f"{each.task}, {len(each.folds)} class folds", each.main
        figures = (of_folds.a, of_folds.b, of_folds.of_these_classes, of_folds.p_holm)
        of_set = (name, of_folds.metric, each.a, each.b, *figures)
        yield _MainDifference(*of_set, of_other_classes=of_folds.of_other_classes)
    for mean in found.splits:
        name = f"{mean.task}: mean of {len(mean.splits)} splits, the unit"
        yield _MainDifference(name, mean.metric, mean.a_label, mean.b_label, mean.a, mean.b, mean.paired, mean.p_holm)


def _table(title: str, notes: Iterable[str], heads: Sequence[str], left: int = 1) -> Table:
    """An empty table whose first ``left`` columns are words."""
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
    table.add_row(*map(Text, cells), style="bold" if bold else None)


def _metric_table(task: TaskComparison) -> Table:
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
                _gap(paired),
                _p(paired.p_value),
                _p(each.mcnemar_p),
                str(sum(test.won for test in tests)) if tests else "",
                str(sum(test.lost for test in tests)) if tests else "",
            ],
            bold=each.metric == task.headline,
        )
    return table


def _task_table(found: Comparison, names: tuple[str, str]) -> Table:
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
                _gap(main.paired),
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
                "",
                percent_value(family.a),
                percent_value(family.b),
                _gap(paired),
                _p(paired.p_value),
                _p(family.p_holm),
                *("", "", "", ""),
            ],
            bold=True,
        )
    return table


def _folds_table(found: FoldsComparison, n_tasks: int) -> Table:
    notes = [
        f"A: {found.a}",
        f"B: {found.b}",
        "A - B in points, paired by fold, class and clip. 95% intervals: for other classes of the same kind; and for "
        "these classes, in other folds, with other seeds and clips",
        *([f"p Holm: {_p(found.main.p_holm)}, of these classes, adjusted over {n_tasks} tasks"] if n_tasks > 1 else []),
        *found.notes,
    ]
    heads = ["", "A", "B", "A - B, other classes", "p", "A - B, these classes", "p"]
    table = _table(f"{found.task}\npooled over {len(found.folds)} class folds", notes, heads)
    for each in found.metrics:
        other, these = each.of_other_classes, each.of_these_classes
        cells = [metric_title(each.metric), percent_value(each.a), percent_value(each.b)]
        for gap in (other, these):
            cells += [_gap(gap), _p(gap.p_value)]
        _add(table, cells, bold=each.metric == found.headline)
    return table


def _unpaired_table(found: Comparison, names: tuple[str, str]) -> Table:
    notes = [
        f"A: {names[0]}",
        f"B: {names[1]}",
        "unpaired: a leaderboard has no scores, so both intervals count in full; a paired comparison of "
        "the jobs, on the same clips, has narrower ones",
        f"Holm: adjusted over {counted(len(found.unpaired), 'row')}",
    ]
    table = _table("", notes, ["task", "method", "metric", "A", "B", "A - B", "p", "p Holm"], left=3)
    for row in found.unpaired:
        gap = row.difference
        cells = [f"{row.task} v{row.version}", row.method, metric_title(row.metric), percent(row.a), percent(row.b)]
        cells += [_gap(gap), _p(gap.p_value), _p(row.p_holm)]
        _add(table, cells)
    return table


def _class_table(task: TaskComparison) -> Table:
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


def _change_table(task: TaskComparison, at_most: int | None) -> Table:
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
    return f"chosen among {METRICS.get(task.headline).contest} classes"


def _gap(gap: Difference) -> str:
    return "–" if math.isnan(gap.difference) else signed_percent(gap.difference, gap.low, gap.high)


def _p(value: float) -> str:
    return "" if value != value else "<0.001" if value < 0.001 else f"{value:.2g}"
