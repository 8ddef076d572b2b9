"""Transfer tasks by source and target: the figure of each method, and its gain over source only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, groupby
from typing import TYPE_CHECKING

import pandas as pd

from mmcl_bench.evaluation.statistics import Interval, mean_interval
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import shortened
from mmcl_bench.report.figures import Cell, HeatMap, Looks, MethodIntervals
from mmcl_bench.report.methods_by_task import MethodOverTasks, methods_over_tasks
from mmcl_bench.report.ranking import CHANCE
from mmcl_bench.report.tables import (
    LEVEL,
    Comparison,
    LeaderboardRow,
    compare,
    p_text,
    percent,
    percent_value,
    signed_percent,
)
from mmcl_bench.results.groups import Group, metric_title

if TYPE_CHECKING:
    from mmcl_bench.report.drawing import Draw

Pair = tuple[str, str]
"""The sources, joined by ``+``, and the target."""
_AND = " + "
_SOURCE_ONLY = {"bottleneck": "source-only", "Cs": "logistic-source-only"}
"""The method without adaptation, by a setting that all methods of its kind have: those on the network, shallow ones."""
_OTHERWISE = "logistic"
_MOST_LETTERS = 34
"""Of a name in a heat map."""
_NOTE = (
    "below a figure: its gain over source only; bold where the 95% interval of the gain excludes 0; "
    "stronger colour is better"
)


@dataclass(frozen=True)
class Gain:
    """How far a row is ahead of the one without adaptation."""

    over: LeaderboardRow
    comparison: Comparison | None
    """None where the two do not pair: they ran with other seeds."""

    def __str__(self) -> str:
        """``+3.1 [0.4, 5.9]``, or why that is not given."""
        if self.comparison is None:
            return "not paired"
        paired = self.comparison.paired
        return signed_percent(paired.difference, paired.low, paired.high)


@dataclass(frozen=True)
class TransferTable:
    """Methods over the transfer tasks that differ in their sources and their target alone."""

    kind: str
    """What the tasks have in common, such as ``shared classes`` or ``classes=texts``."""
    tasks: Mapping[Pair, Group]
    """Any group of each task."""
    methods: tuple[MethodOverTasks, ...]
    """By setting; within one, those of most tasks first, then by falling mean."""
    gains: Mapping[str, Gain]
    """By key of the row's group. A row lacks one that is itself without adaptation, or where no such method was run."""

    def place(self, pair: Pair) -> Pair:
        """Row and column of a heat map: all sets of the table but the target are ``all others``."""
        source, target = pair
        others = sorted({name for each in self.tasks for side in each for name in side.split(_AND)} - {target})
        return ("all others" if len(others) > 1 and source.split(_AND) == others else source), target

    @property
    def sources(self) -> list[str]:
        """The rows of a heat map."""
        found = {self.place(pair)[0] for pair in self.tasks}
        return sorted(found, key=lambda source: (source == "all others", source.count(_AND), source))

    @property
    def targets(self) -> list[str]:
        """The columns of a heat map."""
        return sorted({target for _, target in self.tasks})

    @property
    def settings(self) -> dict[str, list[MethodOverTasks]]:
        """The methods of each setting."""
        return {name: list(own) for name, own in groupby(self.methods, key=lambda method: method.group.setting)}

    @property
    def is_grid(self) -> bool:
        """Whether a source has several targets and a target several sources, so that a heat map shows something."""
        return len(self.tasks) > max(len(self.sources), len(self.targets))

    def gain(self, row: LeaderboardRow | None) -> Gain | None:
        """That of a row."""
        return None if row is None else self.gains.get(row.group.key)

    def mean_gain(self, method: MethodOverTasks) -> Interval | None:
        """Over the tasks where the method has one, with Student's t interval over tasks; bounds are nan for fewer than
        three, of which it says nothing."""
        gains = [self.gain(row) for row in method.rows]
        found = [gain.comparison.paired.difference for gain in gains if gain and gain.comparison]
        if not found:
            return None
        interval = mean_interval(found, LEVEL)
        return interval if len(found) > 2 else replace(interval, low=math.nan, high=math.nan)


def transfer_tables(rows: Iterable[LeaderboardRow]) -> list[TransferTable]:
    """The tables of a family's rows; none for other families.

    Tasks of other parameters, such as classes that are known by texts, have tables of their own, and so have incomplete
    data, and tasks of the same sets with other contents.
    """
    placed: dict[tuple[str, int], dict[Pair, Group]] = defaultdict(dict)
    together: dict[tuple[str, int], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        if len(row.group.task.datasets) > 1:
            kind, pair, group = _kind(row.group), _pair(row.group), row.group
            number = next(at for at in count() if placed[kind, at].setdefault(pair, group).task_key == group.task_key)
            together[kind, number].append(row)
    return [
        TransferTable(
            f"{kind} ({number + 1})" if number else kind,
            placed[kind, number],
            methods_over_tasks(members),
            _gains(members),
        )
        for (kind, number), members in together.items()
    ]


def frame_of(tables: Sequence[TransferTable]) -> pd.DataFrame:
    """The tables as texts: a row a source, target and method; percent."""
    heads = ["Source", "Target", "Task", "Setting", "Method", "Metric", "Seeds", "Figure", "Gain", "p", "Gain over"]
    cells = []
    for table in tables:
        for method in table.methods:
            for row in method.rows:
                gain, group = table.gain(row), row.group
                paired = gain.comparison.paired if gain and gain.comparison else None
                cells.append(
                    [
                        *(*_pair(group), group.task.identity, group.setting, group.label),
                        *(metric_title(group.task.main_metric), len(group.seeds), percent(row.main)),
                        *("–" if gain is None else str(gain), "–" if paired is None else p_text(paired.p_value)),
                        "–" if gain is None else gain.over.group.label,
                    ]
                )
    return pd.DataFrame(cells, columns=heads)


def mean_gain_text(figure: Interval | None) -> str:
    """``+3.1 [0.4, 5.9]``, without bounds that are not known; a dash for None."""
    if figure is None:
        return "–"
    return signed_percent(figure.value, figure.low, figure.high)


def heat_maps(table: TransferTable, setting: str) -> Draw:
    """How to draw the methods of one setting: a row a source, a column a target; percent, and below it the gain.

    Darker is better among all methods of the setting. A pair that is not among the tasks, or on which the method did
    not run, is empty.
    """
    sources, targets = table.sources, table.targets
    maps = []
    for method in table.settings[setting]:
        cells = {}
        for row in method.rows:
            if not math.isnan(row.main.value):
                source, target = table.place(_pair(row.group))
                gain, value = table.gain(row), percent_value(row.main.value)
                paired = gain.comparison if gain else None
                below = f"{100 * paired.paired.difference:+.1f}" if paired else ""
                tip = f"{method.group.label}, {source} to {target}: {percent(row.main)}"
                tip += f"; gain {gain}" if paired else ""
                bold = bool(paired and paired.resolved)
                cells[sources.index(source), targets.index(target)] = Cell(row.main.value, value, below, bold, tip)
        maps.append(HeatMap(shortened(method.group.label_in_setting, _MOST_LETTERS), cells))
    return partial(figures.heat_maps, maps, sources, targets, _NOTE)


def gains(table: TransferTable, setting: str, looks: Looks) -> Draw | None:
    """How to draw the gains of one setting with their intervals, a panel a task: for tasks that are no grid of sources
    and targets. None where nothing is compared."""
    compared = {
        (method.group.label, pair): gain.comparison.paired
        for method in table.settings[setting]
        if method.group.method.name != CHANCE  # so far below that nothing else could be read
        for pair, task in table.tasks.items()
        if (gain := table.gain(method.on(task))) and gain.comparison
    }
    pairs = [pair for pair in table.tasks if any(told == pair for _, told in compared)]
    found = []
    for label in dict.fromkeys(label for label, _ in compared):
        of_tasks = (compared.get((label, pair)) for pair in pairs)
        ends = [(each.difference, each.low, each.high) if each else (math.nan,) * 3 for each in of_tasks]
        found.append(MethodIntervals(label, tuple(Interval(*three, n=0, level=LEVEL) for three in ends), False))
    heads = [" to ".join(table.place(pair)) for pair in pairs]
    return partial(figures.intervals, heads, found, looks, None) if found else None


def _gains(rows: Sequence[LeaderboardRow]) -> dict[str, Gain]:
    of_task: dict[str, list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        of_task[row.group.task_key].append(row)
    found = {}
    for row in rows:
        over = without_adaptation(row, of_task[row.group.task_key])
        if over is not None:
            found[row.group.key] = Gain(over, compare(row.group, over.group))
    return found


def without_adaptation(row: LeaderboardRow, rows: Iterable[LeaderboardRow]) -> LeaderboardRow | None:
    """The row of the same kind without adaptation, of those of its task and preset; None where there is no other one.

    Of several, it is the one whose settings are nearest; of equally near ones, the first by the text of its settings.
    Such a row itself is compared with the nearest that changes a part of its settings alone, mostly the preset.
    """
    method, own = row.group.method, set(row.group.assignments())
    name = next((name for setting, name in _SOURCE_ONLY.items() if setting in method.settings), _OTHERWISE)
    others = [
        (len(own.symmetric_difference(other.group.assignments())), other)
        for other in rows
        if other is not row and (other.group.method.name, other.group.method.preset) == (name, method.preset)
    ]
    if method.name == name:
        others = [each for each in others if own.issuperset(each[1].group.assignments())]
    return min(others, key=lambda each: (each[0], each[1].group.settings))[1] if others else None


def is_without_adaptation(group: Group) -> bool:
    """Whether others are compared with it."""
    return group.method.name in {*_SOURCE_ONLY.values(), _OTHERWISE}


def _kind(group: Group) -> str:
    """``shared classes``, or the parameters that a task's identity tells."""
    told = group.task.identity.partition("[")[2].removesuffix("]") or "shared classes"
    return f"{told}, incomplete data" if group.incomplete else told


def _pair(group: Group) -> Pair:
    *sources, target = group.task.datasets
    return _AND.join(sources), target
