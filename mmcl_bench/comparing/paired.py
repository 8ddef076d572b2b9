"""Two sides of a comparison: which jobs, files or leaderboards they are, how they pair, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

import numpy as np

from mmcl_bench.comparing.leaderboards import _as_leaderboard, _compare_leaderboards
from mmcl_bench.comparing.records import (
    LEVEL,
    Change,
    ClassDifference,
    Comparison,
    Entry,
    FoldsComparison,
    FoldsDifference,
    Leaderboard,
    MetricDifference,
    Pair,
    Sheet,
    Side,
    SplitsComparison,
    TaskComparison,
)
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.core.text import counted, fold_number, numbered, some_of
from mmcl_bench.evaluation.class_folds import pooled, pooled_difference
from mmcl_bench.evaluation.metrics import METRICS, Metric, ShareRight, require_metric
from mmcl_bench.evaluation.statistics import McNemar, combined_p, holm, mcnemar, paired_difference, split_difference
from mmcl_bench.results.records import TaskRecord

RESAMPLES = 10_000


def compare(
    a: Side,
    b: Side,
    names: tuple[str, str],
    metric: str | None = None,
    resamples: int = RESAMPLES,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """How far a is ahead of b, on every task that both have.

    ``metric`` is compared by instead of each task's main metric. Sides with scores are paired by seed and sample id;
    where one is a leaderboard, intervals are all there is.

    Raises :class:`UserError` where the two share no task, or one at different versions or on different data.
    """
    if isinstance(a, Leaderboard) or isinstance(b, Leaderboard):
        boards = _as_leaderboard(a, names[0]), _as_leaderboard(b, names[1])
        return adjust_together([_compare_leaderboards(*boards, metric)])[0]
    found, notes = _pair_entries(a, b, names)
    pairs, of_folds = _without_class_folds(found)
    n_tasks = len(pairs) + len(of_folds)
    tasks: list[TaskComparison] = []
    folds: list[FoldsComparison] = []

    def measured(at: int) -> _Measured | FoldsComparison:
        if at < len(pairs):
            return _measured(*pairs[at], metric, resamples)
        return _over_folds(*of_folds[at - len(pairs)], metric)

    advance(0, n_tasks)
    # The same task has the same seed in any process, so the figures do not depend on how many there are.
    for at, made in enumerate(in_order(measured, range(n_tasks), None if n_tasks > 1 else 1, items_a_call=1)):
        if isinstance(made, FoldsComparison):
            folds.append(made)
        else:
            tasks.append(TaskComparison(pairs[at][0], pairs[at][1], *made))
        advance(at + 1, n_tasks)
    of_splits = tuple(_over_splits(pairs, metric, resamples))
    return adjust_together([Comparison(tuple(tasks), tuple(folds), of_splits, notes=tuple(notes))])[0]


def require_shared(a: Side, b: Side, names: tuple[str, str]) -> None:
    """Raises :class:`UserError` as :func:`compare` does where two sides share no task; quick."""
    if not (isinstance(a, Leaderboard) or isinstance(b, Leaderboard)):
        _pair_entries(a, b, names)


def adjust_together(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p-values over all of them: of main metrics over their tasks, the class folds of a set
    being one; of each other metric likewise, by itself; and apart from these over means of splits, and over rows of
    leaderboards."""
    compared: list[TaskComparison | FoldsComparison] = []
    for each in found:
        compared += [*each.tasks, *each.folds]
    boot = _holm_by_metric(compared)
    exact = iter(holm([task.main.mcnemar_p for each in found for task in each.tasks]))
    splits = iter(holm([of_splits.paired.p_value for each in found for of_splits in each.splits]))
    unpaired = iter(holm([row.difference.p_value for each in found for row in each.unpaired]))

    def of_task(task: TaskComparison) -> TaskComparison:
        mcnemar_holm = next(exact)
        metrics = (replace(each, p_holm=next(boot)) for each in task.metrics)
        return replace(
            task,
            metrics=tuple(
                replace(each, mcnemar_holm=mcnemar_holm) if each.metric == task.headline else each for each in metrics
            ),
        )

    def of_folds(folds: FoldsComparison) -> FoldsComparison:
        return replace(folds, metrics=tuple(replace(each, p_holm=next(boot)) for each in folds.metrics))

    return [
        replace(
            each,
            tasks=tuple(map(of_task, each.tasks)),
            folds=tuple(map(of_folds, each.folds)),
            splits=tuple(replace(of_splits, p_holm=next(splits)) for of_splits in each.splits),
            unpaired=tuple(replace(row, p_holm=next(unpaired)) for row in each.unpaired),
        )
        for each in found
    ]


def _holm_by_metric(compared: Sequence[TaskComparison | FoldsComparison]) -> Iterator[float]:
    """Adjusted p-values of all metrics in their order: those that tasks are compared by together, others by metric."""
    named = [
        ("" if each.metric == of_task.headline else each.metric, each.p_value)
        for of_task in compared
        for each in of_task.metrics
    ]
    adjusted = {
        name: iter(holm([p_value for other, p_value in named if other == name])) for name in dict.fromkeys(dict(named))
    }
    return (next(adjusted[name]) for name, _ in named)


class _Measured(NamedTuple):
    """What a :class:`TaskComparison` has beside its entries, whose scores are not to go from process to process."""

    headline: str
    metrics: tuple[MetricDifference, ...]
    classes: tuple[ClassDifference, ...]
    changes: tuple[Change, ...]
    n_samples: int
    notes: tuple[str, ...]


def _measured(a: Entry, b: Entry, metric: str | None, resamples: int) -> _Measured:
    headline = _headline(a.task, metric)
    pairs, notes = _pair_sheets(a, b)
    names = list(dict.fromkeys([headline, *(name for name in a.task.metrics if name in METRICS)]))
    changes, classes = _changes(METRICS.get(headline), pairs, a.classes)
    return _Measured(
        headline,
        tuple(_metric_difference(METRICS.get(name), pairs, f"{a.key}:{b.key}", resamples) for name in names),
        classes,
        changes,
        len(pairs[0].sample_ids),
        tuple(notes),
    )


def _pair_entries(
    a: Sequence[Entry], b: Sequence[Entry], names: tuple[str, str]
) -> tuple[list[tuple[Entry, Entry]], list[str]]:
    """Entries of one task, version and data; and what is left out."""
    theirs = {entry.comparable: entry for entry in b}
    pairs = [(entry, theirs[entry.comparable]) for entry in a if entry.comparable in theirs]
    paired = {entry.unversioned for entry, _ in pairs}
    for ours in a:
        for other in b:
            if ours.unversioned == other.unversioned and ours.unversioned not in paired:
                raise UserError(_why_not(ours, other, names))
    if not pairs:
        raise UserError(
            f"{names[0]} and {names[1]} share no task: the one has {_few(a)}, the other {_few(b)}; run what is missing"
        )
    notes = [
        f"left out: {counted(len(alone), 'task')} that only {name} has: {_few(alone)}"
        for name, side, at in ((names[0], a, 0), (names[1], b, 1))
        if (alone := [entry for entry in side if all(entry is not pair[at] for pair in pairs)])
    ]
    return pairs, notes


def _why_not(a: Entry, b: Entry, names: tuple[str, str]) -> str:
    if a.task.version != b.task.version:
        return (
            f"{a.unversioned}: {names[0]} is of version {a.task.version} and {names[1]} of version {b.task.version}; "
            "figures of different versions do not compare, so run the older one again or leave it out with --task"
        )
    if a.task.hash != b.task.hash:
        return (
            f"{a.task.identity}: the card or the facts differ, hash {a.task.hash[:12]} of {names[0]} and "
            f"{b.task.hash[:12]} of {names[1]}; run the older one again or leave it out with --task"
        )
    differing = [name for name in a.data if a.data[name] != b.data.get(name)]
    return (
        f"{a.task.identity}: the data {', '.join(differing)} are others in {names[0]} than in {names[1]}; prepare them "
        "alike and run one again, or leave it out with --task"
    )


def _few(entries: Sequence[Entry]) -> str:
    return some_of(list(dict.fromkeys(entry.task.identity for entry in entries)), shown=3)


def _pair_sheets(a: Entry, b: Entry) -> tuple[list[Pair], list[str]]:
    """Runs that pair, joined by sample id; and what to say of those that do not."""
    if a.classes != b.classes:
        raise UserError(f"{a.task.identity}: {a.label} and {b.label} have other candidate classes; run one again")
    ours, theirs = a.sheets(), b.sheets()
    together, notes = _by_seed(ours, theirs, (a.label, b.label))
    pairs = [_joined(x, y, a, b) for x, y in together]
    first = pairs[0]
    for label, sheet in ((a.label, together[0][0]), (b.label, together[0][1])):
        if extra := len(sheet.sample_ids) - len(first.sample_ids):
            notes.append(f"left out: {counted(extra, 'sample')} that only {label} has")
    for entry in (a, b):
        if not entry.jobs and entry.task.family == "zero-shot":
            notes.append(f"{entry.label}: S, U and H are of raw scores; store it with a calibration for others")
    if a.foreign or b.foreign:
        notes.append("scores from elsewhere: nobody here saw how their epoch and settings were chosen")
    return pairs, notes


def _by_seed(
    a: Sequence[Sheet], b: Sequence[Sheet], labels: tuple[str, str]
) -> tuple[list[tuple[Sheet, Sheet]], list[str]]:
    if len(a) == len(b) == 1:
        differ = None not in (a[0].seed, b[0].seed) and a[0].seed != b[0].seed
        return [(a[0], b[0])], [f"seed {a[0].seed} against seed {b[0].seed}"] if differ else []
    for one, many, label in ((a, b, labels[0]), (b, a, labels[1])):
        if len(one) == 1 and one[0].seed is None:
            pairs = [(one[0], each) if one is a else (each, one[0]) for each in many]
            return pairs, [f"{label} is one run, which is compared with each seed of the other"]
    by_seed = {sheet.seed: sheet for sheet in b}
    shared = [(sheet, by_seed[sheet.seed]) for sheet in a if sheet.seed in by_seed]
    if not shared:
        raise UserError(f"{labels[0]} and {labels[1]} share no seed; run both with the same --seeds")
    left_out = len(a) + len(b) - 2 * len(shared)
    return shared, [f"left out: {counted(left_out, 'run')} whose seed the other side lacks"] if left_out else []


def _joined(x: Sheet, y: Sheet, a: Entry, b: Entry) -> Pair:
    """The samples that both have, by rising sample id."""
    shared, of_x, of_y = np.intersect1d(x.sample_ids, y.sample_ids, assume_unique=True, return_indices=True)
    if not len(shared):
        raise UserError(f"{a.task.identity}: {a.label} and {b.label} share no sample id; run both on the same data")
    ours, theirs = x.scored.rows(of_x), y.scored.rows(of_y)
    if not np.array_equal(ours.labels, theirs.labels):
        clip = shared[np.flatnonzero(ours.labels != theirs.labels)[0]]
        raise UserError(f"{a.task.identity}: clip {clip} is of another class in {a.label} than in {b.label}")
    return Pair(x.seed if x.seed is not None else y.seed, shared, ours, theirs)


def _headline(task: TaskRecord, metric: str | None) -> str:
    if metric is None:
        return task.main_metric
    require_metric(metric, task.family, "--metric")
    return metric


def _metric_difference(metric: Metric, pairs: Sequence[Pair], key: str, resamples: int) -> MetricDifference:
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    generator = np.random.default_rng(derive_seed(key, f"compare {metric.name}"))
    paired = paired_difference(metric, a, b, resamples, LEVEL, generator=generator)
    tests = tuple(_mcnemar(metric, pair) for pair in pairs) if isinstance(metric, ShareRight) else ()
    return MetricDifference(
        metric.name,
        float(np.mean([metric(sheet) for sheet in a])),
        float(np.mean([metric(sheet) for sheet in b])),
        paired,
        tests,
        combined_p([test.p_value for test in tests]),
    )


def _mcnemar(metric: ShareRight, pair: Pair) -> McNemar:
    counted = metric.counted(pair.a)
    return mcnemar(metric.right(pair.a)[counted], metric.right(pair.b)[counted])


def _changes(
    metric: Metric, pairs: Sequence[Pair], classes: Sequence[str]
) -> tuple[tuple[Change, ...], tuple[ClassDifference, ...]]:
    n_classes = len(classes)
    changes: list[Change] = []
    # Rows: clips, a right, b right, a alone, b alone.
    counts = np.zeros((5, n_classes), dtype=np.int64)
    for pair in pairs:
        rows = np.flatnonzero(metric.counted(pair.a))
        of_a, of_b, truth = metric.predicted(pair.a)[rows], metric.predicted(pair.b)[rows], pair.a.labels[rows]
        right_a, right_b = metric.right(pair.a)[rows], metric.right(pair.b)[rows]
        tallied = (np.ones_like(right_a), right_a, right_b, right_a & ~right_b, right_b & ~right_a)
        counts += np.stack([np.bincount(truth[hit], minlength=n_classes) for hit in tallied])
        changed = (of_a != of_b) | (right_a != right_b)
        facts = (rows, truth, of_a, of_b, right_a, right_b)
        for row, true, ours, theirs, is_a, is_b in zip(*(each[changed] for each in facts), strict=True):
            outcome = "won" if is_a and not is_b else "lost" if is_b and not is_a else "right" if is_a else "wrong"
            clip = str(pair.sample_ids[row])
            changes.append(Change(pair.seed, clip, classes[true], classes[ours], classes[theirs], outcome))
    seen = pairs[0].a.seen
    found = tuple(
        ClassDifference(
            classes[column],
            bool(seen[column]),
            int(n) // len(pairs),
            float(a) / n,
            float(b) / n,
            int(won),
            int(lost),
        )
        for column, (n, a, b, won, lost) in enumerate(counts.T)
        if n
    )
    return tuple(changes), found


def _family(entry: Entry) -> tuple[str, str]:
    """The task with the number off its split, and its data."""
    told = numbered(entry.task.split or "")
    name = entry.task.identity.replace(f"split={entry.task.split}", f"split={told[0]}") if told else entry.task.identity
    return name, repr(sorted(entry.data.items()))


_Pairs = list[tuple[Entry, Entry]]


def _without_class_folds(pairs: _Pairs) -> tuple[_Pairs, list[tuple[str, _Pairs]]]:
    """The tasks that stand alone; and by name those of which there are several class folds, by number."""
    families: dict[tuple[str, str], _Pairs] = {}
    for pair in pairs:
        if pair[0].task.is_class_fold:
            families.setdefault(_family(pair[0]), []).append(pair)
    several = {
        key: sorted(members, key=lambda pair: fold_number(pair[0].task.split))
        for key, members in families.items()
        if len(members) > 1
    }
    alone = [pair for pair in pairs if _family(pair[0]) not in several]
    return alone, [(name, members) for (name, _), members in several.items()]


def _over_folds(name: str, pairs: _Pairs, metric: str | None) -> FoldsComparison:
    """Two methods on several class folds of a task."""
    first_a, first_b = pairs[0]
    headline = _headline(first_a.task, metric)
    of_folds, notes = zip(*(_pair_sheets(a, b) for a, b in pairs), strict=True)
    ours, theirs = ([[getattr(pair, side) for pair in of_fold] for of_fold in of_folds] for side in ("a", "b"))
    differences = []
    for each in dict.fromkeys([headline, *(known for known in first_a.task.metrics if known in METRICS)]):
        measured = METRICS.get(each)
        found = pooled_difference(measured, ours, theirs, LEVEL)
        a, b = (pooled(measured, folds, LEVEL).of_these_classes.value for folds in (ours, theirs))
        differences.append(FoldsDifference(each, a, b, found.of_other_classes, found.of_these_classes))
    return FoldsComparison(
        name,
        first_a.label,
        first_b.label,
        tuple(str(a.task.split) for a, _ in pairs),
        headline,
        tuple(differences),
        tuple(dict.fromkeys(note for of_fold in notes for note in of_fold)),
    )


def _over_splits(
    pairs: Sequence[tuple[Entry, Entry]], metric: str | None, resamples: int
) -> Iterator[SplitsComparison]:
    """One comparison for each family of numbered splits of which both sides have two or more: folds, drawn classes."""
    families: dict[tuple[str, str], list[tuple[Entry, Entry]]] = {}
    for a, b in pairs:
        if numbered(a.task.split or ""):
            families.setdefault(_family(a), []).append((a, b))
    for (name, _), members in families.items():
        if len(members) > 1:
            headline = _headline(members[0][0].task, metric)
            of_splits = [_pair_sheets(a, b)[0] for a, b in members]
            key = ":".join(part for a, b in members for part in (a.key, b.key))
            measured = METRICS.get(headline)
            ours, theirs = ([[getattr(pair, side) for pair in of_split] for of_split in of_splits] for side in "ab")
            generator = np.random.default_rng(derive_seed(key, f"splits {headline}"))
            paired = split_difference(measured, ours, theirs, resamples, LEVEL, generator=generator)
            mean_a, mean_b = (fmean(fmean(map(measured, runs)) for runs in of_side) for of_side in (ours, theirs))
            (first_a, first_b), splits = members[0], tuple(str(entry.task.split) for entry, _ in members)
            yield SplitsComparison(name, first_a.label, first_b.label, splits, headline, mean_a, mean_b, paired)
