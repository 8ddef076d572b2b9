"""Transfer tasks by source and target: the figure of each method, and its gain over source only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby

import pandas as pd

from mmcl_bench.evaluation.statistics import Interval, mean_interval
from mmcl_bench.report.drawing import Drawing, shortened, text_width
from mmcl_bench.report.methods_by_task import MethodOverTasks, methods_over_tasks
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

Pair = tuple[str, str]
"""The sources, joined by ``+``, and the target."""
_AND = " + "
_SOURCE_ONLY = {"bottleneck": "source-only", "Cs": "logistic-source-only"}
"""The method without adaptation, by a setting that all methods of its kind have: those on the network, shallow ones."""
_OTHERWISE = "logistic"
_CELL = (58.0, 32.0)
"""Width and height of a cell of a heat map, pixels."""
_MOST_LETTERS, _MOST_PANELS = 34, 3
"""Letters of a name in a heat map, and methods side by side."""


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

    def gain(self, row: LeaderboardRow | None) -> Gain | None:
        """That of a row."""
        return None if row is None else self.gains.get(row.group.key)

    def mean_gain(self, method: MethodOverTasks) -> Interval | None:
        """Over the tasks where the method has one, with Student's t interval over tasks; bounds are nan for one."""
        gains = [self.gain(row) for row in method.rows]
        found = [gain.comparison.paired.difference for gain in gains if gain and gain.comparison]
        return mean_interval(found, LEVEL) if found else None


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
    heads = ["Source", "Target", "Task", "Setting", "Method", "Seeds", "Metric", "Figure", "Gain", "p", "Gain over"]
    cells = []
    for table in tables:
        for method in table.methods:
            for row in method.rows:
                gain, group = table.gain(row), row.group
                paired = gain.comparison.paired if gain and gain.comparison else None
                cells.append(
                    [
                        *(*_pair(group), group.task.identity, group.setting, group.label, len(group.seeds)),
                        *(metric_title(group.task.main_metric), percent(row.main)),
                        *("–" if gain is None else str(gain), "–" if paired is None else p_text(paired.p_value)),
                        "–" if gain is None else gain.over.group.label,
                    ]
                )
    return pd.DataFrame(cells, columns=heads)


def mean_gain_text(figure: Interval | None) -> str:
    """``+3.1 [0.4, 5.9]``, without bounds that are not known; a dash for None."""
    if figure is None:
        return "–"
    if math.isnan(figure.low):
        return f"{100 * figure.value:+.1f}"
    return signed_percent(figure.value, figure.low, figure.high)


def heat_map(table: TransferTable, setting: str, where: str) -> Drawing:
    """A panel a method of one setting: a row a source, a column a target; percent, and below it the gain in points.

    Darker is better among all cells of the table, so that its settings can be compared. A pair that is not among the
    tasks, or on which the method did not run, is empty.
    """
    methods, sources, targets = table.settings[setting], table.sources, table.targets
    width, height = _CELL
    values = [row.main.value for method in table.methods for row in method.rows if not math.isnan(row.main.value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    names = [shortened(source, _MOST_LETTERS) for source in sources]
    margin, top = max(map(text_width, names)) + 14, max(map(text_width, targets)) + 32
    panel = max(width * len(targets), text_width("x" * _MOST_LETTERS)) + 24
    block = top + height * len(sources) + 14
    n_panels = min(_MOST_PANELS, len(methods))
    n_blocks = math.ceil(len(methods) / n_panels)
    metric = metric_title(methods[0].group.task.main_metric)
    title = f"{metric} by source and target, {setting}: {table.kind}\n{where}"
    drawing = Drawing(title, margin + panel * n_panels, block * n_blocks + 22)
    for place, method in enumerate(methods):
        left, above = margin + place % n_panels * panel, place // n_panels * block
        drawing.text((left, above + 14), shortened(method.group.label, _MOST_LETTERS), bold=True)
        for at, target in enumerate(targets):
            drawing.text((left + (at + 0.5) * width + 4, above + top - 6), target, upright=True)
        if place % n_panels == 0:
            drawing.text((margin - 8, above + top - 6), "source", anchor="end", color="dim")
            for at, name in enumerate(names):
                drawing.text((margin - 8, above + top + (at + 0.5) * height + 4), name, anchor="end")
        drawing.frame(left - 1, above + top - 1, width * len(targets), height * len(sources), "line")
        for row in method.rows:
            if math.isnan(row.main.value):
                continue
            source, target = table.place(_pair(row.group))
            x, y = left + targets.index(target) * width, above + top + sources.index(source) * height
            share = (row.main.value - low) / (high - low) if high > low else 0.0
            # Never so dark that the text in it cannot be read.
            drawing.boxes([(x, y, width - 2, height - 2)], "c0", round(0.06 + 0.49 * share, 2))
            gain = table.gain(row)
            drawing.text((x + width / 2 - 1, y + 14), percent_value(row.main.value), anchor="middle", size=12)
            if gain is not None and gain.comparison is not None:
                told = f"{100 * gain.comparison.paired.difference:+.1f}"
                look = {"anchor": "middle", "size": 9, "bold": gain.comparison.resolved}
                drawing.text((x + width / 2 - 1, y + 25), told, **look)
    note = "below a figure: its gain over source only, bold where the 95% interval excludes 0; darker is better"
    drawing.width = max(drawing.width, text_width(note, 10) + 12)
    drawing.text((6, drawing.height - 6), note, color="dim", size=10)
    return drawing


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

    Of several, it is the one whose settings are nearest. Such a row itself is compared with the nearest that changes a
    part of its settings alone, which is mostly the preset.
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
    return min(others, key=lambda each: each[0])[1] if others else None


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
