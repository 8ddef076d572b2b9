"""Results that differ in the text encoder of their task alone, side by side: methods by encoders."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from mmcl_bench.evaluation.metrics import GZSL_H
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import VALUES
from mmcl_bench.report.figures import Cell, HeatMap
from mmcl_bench.report.tables import LeaderboardRow, percent, percent_value
from mmcl_bench.results.groups import Group, metric_title
from mmcl_bench.results.records import TOLD_LATER

if TYPE_CHECKING:
    from mmcl_bench.report.drawing import Draw

PARAMETER = "text"
"""The parameter of a task that names its text encoder."""


@dataclass(frozen=True)
class EncoderTable:
    """A task under several text encoders, and the methods that ran with two of them or more."""

    task: str
    """Its identity, without the encoder: ``zero-shot/ntu60@2[split=55/5]``"""
    encoders: tuple[str, ...]
    metrics: tuple[str, ...]
    """The main metric, and H where the task has it."""
    methods: Mapping[str, Mapping[str, LeaderboardRow]]
    """By label of the method and by encoder; best first."""

    @property
    def group(self) -> Group:
        """Any group of the task, for its record."""
        return next(iter(next(iter(self.methods.values())).values())).group

    def cells(self, metric: str) -> list[tuple[int, int, Interval]]:
        """Position of the method, of the encoder, and the figure, where there is one."""
        found = [
            (at, self.encoders.index(encoder), row.figures[metric])
            for at, rows in enumerate(self.methods.values())
            for encoder, row in rows.items()
        ]
        return [cell for cell in found if not math.isnan(cell[2].value)]


def encoder_tables(rows: Iterable[LeaderboardRow]) -> list[EncoderTable]:
    """One table a task that has results under several text encoders, in the order of the rows.

    Rows that differ in anything else than the encoder, the data or the limit of a smoke run included, do not meet.
    """
    tasks: dict[str, dict[str, dict[str, LeaderboardRow]]] = {}
    for row in rows:
        if PARAMETER in row.group.task.parameters:
            methods = tasks.setdefault(_key(row.group), {})
            method = json.dumps(row.group.method.model_dump(mode="json", exclude={*TOLD_LATER}), sort_keys=True)
            methods.setdefault(method, {}).setdefault(row.group.task.parameters[PARAMETER], row)
    found = []
    for methods in tasks.values():
        several = [by_encoder for by_encoder in methods.values() if len(by_encoder) > 1]
        if several:
            found.append(_table(several))
    return found


def frame_of(tables: Sequence[EncoderTable]) -> pd.DataFrame:
    """The tables as texts: a row a task, method and metric, a column an encoder; percent."""
    encoders = list(dict.fromkeys(encoder for table in tables for encoder in table.encoders))
    heads = ["Task", "Method", "Metric", *encoders, "Largest difference"]
    cells = [
        [
            *(table.task, label, metric_title(metric)),
            *(percent(by_encoder[each].figures[metric]) if each in by_encoder else "–" for each in encoders),
            percent_value(_largest_difference(by_encoder.values(), metric)),
        ]
        for table in tables
        for label, by_encoder in table.methods.items()
        for metric in table.metrics
    ]
    return pd.DataFrame(cells, columns=heads)


def heat_maps(table: EncoderTable) -> Draw:
    """How to draw it: a panel a metric, a row a method, a column an encoder; percent with intervals."""
    maps = []
    for metric in table.metrics:
        cells = {}
        for row, column, figure in table.cells(metric):
            value, _, bounds = percent(figure).partition(" ")
            cells[row, column] = Cell(figure.value, value, bounds)
        maps.append(HeatMap(f"{metric_title(metric)}, %", cells))
    note = "95% intervals; stronger colour is better"
    return partial(figures.heat_maps, maps, list(table.methods), table.encoders, note, (86, 30))


def _table(methods: Sequence[Mapping[str, LeaderboardRow]]) -> EncoderTable:
    task = next(iter(methods[0].values())).group.task
    metrics = dict.fromkeys([task.main_metric, *({GZSL_H.name} & set(task.metrics))])
    return EncoderTable(
        without_encoder(next(iter(methods[0].values())).group),
        tuple(sorted({encoder for rows in methods for encoder in rows})),
        tuple(metrics),
        dict(zip(_names(methods), methods, strict=True)),
    )


def _names(methods: Sequence[Mapping[str, LeaderboardRow]]) -> list[str]:
    """A label each, with a number where a preset has had several meanings."""
    labels = [next(iter(rows.values())).group.label for rows in methods]
    of_each = [(label, labels[: at + 1].count(label), labels.count(label)) for at, label in enumerate(labels)]
    return [label if total == 1 else f"{label}{VALUES}{number} of {total}" for label, number, total in of_each]


def _largest_difference(rows: Iterable[LeaderboardRow], metric: str) -> float:
    values = pd.Series([row.figures[metric].value for row in rows])
    return float(values.max() - values.min())


def without_encoder(group: Group) -> str:
    """The identity of its task without the text encoder."""
    encoder = f"{PARAMETER}={group.task.parameters.get(PARAMETER, '')}"
    identity = group.task.identity
    for told in (f",{encoder}", f"{encoder},", f"[{encoder}]"):
        identity = identity.replace(told, "", 1)
    return identity


def _key(group: Group) -> str:
    others = {key: value for key, value in group.task.parameters.items() if key != PARAMETER}
    data = group.first.provenance.data_fingerprints
    return json.dumps([without_encoder(group), others, data, group.first.limit], sort_keys=True)
