"""Leaderboards and the table after a run, made from results alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mmcl_bench.core.files import write_text
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.text import joined_datasets
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.evaluation.statistics import (
    FEWEST_RUNS,
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
)
from mmcl_bench.results.groups import SETTINGS, Group, group_jobs, metric_names, metric_title, paired_groups
from mmcl_bench.results.store import SAMPLES, Stored

if TYPE_CHECKING:
    from rich.table import Table

LEVEL = 0.95
_TINY = 1e-12
LEADERBOARDS = {False: "leaderboard.csv", True: "leaderboard-synthetic.csv"}
"""File name by whether the data is synthetic: the two never share a table."""
OF_CLASS_FOLDS = {False: "class-folds.csv", True: "class-folds-synthetic.csv"}
"""As LEADERBOARDS, of figures pooled over class folds."""
_MOST_SIDE_BY_SIDE = 4
"""Up to so many methods stand side by side in the table after a run."""
_MANY_GROUPS, _MANY_SCORES = 40, 2**27
"""More rows, or numbers in score matrices, than these are worth starting processes for their intervals."""
_BEFORE_METRICS = [
    *("task", "version", "task_hash", "data", "family", "dataset", "split", "synthetic", "incomplete"),
    *("method", "method_version", "setting", "flags", "preset", "settings", "selection", "seeds", "n_test"),
]
COSTS = {"parameters": "Parameters", "flops": "FLOPs", "fit_seconds": "Fit", "score_seconds": "Scoring"}
"""Titles of what a method costs: its network, arithmetic to score a clip, and time of its fits and of the test."""
_COSTS_OF_A_RUN = {"parameters": "parameters", "flops": "FLOPs per clip", "fit_seconds": "fit", "score_seconds": "test"}
_COUNTS = ["parameters", "flops"]
_REMARKS = "notes"
_WHERE_KNOWN = {"incomplete", "flags", "oracle_minus_honest", *COSTS, _REMARKS}
"""Columns that a table lacks where no row has them."""
_AFTER_METRICS = ["oracle", "oracle_minus_honest", *COSTS, "main_metric", "commit", "dirty", "command", _REMARKS]


@dataclass(frozen=True)
class LeaderboardRow:
    """A group with its figures: a row of a table."""

    group: Group
    figures: Mapping[str, Interval]
    """By metric: the mean over seeds. With one or two seeds the interval covers test samples alone, else seeds too."""
    oracle: float
    """Mean over seeds of the best test figure of the main metric; nan unless every seed has one. Never ranked."""

    @property
    def main(self) -> Interval:
        return self.figures[self.group.task.main_metric]

    @property
    def oracle_minus_honest(self) -> float:
        """What choosing the step on the test set would have added to the main metric, mean over seeds; nan where there
        is no oracle figure."""
        return self.oracle - self.main.value


@dataclass(frozen=True)
class Comparison:
    """Two groups of a task, by its main metric, on the samples and seeds that both have."""

    a: Group
    b: Group
    paired: PairedDifference
    seeds: tuple[int, ...]
    """Those that both have."""

    @property
    def resolved(self) -> bool:
        """Whether the interval of the difference at :data:`LEVEL` excludes 0."""
        return excludes_zero(self.paired)

    @property
    def verdict(self) -> str:
        text = f"{LEVEL:.0%} interval {'excludes' if self.resolved else 'includes'} 0"
        return f"{text} (two seeds, so it is wide)" if self.paired.n_runs == 2 else text

    @property
    def alone(self) -> str:
        """``over seeds 0, 1``, where one of the two has more; else empty."""
        if all(set(each.seeds) <= set(self.seeds) or each.method.deterministic for each in (self.a, self.b)):
            return ""
        return f"over {'seed' if len(self.seeds) == 1 else 'seeds'} {', '.join(map(str, self.seeds))}"

    @property
    def outcome(self) -> str:
        """``+3.1 [0.4, 5.9], p=0.02: 95% interval excludes 0``"""
        points = signed_percent(self.paired.difference, self.paired.low, self.paired.high)
        return ", ".join(filter(None, [points, p_text(self.paired.p_value), self.alone])) + f": {self.verdict}"

    def __str__(self) -> str:
        return f"{self.a.label} - {self.b.label}: {self.outcome}"


def excludes_zero(paired: PairedDifference) -> bool:
    """Whether the interval of a difference does."""
    # Sums of shares that cancel leave the last bits of their arithmetic.
    return paired.low > _TINY or paired.high < -_TINY


BEST, TIED = "best", "tied"
TIE_MARK = "="


@dataclass(frozen=True)
class PlacedRow:
    """A row of a task beside the best of its setting."""

    row: LeaderboardRow
    is_best: bool
    comparison: Comparison | None = None
    """With the best; None for the best itself, and where the two do not pair."""

    @property
    def standing(self) -> str:
        """``best``, ``tied`` where the interval of its difference to the best includes 0, or empty."""
        if self.is_best:
            return BEST
        return TIED if self.comparison is not None and not self.comparison.resolved else ""


def placed_by_setting(rows: Sequence[LeaderboardRow]) -> dict[str, list[PlacedRow]]:
    """The rows of one task, which are by falling main metric, within each setting: the best, then the others beside it.

    In the order of :data:`.groups.SETTINGS`.
    """
    placed = {}
    for setting, of_setting in by_setting(rows).items():
        with of_setting[0].group.runs_in_memory():
            placed[setting] = [place_beside(of_setting[0], row) for row in of_setting]
    return placed


def by_setting(rows: Sequence[LeaderboardRow]) -> dict[str, list[LeaderboardRow]]:
    """Rows by their setting, in the order of :data:`.groups.SETTINGS`."""
    found = {setting: [row for row in rows if row.group.setting == setting] for setting in SETTINGS}
    return {setting: members for setting, members in found.items() if members}


def place_beside(best: LeaderboardRow, row: LeaderboardRow) -> PlacedRow:
    """A row beside the best of its setting, which it may be itself."""
    return PlacedRow(row, True) if row is best else PlacedRow(row, False, compare(row.group, best.group))


def leaderboard_rows(stored: Iterable[Stored]) -> list[LeaderboardRow]:
    """One row a group; rows of a task stand together, by falling main metric."""
    groups = group_jobs(stored)
    n_scores = sum(job.result.n_test * len(job.result.classes) for group in groups for job in group.jobs)
    are_many = len(groups) > _MANY_GROUPS or n_scores > _MANY_SCORES
    figures = in_order(_figures, groups, workers=None if are_many else 1, items_a_call=2)
    rows = [LeaderboardRow(group, found, _oracle(group)) for group, found in zip(groups, figures, strict=True)]
    first_place = {row.group.task_key: place for place, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: (first_place[row.group.task_key], _falling(row.main.value)))


def frame_of(rows: Sequence[LeaderboardRow]) -> pd.DataFrame:
    """A leaderboard: one row for all jobs that differ in their seed alone.

    Columns: task, version, task_hash, data, family, dataset, split, synthetic, incomplete (the published clips that the
    data have, where they lack some), method, method_version, setting, flags (how it learned, in words), preset,
    settings (where groups differ in them), selection, seeds, n_test, then for each metric its mean over seeds, ``_low``
    and ``_high``, then oracle, oracle_minus_honest, parameters and flops (to score a clip), fit_seconds and
    score_seconds (means over seeds), main_metric, commit, dirty, command, notes. Incomplete, flags,
    oracle_minus_honest, those of costs and notes are left out where no row has them. Figures are shares of 1.
    """
    metrics = metric_names(row.group for row in rows)
    columns = [column for name in metrics for column in (name, f"{name}_low", f"{name}_high")]
    frame = pd.DataFrame([_frame_row(row) for row in rows], columns=[*_BEFORE_METRICS, *columns, *_AFTER_METRICS])
    return frame.astype(dict.fromkeys(_COUNTS, "Int64"))


def split_by_origin(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows on real data, and those on synthetic data; each without the metrics that none of its rows has."""
    synthetic = frame["synthetic"].astype(bool)
    return own_metrics(frame[~synthetic]), own_metrics(frame[synthetic])


def write_frame(frame: pd.DataFrame, folder: Path, names: Mapping[bool, str] = LEADERBOARDS) -> list[Path]:
    """Writes the rows on real data and those on synthetic data to files of these names, each where there are rows; the
    same results give the same bytes. A file of a former report without rows now is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for synthetic, rows in zip((False, True), split_by_origin(frame), strict=True):
        path = folder / names[synthetic]
        if rows.empty:
            path.unlink(missing_ok=True)
            continue
        write_text(path, rows.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
        written.append(path)
    return written


def compare(a: Group, b: Group) -> Comparison | None:
    """How far a is ahead of b on the seeds that both have; None where they do not pair: no such seed, other samples, or
    no figure."""
    metric, pairs = a.task.main_metric, paired_groups(a, b)
    if a.task_key != b.task_key or metric not in METRICS or pairs is None or not _same_samples(*pairs):
        return None
    generator, (ours, theirs) = a.generator(f"less {b.key}"), (each.runs() for each in pairs)
    paired = paired_difference(METRICS.get(metric), ours, theirs, level=LEVEL, generator=generator)
    seeds = pairs[1 if a.method.deterministic else 0].seeds
    return None if math.isnan(paired.difference) else Comparison(a, b, paired, tuple(seeds))


def fusion_table(fused: Sequence[Stored], members: Sequence[Stored]) -> Table:
    """A terminal table, one row for a fusion and for each of its members, best first, with weights; below it, how far
    the fusion is ahead of the best of them."""
    from rich.text import Text

    rows = leaderboard_rows([*fused, *members])
    (fusion,) = group_jobs(fused)
    weights, metrics = _weights_of(fused, members), metric_names(row.group for row in rows)
    shared = set(fusion.assignments())
    several_presets = len({row.group.method.preset for row in rows}) > 1

    def name_of(group: Group) -> str:
        own = [text for text in group.assignments() if text not in shared]
        preset = [f"preset={group.method.preset}"] if several_presets else []
        return "fusion" if group.key == fusion.key else " ".join([group.method.name, *preset, *own])

    comparison = ahead_of_best(fused, members)
    ahead = "not paired with its best member on test"
    if comparison is not None:
        ahead = f"against its best member on test, {name_of(comparison.b)}: {comparison.outcome}"
    table = _terminal_table(rows, [ahead, *_cost_of_fusion(fusion), *_remarks(rows)])
    table.add_column("", overflow="fold", min_width=20)
    for head in ("weight", *map(metric_title, metrics)):
        table.add_column(head, justify="right")
    for row in rows:
        cells = [name_of(row.group), weights.get(row.group.key, ""), *(_brief(row, metric) for metric in metrics)]
        table.add_row(*map(Text, cells), style="bold" if row.group.key == fusion.key else None)
    return table


def _cost_of_fusion(fusion: Group) -> list[str]:
    """What all members come to, in a line; none where it is not known."""
    cost = cost_of(fusion)
    if not cost:
        return []
    parameters, flops = (count_text(cost.get(name)) for name in ("parameters", "flops"))
    return [f"all members together: {parameters} parameters, {flops} FLOPs a clip"]


def _brief(row: LeaderboardRow, metric: str) -> str:
    """The main metric with its interval, others without."""
    figure = row.figures[metric]
    return percent(figure) if metric == row.group.task.main_metric else percent_value(figure.value)


def fusion_records(fused: Sequence[Stored], members: Sequence[Stored]) -> list[dict[str, Any]]:
    """The rows of :func:`fusion_table` as JSON values; that of the fusion says how far it is ahead of its best member,
    and its weights and the validation clips that they were fitted on by seed."""
    (record,) = run_records(fused)
    comparison = ahead_of_best(fused, members)
    fusion = {
        **record,
        "weights": {job.result.seed: job.result.notes["weights"] for job in fused},
        "n_fitted_on": {job.result.seed: job.result.notes["n_fitted_on"] for job in fused},
        "ahead_of_best_member": None if comparison is None else _comparison_record(comparison),
    }
    return [fusion, *run_records(members)]


def _weights_of(fused: Sequence[Stored], members: Sequence[Stored]) -> dict[str, str]:
    """By key of the member's group, its share in percent; the mean over seeds."""
    share = {
        member["job"]: weight
        for job in fused
        for member, weight in zip(job.result.notes["members"], job.result.notes["weights"], strict=True)
    }
    return {
        group.key: f"{100 * sum(share[job.result.job_hash] for job in group.jobs) / len(group.jobs):.1f} %"
        for group in group_jobs(members)
    }


def ahead_of_best(fused: Sequence[Stored], members: Sequence[Stored]) -> Comparison | None:
    """A fusion against the best of its members on test, which flatters the member; None where they do not pair."""
    (fusion,) = group_jobs(fused)
    return compare(fusion, leaderboard_rows(members)[0].group)


def run_tables(stored: Sequence[Stored]) -> list[Table]:
    """A terminal table for each task, in the order in which tasks first come; see :func:`run_table`."""
    by_task: dict[str, list[Stored]] = {}
    for job in stored:
        by_task.setdefault(job.result.task.identity, []).append(job)
    return [run_table(jobs) for jobs in by_task.values()]


def run_table(stored: Sequence[Stored]) -> Table:
    """A terminal table of jobs of one task, best first; below it, how far the best is ahead of each other one.

    Smoke runs are shown, and named so.
    """
    rows = leaderboard_rows(stored)
    table = _terminal_table(rows, [*_comparisons(rows), *_remarks(rows)])
    (_add_columns if len(rows) <= _MOST_SIDE_BY_SIDE else _add_rows)(table, rows)
    return table


def _add_columns(table: Table, rows: Sequence[LeaderboardRow]) -> None:
    """A column a method, so that all figures and intervals of a few fit a terminal of 80 columns."""
    from rich.text import Text

    table.add_column("")
    for row in rows:
        table.add_column(Text(row.group.label), justify="right")
    for name in metric_names(row.group for row in rows):
        cells = [percent(row.figures[name]) if name in row.figures else "" for row in rows]
        table.add_row(*map(Text, [metric_title(name), *cells]))
    costs = [costs_of(row.group) for row in rows]
    facts = []
    if not all(math.isnan(row.oracle) for row in rows):
        facts.append(["best epoch on test (oracle)", *(percent_value(row.oracle) for row in rows)])
        facts.append(["oracle minus honest", *(percent_value(row.oracle_minus_honest) for row in rows)])
    facts.append(["seeds", *(str(len(row.group.seeds)) for row in rows)])
    if any(row.group.flags for row in rows):
        facts.append(["learned", *(row.group.flags or "–" for row in rows)])
    for name, title in _COSTS_OF_A_RUN.items():
        if any(name in cost for cost in costs):
            facts.append([title, *(cost_text(name, cost.get(name)) for cost in costs)])
    for cells in facts:
        table.add_row(*map(Text, cells), style="dim")


def _add_rows(table: Table, rows: Sequence[LeaderboardRow]) -> None:
    """A row a method, with the interval of the main metric alone; settings that are not ranked together are told."""
    from rich.text import Text

    metrics = metric_names(row.group for row in rows)
    table.add_column("", overflow="fold", min_width=15)
    for head in (*map(metric_title, metrics), "oracle - honest", "fit"):
        table.add_column(head, justify="right")
    for row in rows:
        figures = [_brief(row, metric) if metric in row.figures else "" for metric in metrics]
        fit = cost_text("fit_seconds", costs_of(row.group).get("fit_seconds"))
        table.add_row(*map(Text, [row.group.label, *figures, percent_value(row.oracle_minus_honest), fit]))


def _terminal_table(rows: Sequence[LeaderboardRow], below: Sequence[str]) -> Table:
    """Without columns yet: the tasks above, what the intervals are over and the lines ``below`` below."""
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=Text(_run_title(rows), style="bold"),
        caption=Text("\n".join(["percent, with 95% intervals over " + _spread(rows), *below])),
        title_justify="left",
        caption_justify="left",
    )


def cost_of(group: Group) -> dict[str, int]:
    """``parameters`` and ``flops`` per clip of a group, as its first job noted them; empty where it has none."""
    cost: dict[str, int] = group.first.notes.get("cost", {})
    return cost


def costs_of(group: Group) -> dict[str, float]:
    """Those of :data:`COSTS` that are known; seconds are means over the seeds that know them."""
    found: dict[str, float] = {name: count for name, count in cost_of(group).items() if name in COSTS}
    for name in ("fit_seconds", "score_seconds"):
        seconds = [getattr(job.result.provenance, name) for job in group.jobs]
        if known := [each for each in seconds if each is not None]:
            found[name] = sum(known) / len(known)
    return found


def cost_text(name: str, cost: float | None) -> str:
    """``1.45 M`` parameters; ``0.4 s``, ``42 s`` or ``12 min``; a dash where it is not known."""
    if cost is None or name in _COUNTS:
        return count_text(None if cost is None else round(cost))
    return f"{cost:.1f} s" if cost < 10 else f"{cost:.0f} s" if cost < 600 else f"{cost / 60:.0f} min"


def count_text(count: int | None) -> str:
    """``1.45 M``, ``3.54 G``; a dash where there is none."""
    if count is None:
        return "–"
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return str(count)


def run_records(stored: Sequence[Stored]) -> list[dict[str, Any]]:
    """The rows of :func:`run_table` as JSON values; figures are shares of 1, None where undefined."""
    return [_record(row) for row in leaderboard_rows(stored)]


def percent(figure: Interval | None) -> str:
    """``63.2 [60.1, 66.0]``, without bounds that are not known; a dash where undefined."""
    if figure is None or math.isnan(figure.value):
        return "–"
    bounds = "" if math.isnan(figure.low) else f" [{100 * figure.low:z.1f}, {100 * figure.high:z.1f}]"
    return f"{100 * figure.value:z.1f}{bounds}"


def percent_value(value: float) -> str:
    """``63.2``; a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:z.1f}"


def signed_percent(value: float, low: float, high: float) -> str:
    """``+3.1 [0.4, 5.9]``, without bounds that are not known"""
    return f"{100 * value:+.1f}" + ("" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")


def p_text(p_value: float) -> str:
    """``p=0.02``, ``p<0.001``"""
    return "p<0.001" if p_value < 0.001 else f"p={p_value:.2g}"


def _figures(group: Group) -> dict[str, Interval]:
    if len(group.jobs) == 1:
        return {name: _stored_interval(group, name) for name in group.task.metrics}
    runs = group.runs()
    return {
        name: bootstrap_interval(
            METRICS.get(name),
            runs,
            level=LEVEL,
            generator=group.generator(name),
            over_runs=len(runs) >= FEWEST_RUNS,
        )
        if name in METRICS
        else stored_mean([group], name)
        for name in group.task.metrics
    }


def stored_mean(groups: Sequence[Group], name: str) -> Interval:
    """The mean of what the jobs themselves wrote, without an interval: the plugin that defines the metric is not
    here."""
    figures = [job.result.metrics[name] for group in groups for job in group.jobs]
    values = [math.nan if figure.value is None else figure.value for figure in figures]
    return Interval(sum(values) / len(values), math.nan, math.nan, figures[0].n, LEVEL)


def _stored_interval(group: Group, name: str) -> Interval:
    """The interval that the job itself wrote, so that every page shows one and the same."""
    figure = group.first.metrics[name]
    value, low, high = (math.nan if bound is None else bound for bound in (figure.value, figure.low, figure.high))
    return Interval(value, low, high, figure.n, figure.level)


def _oracle(group: Group) -> float:
    values = [best for job in group.jobs if (best := job.result.best_on_test) is not None]
    return sum(values) / len(values) if len(values) == len(group.jobs) else math.nan


def _falling(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _same_samples(a: Group, b: Group) -> bool:
    pairs = list(zip(a.jobs, b.jobs, strict=True))
    if any(ours.result.classes != theirs.result.classes for ours, theirs in pairs):
        return False
    # Equal files need not be read; others may still hold equal tables.
    return all(
        ours.result.files.get(SAMPLES, "ours") == theirs.result.files.get(SAMPLES, "theirs")
        or ours.samples.equals(theirs.samples)
        for ours, theirs in pairs
    )


def _frame_row(row: LeaderboardRow) -> dict[str, Any]:
    group, task = row.group, row.group.task
    origins = [job.result.provenance for job in group.jobs]
    data = group.first.provenance.data_fingerprints
    commits = {origin.commit for origin in origins if origin.commit}
    dirty = {origin.dirty for origin in origins}
    cells: dict[str, Any] = {
        "task": task.identity,
        "version": task.version,
        "task_hash": task.hash[:12],
        "data": " ".join(f"{name}:{value[:12]}" for name, value in sorted(data.items())),
        "family": task.family,
        "dataset": joined_datasets(task.datasets),
        "split": task.split,
        "synthetic": task.synthetic,
        "incomplete": group.incomplete or None,
        "method": group.method.name,
        "method_version": group.method.version,
        "setting": group.setting,
        "flags": group.flags or None,
        "preset": group.method.preset,
        "settings": group.settings or None,
        "selection": group.first.selection.rule,
        "seeds": len(group.seeds),
        "n_test": group.first.n_test,
        "oracle": row.oracle,
        "oracle_minus_honest": row.oracle_minus_honest,
        **dict.fromkeys(COSTS),
        **costs_of(group),
        "main_metric": task.main_metric,
        "commit": " ".join(sorted(commits)) or None,
        "dirty": True if True in dirty else (None if None in dirty else False),
        "command": group.command,
        _REMARKS: ". ".join(group.remarks) or None,
    }
    for name, figure in row.figures.items():
        cells |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return cells


def own_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard without the columns of metrics, costs, incomplete data and notes that none of its rows has."""
    fixed = {*_BEFORE_METRICS, *_AFTER_METRICS} - _WHERE_KNOWN
    # Bounds that are not known are empty, so that a table has the same columns whatever is known.
    bound = re.compile("(_other_classes)?_(low|high)$")
    figure_of = {column: name if (name := bound.sub("", column)) in frame else column for column in frame.columns}
    kept = [column for column in frame.columns if column in fixed or frame[figure_of[column]].notna().any()]
    return frame[kept].reset_index(drop=True)


def _run_title(rows: Sequence[LeaderboardRow]) -> str:
    return "\n".join(dict.fromkeys(_task_title(row.group) for row in rows))


def _task_title(group: Group) -> str:
    notes = ["synthetic"] if group.task.synthetic else []
    if group.incomplete:
        notes.append(f"incomplete data, {group.incomplete}: not ranked with whole copies")
    if group.first.limit is not None:
        notes.append(f"smoke run, limit {group.first.limit}: never ranked")
    return f"{group.task.identity}  {' · '.join(notes)}".rstrip()


def _comparisons(rows: Sequence[LeaderboardRow]) -> list[str]:
    best = rows[0].group
    comparisons = (compare(best, row.group) for row in rows[1:])
    return [str(comparison) for comparison in comparisons if comparison is not None]


def _remarks(rows: Sequence[LeaderboardRow]) -> list[str]:
    return [f"{row.group.label}: {text}" for row in rows for text in row.group.remarks]


def _spread(rows: Sequence[LeaderboardRow]) -> str:
    once = [row.group.method.name for row in rows if len(row.group.jobs) == 1 and row.group.method.deterministic]
    counts = [len(row.group.jobs) for row in rows if row.group.method.name not in once]
    fewest, most = min(counts, default=0), max(counts, default=0)
    if fewest < FEWEST_RUNS <= most:
        return "test samples, and over seeds where there are three or more"
    if fewest == 1:
        return "test samples; one seed does not show the spread over seeds"
    if 0 < fewest < FEWEST_RUNS:
        return "test samples; two seeds are too few for an interval over seeds"
    over = "test samples and seeds" if counts else "test samples"
    names = ", ".join(dict.fromkeys(once))
    return f"{over}; one run of {names}, as every seed gives the same scores" if names else over


def _record(row: LeaderboardRow) -> dict[str, Any]:
    group, task = row.group, row.group.task
    return {
        "task": task.identity,
        "task_hash": task.hash,
        "family": task.family,
        "synthetic": task.synthetic,
        "incomplete": task.incomplete,
        "method": group.method.name,
        "method_version": group.method.version,
        "setting": group.setting,
        "flags": group.flags,
        "preset": group.method.preset,
        "settings": group.method.settings,
        "limit": group.first.limit,
        "seeds": list(group.seeds),
        "n_test": group.first.n_test,
        "selection": group.first.selection.rule,
        "main_metric": task.main_metric,
        "metrics": {
            name: {key: _json_number(value) for key, value in asdict(figure).items()}
            for name, figure in row.figures.items()
        },
        "oracle": _json_number(row.oracle),
        "oracle_minus_honest": _json_number(row.oracle_minus_honest),
        "cost": cost_of(group) or None,
        "command": group.command,
        _REMARKS: group.remarks,
        "folders": [str(job.folder) for job in group.jobs],
    }


def _comparison_record(comparison: Comparison) -> dict[str, Any]:
    record = asdict(comparison.paired)
    del record["n_runs"]
    return {"member": comparison.b.label, **record}


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
