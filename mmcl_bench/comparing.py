"""Two sides of a comparison: which jobs, files or leaderboards they are, how they pair, and how far they are apart."""

from __future__ import annotations

import io
import math
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl_bench.errors import UserError
from mmcl_bench.fusion import parse_member
from mmcl_bench.metrics import METRICS, Metric, Scored, ShareRight, require_metric
from mmcl_bench.recording import task_record
from mmcl_bench.registry import unknown
from mmcl_bench.report.groups import Group, group_jobs, newest
from mmcl_bench.results import RESULT, Stored, TaskRecord, matches, stored_results, unversioned
from mmcl_bench.seeds import derive_seed
from mmcl_bench.settings import setting_text
from mmcl_bench.stats import (
    Interval,
    McNemar,
    PairedDifference,
    UnpairedDifference,
    combined_p,
    holm,
    mcnemar,
    paired_difference,
    split_difference,
    unpaired_difference,
)

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
RESAMPLES = 10_000
_HASH = re.compile("[0-9a-f]{4,64}")
_AT_REVISION = re.compile(r"(?P<revision>[^:\s]+):(?P<path>.+\.csv)")
_KEY = ("task", "method", "setting", "preset", "settings")
"""Columns of a leaderboard that say what a row is of, the task without its version."""
_NEEDED = ("task", "version", "task_hash", "method", "main_metric")
_DRAWN_SPLIT = re.compile(r"(?P<family>.+:.+)-\d+")
"""A split that is one of several of its family, such as 55/5:sadvae-2."""


@dataclass(frozen=True)
class Sheet:
    """The scores of one run with their samples."""

    seed: int | None
    """None for scores of a file, which has none."""
    sample_ids: np.ndarray
    """str (N,)"""
    scored: Scored


@dataclass(frozen=True)
class Entry:
    """What one side has of a task: the runs of one method and its settings."""

    label: str
    key: str
    """Tells it from any other, for random numbers that repeat themselves."""
    task: TaskRecord
    data: Mapping[str, str]
    """Fingerprint by data set."""
    classes: tuple[str, ...]
    foreign: bool
    sheets: Callable[[], list[Sheet]]
    """Reads them anew, one a seed."""
    jobs: tuple[Stored, ...] = ()
    """What is stored of it; none for a file of scores."""

    @property
    def unversioned(self) -> str:
        return unversioned(self.task.identity)

    @property
    def comparable(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Entries of one task, version and data have the same."""
        return self.task.hash, tuple(sorted(self.data.items()))


@dataclass(frozen=True)
class Leaderboard:
    """A side that has figures with intervals and no scores."""

    where: str
    frame: pd.DataFrame


Side = list[Entry] | Leaderboard


@dataclass(frozen=True)
class Pair:
    """A run of each side on the samples that both have, in one order."""

    seed: int | None
    sample_ids: np.ndarray
    a: Scored
    b: Scored


@dataclass(frozen=True)
class MetricDifference:
    """How far a is ahead of b by one metric."""

    metric: str
    a: float
    b: float
    """Means over the paired runs."""
    paired: PairedDifference
    mcnemar: tuple[McNemar, ...] = ()
    """One a pair of runs, for accuracies."""
    mcnemar_p: float = math.nan
    """Of all pairs together."""
    p_holm: float = math.nan
    mcnemar_holm: float = math.nan
    """Adjusted over the tasks of a comparison; of the headline metric alone."""


@dataclass(frozen=True)
class ClassDifference:
    """Wins and losses in one class, in sum over the paired runs."""

    name: str
    seen: bool
    n: int
    """Clips of one run."""
    a: float
    b: float
    """Accuracies, mean over runs."""
    won: int
    lost: int


@dataclass(frozen=True)
class Change:
    """A sample on which the two sides say different things."""

    seed: int | None
    sample_id: str
    true: str
    a: str
    b: str
    outcome: str
    """``won``: a alone is right; ``lost``: b alone is; ``wrong``: neither."""


@dataclass(frozen=True)
class TaskComparison:
    """Two entries on one task."""

    a: Entry
    b: Entry
    headline: str
    """The metric that the tasks are compared by."""
    metrics: tuple[MetricDifference, ...]
    classes: tuple[ClassDifference, ...]
    changes: tuple[Change, ...]
    n_samples: int
    """That both sides have scores of."""
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> TaskRecord:
        return self.a.task

    @property
    def main(self) -> MetricDifference:
        return next(each for each in self.metrics if each.metric == self.headline)


@dataclass(frozen=True)
class SplitsComparison:
    """Two methods on several class splits of one family, the split being the unit."""

    task: str
    splits: tuple[str, ...]
    metric: str
    paired: PairedDifference


@dataclass(frozen=True)
class UnpairedComparison:
    """A row of two leaderboards, by one metric."""

    task: str
    version: int
    method: str
    metric: str
    a: Interval
    b: Interval
    difference: UnpairedDifference
    p_holm: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """All that two sides share."""

    tasks: tuple[TaskComparison, ...] = ()
    splits: tuple[SplitsComparison, ...] = ()
    unpaired: tuple[UnpairedComparison, ...] = ()
    notes: tuple[str, ...] = field(default=())


def find_side(text: str, root: Path, task: str = "*", data_root: Path | None = None) -> Side:
    """What an operand names: a leaderboard's file, or one at a git revision, a file of scores, a job, or a method.

    ``task`` is a glob over tasks; for a file of scores it names one task, whose data are in ``data_root``. A method may
    be narrowed as ``mmcl[preset=paper,backbone=hd-gcn]``. Raises :class:`UserError` for what is none of these.
    """
    path = Path(text)
    if (path / RESULT).is_file():
        return [_entry_of_job(path)]
    if path.is_file():
        return _side_of_file(path, task, data_root)
    if found := _AT_REVISION.fullmatch(text):
        return filtered(at_revision(found["revision"], Path(found["path"])), task)
    return _side_of_results(text, root, task)


def at_revision(revision: str, path: Path) -> Leaderboard:
    """The leaderboard that a file was at a git revision, the path as seen from the working directory."""
    folder = path.parent if path.parent.is_dir() else Path()
    name = f"./{path.name}" if path.parent.is_dir() else f"./{path.as_posix()}"
    command = ["git", "-C", str(folder), "show", "--end-of-options", f"{revision}:{name}"]
    where = f"{revision}:{path}"
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError(f"{where}: git is not installed; check out that revision and give the file") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"]
        raise UserError(f"{where}: {said[0].removeprefix('fatal: ')}; name a revision that has the file")
    return _leaderboard(where, done.stdout)


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
        return _compare_leaderboards(_as_leaderboard(a, names[0]), _as_leaderboard(b, names[1]), metric)
    pairs, notes = _pair_entries(a, b, names)
    tasks = []
    for done, (ours, theirs) in enumerate(pairs):
        advance(done, len(pairs))
        tasks.append(compare_entries(ours, theirs, metric, resamples))
    advance(len(pairs), len(pairs))
    return Comparison(_holm_over_tasks(tasks), tuple(_over_splits(pairs, metric, resamples)), notes=tuple(notes))


def compare_entries(a: Entry, b: Entry, metric: str | None = None, resamples: int = RESAMPLES) -> TaskComparison:
    """Two entries of one task, version and data. Raises :class:`UserError` where they share no samples."""
    headline = _headline(a.task, metric)
    pairs, notes = _pair_sheets(a, b)
    names = list(dict.fromkeys([headline, *(name for name in a.task.metrics if name in METRICS)]))
    changes, classes = _changes(METRICS.get(headline), pairs, a.classes)
    return TaskComparison(
        a,
        b,
        headline,
        tuple(_metric_difference(METRICS.get(name), pairs, f"{a.key}:{b.key}", resamples) for name in names),
        classes,
        changes,
        len(pairs[0].sample_ids),
        tuple(notes),
    )


def entry_of(group: Group) -> Entry:
    """What a group of stored jobs is to a comparison."""

    def sheets() -> list[Sheet]:
        return [
            Sheet(job.result.seed, job.samples["sample_id"].to_numpy(dtype=str), job.scored()) for job in group.jobs
        ]

    first = group.first
    return Entry(
        f"{group.label}, version {group.method.version}" if group.method.version > 1 else group.label,
        group.key,
        group.task,
        dict(first.provenance.data_fingerprints),
        first.classes,
        bool(first.notes.get("foreign")),
        sheets,
        group.jobs,
    )


def _entry_of_job(folder: Path) -> Entry:
    stored = Stored.read(folder)
    if stored is None:
        raise UserError(f"{folder}: its result is damaged or of another version; run the job again")
    return entry_of(Group((stored,)))


def _side_of_file(path: Path, task: str, data_root: Path | None) -> Side:
    from mmcl_bench.scoring import FORMATS

    if path.suffix.lower() == ".csv" and _is_leaderboard(path):
        return filtered(_leaderboard(str(path), path.read_bytes()), task)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: neither a leaderboard.csv nor scores ({', '.join(FORMATS)})")
    return [_entry_of_scores(path, task, data_root)]


def _entry_of_scores(path: Path, task: str, data_root: Path | None) -> Entry:
    from mmcl_bench import paths
    from mmcl_bench.scoring import ForeignRun, Judge, read_score_file
    from mmcl_bench.tasks import load_task

    if "*" in task or "?" in task:
        raise UserError(f"{path}: scores are judged by one task; name it with --task")
    judge = Judge(load_task(task, paths.data_root(data_root)), paths.data_root(data_root))
    run = ForeignRun(judge, path.stem, 0, read_score_file(path), judge.calibration(None, None), transductive=False)
    scored = run.scored
    return Entry(
        path.name,
        run.file.sha256,
        task_record(judge.task, judge.protocol),
        judge.fingerprints,
        judge.classes,
        True,
        lambda: [Sheet(None, np.array(judge.sample_ids), scored)],
    )


def _side_of_results(text: str, root: Path, task: str) -> Side:
    stored = list(stored_results(root))
    by_hash = [job for job in stored if _HASH.fullmatch(text) and job.result.job_hash.startswith(text)]
    method, settings = parse_member(text)
    known = sorted({job.result.method.name for job in stored})
    if method not in known and by_hash:
        if len(by_hash) > 1:
            raise UserError(f"{len(by_hash)} jobs have a hash that starts with {text}; give more of it")
        return [entry_of(Group((by_hash[0],)))]
    if method not in known:
        raise UserError(
            f"{root / 'jobs'}: {unknown('method with finished jobs', method, known)} "
            "Or give a job's folder or hash, or a file"
        )
    of_method = [
        job
        for job in stored
        if job.result.method.name == method and job.result.limit is None and matches(job.result.task.identity, task)
    ]
    if not of_method:
        raise UserError(f"{root / 'jobs'}: {method} has no finished job of a task that matches --task {task}")
    return _one_a_task(group_jobs(newest(of_method)), text, settings)


def _one_a_task(groups: Sequence[Group], text: str, settings: Mapping[str, str]) -> list[Entry]:
    """The one group of each task and its data that has these settings. Raises :class:`UserError` where several do."""
    by_task: dict[str, list[Group]] = {}
    for group in groups:
        if all(_setting(group, key) == value for key, value in settings.items()):
            by_task.setdefault(group.task_key, []).append(group)
    if not by_task:
        there = "; ".join(dict.fromkeys(group.label for group in groups))
        raise UserError(f"{text}: no finished job has these settings; there are {there}")
    named = {key for key in settings if key != "preset"}
    entries = []
    for candidates in by_task.values():
        chosen = [group for group in candidates if set(group.method.overrides) <= named] or candidates
        if len(chosen) > 1:
            labels = "; ".join(group.label for group in chosen)
            raise UserError(
                f"{text} is several methods on {chosen[0].task.identity}: {labels}; name the settings of one, such as "
                f"'{chosen[0].method.name}[preset={chosen[0].method.preset}]'"
            )
        entries.append(entry_of(chosen[0]))
    return entries


def _setting(group: Group, key: str) -> str | None:
    if key == "preset":
        return group.method.preset
    return setting_text(group.method.settings[key]) if key in group.method.settings else None


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
        f"{len(alone)} tasks that only {name} has are left out: {_few(alone)}"
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
    tasks = list(dict.fromkeys(entry.task.identity for entry in entries))
    return ", ".join(tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")


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
            notes.append(f"{extra} samples that only {label} has are left out")
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
            return pairs, [f"{label} is one run, which stands against each seed of the other"]
    by_seed = {sheet.seed: sheet for sheet in b}
    shared = [(sheet, by_seed[sheet.seed]) for sheet in a if sheet.seed in by_seed]
    if not shared:
        raise UserError(f"{labels[0]} and {labels[1]} share no seed; run both with the same --seeds")
    left_out = len(a) + len(b) - 2 * len(shared)
    return shared, [f"{left_out} runs whose seed the other side lacks are left out"] if left_out else []


def _joined(x: Sheet, y: Sheet, a: Entry, b: Entry) -> Pair:
    """The samples that both have, by rising sample id."""
    shared, of_x, of_y = np.intersect1d(x.sample_ids, y.sample_ids, assume_unique=True, return_indices=True)
    if not len(shared):
        raise UserError(f"{a.task.identity}: {a.label} and {b.label} share no sample id; run both on the same data")
    ours, theirs = _taken(x.scored, of_x), _taken(y.scored, of_y)
    if not np.array_equal(ours.labels, theirs.labels):
        clip = shared[np.flatnonzero(ours.labels != theirs.labels)[0]]
        raise UserError(f"{a.task.identity}: clip {clip} is of another class in {a.label} than in {b.label}")
    return Pair(x.seed if x.seed is not None else y.seed, shared, ours, theirs)


def _taken(scored: Scored, rows: np.ndarray) -> Scored:
    return Scored(scored.scores[rows], scored.labels[rows], scored.seen, scored.calibration)


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


def _holm_over_tasks(tasks: Sequence[TaskComparison]) -> tuple[TaskComparison, ...]:
    boot = holm([task.main.paired.p_value for task in tasks])
    exact = holm([task.main.mcnemar_p for task in tasks])
    return tuple(
        replace(
            task,
            metrics=tuple(
                replace(each, p_holm=p, mcnemar_holm=q) if each.metric == task.headline else each
                for each in task.metrics
            ),
        )
        for task, p, q in zip(tasks, boot, exact, strict=True)
    )


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
        right_a, right_b = of_a == truth, of_b == truth
        tallied = (np.ones_like(right_a), right_a, right_b, right_a & ~right_b, right_b & ~right_a)
        counts += np.stack([np.bincount(truth[hit], minlength=n_classes) for hit in tallied])
        for row, true, ours, theirs in zip(rows, truth, of_a, of_b, strict=True):
            if ours != theirs:
                outcome = "won" if ours == true else "lost" if theirs == true else "wrong"
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


def _over_splits(
    pairs: Sequence[tuple[Entry, Entry]], metric: str | None, resamples: int
) -> Iterator[SplitsComparison]:
    """One comparison for each family of drawn splits of which both sides have two or more."""
    families: dict[tuple[str, str], list[tuple[Entry, Entry]]] = {}
    for a, b in pairs:
        if found := _DRAWN_SPLIT.fullmatch(a.task.split or ""):
            name = a.task.identity.replace(f"split={a.task.split}", f"split={found['family']}-*")
            families.setdefault((name, repr(sorted(a.data.items()))), []).append((a, b))
    for (name, _), members in families.items():
        if len(members) > 1:
            headline = _headline(members[0][0].task, metric)
            of_splits = [_pair_sheets(a, b)[0] for a, b in members]
            key = ":".join(part for a, b in members for part in (a.key, b.key))
            paired = split_difference(
                METRICS.get(headline),
                [[pair.a for pair in of_split] for of_split in of_splits],
                [[pair.b for pair in of_split] for of_split in of_splits],
                resamples,
                LEVEL,
                generator=np.random.default_rng(derive_seed(key, f"splits {headline}")),
            )
            yield SplitsComparison(name, tuple(str(a.task.split) for a, _ in members), headline, paired)


def _is_leaderboard(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return set(_NEEDED) <= set(file.readline().strip().split(","))


def _leaderboard(where: str, content: bytes) -> Leaderboard:
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(content), dtype={"task_hash": str, "data": str, "preset": str, "settings": str})
    except (ValueError, OSError) as error:
        raise UserError(f"{where}: not a readable leaderboard ({str(error).splitlines()[0]})") from error
    if missing := [name for name in _NEEDED if name not in frame.columns]:
        raise UserError(f"{where}: no column {missing[0]}; give a leaderboard.csv that mmcl-bench report wrote")
    _require_cells(where, frame)
    return Leaderboard(where, frame)


def _require_cells(where: str, frame: pd.DataFrame) -> None:
    """Raises :class:`UserError` for the first cell that is empty and must not be, or is no number and must be one."""
    import pandas as pd

    counts = {"version", "method_version", "n_test"}
    figures = {f"{name}{end}" for name in frame if f"{name}_low" in frame for end in ("", "_low", "_high")}
    for name in frame:
        cells = frame[name]
        empty = cells.isna()
        wrong = empty & (name in counts.union(_NEEDED))
        if name in counts | figures:
            wrong |= ~empty & ~np.isfinite(pd.to_numeric(cells, errors="coerce"))
        if wrong.any():
            at = int(wrong.argmax())
            what = "is empty" if empty[at] else f"is {cells[at]!r}, which is no number"
            # The head is row 1, as in a spreadsheet.
            raise UserError(f"{where}: row {at + 2}, column {name} {what}; mend the cell, or make the report again")


def filtered(board: Leaderboard, task: str) -> Leaderboard:
    """Its rows of tasks that match a glob. Raises :class:`UserError` where there is none."""
    kept = board.frame[[matches(str(identity), task) for identity in board.frame["task"]]]
    if kept.empty:
        raise UserError(f"{board.where}: no row matches --task {task}")
    return Leaderboard(board.where, kept.reset_index(drop=True))


def _as_leaderboard(side: Side, name: str) -> Leaderboard:
    """Figures with intervals; of jobs as their own leaderboard would have them."""
    if isinstance(side, Leaderboard):
        return side
    from mmcl_bench.report.tables import frame_of, standings

    jobs = [job for entry in side for job in entry.jobs]
    if not jobs:
        raise UserError(
            f"{name}: scores of a file do not compare with a leaderboard; keep them with score --store first"
        )
    return Leaderboard(name, frame_of(standings(jobs)))


def _compare_leaderboards(a: Leaderboard, b: Leaderboard, metric: str | None) -> Comparison:
    ours, theirs = _rows_by_key(a), _rows_by_key(b)
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise UserError(f"{a.where} and {b.where} share no row of one task, method and settings")
    rows = []
    for key in shared:
        _require_alike(ours[key], theirs[key], a.where, b.where)
        headline = metric or str(ours[key]["main_metric"])
        pair = [_interval(row, headline) for row in (ours[key], theirs[key])]
        if pair[0] is None or pair[1] is None:
            if metric is not None:
                continue
            raise UserError(f"{key[0]}: {a.where} or {b.where} has no column {headline}; report both again")
        version = int(ours[key]["version"])
        told = _told_row(ours[key])
        rows.append(
            UnpairedComparison(key[0], version, told, headline, pair[0], pair[1], unpaired_difference(pair[0], pair[1]))
        )
    if not rows:
        raise UserError(f"--metric {metric}: no row of both leaderboards has it")
    adjusted = holm([row.difference.p_value for row in rows])
    notes = [
        f"{n_alone} rows that only {board.where} has are left out"
        for board, own, other in ((a, ours, theirs), (b, theirs, ours))
        if (n_alone := len(own.keys() - other.keys()))
    ]
    unpaired = tuple(replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True))
    return Comparison(unpaired=unpaired, notes=tuple(notes))


def _rows_by_key(board: Leaderboard) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows by what they are of, of several versions of a method the latest."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in board.frame.to_dict("records"):
        row["task"] = unversioned(str(row["task"]))
        key = tuple(_cell(row.get(name)) for name in _KEY)
        former = rows.get(key)
        if former is not None and former.get("method_version") == row.get("method_version"):
            raise UserError(
                f"{board.where}: {row['task']}, {_told_row(row)} stands there twice; leave out one row, or the task by "
                "--task"
            )
        if former is None or former.get("method_version", 0) < row.get("method_version", 0):
            rows[key] = row
    return rows


def _require_alike(a: Mapping[str, Any], b: Mapping[str, Any], a_where: str, b_where: str) -> None:
    for name, what in (("version", "version"), ("task_hash", "hash"), ("data", "data")):
        if _cell(a.get(name)) != _cell(b.get(name)) and name in a and name in b:
            raise UserError(
                f"{a['task']}: {what} {_cell(a[name])} in {a_where} and {_cell(b[name])} in {b_where}; such figures do "
                "not compare, so run the older ones again or leave the task out with --task"
            )


def _interval(row: Mapping[str, Any], metric: str) -> Interval | None:
    bounds = [row.get(name) for name in (metric, f"{metric}_low", f"{metric}_high")]
    if any(bound is None or math.isnan(float(bound)) for bound in bounds):
        return None
    value, low, high = map(float, bounds)  # type: ignore[arg-type]
    return Interval(value, low, high, int(row.get("n_test", 0)), LEVEL)


def _told_row(row: Mapping[str, Any]) -> str:
    beside = [_cell(row.get("preset")), _cell(row.get("settings"))]
    beside += ["transductive"] if row.get("setting") == "transductive" else []
    return f"{row['method']} ({', '.join(part for part in beside if part)})"


def _cell(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
