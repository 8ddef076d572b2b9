"""Results that differ in the text encoder of their task alone, side by side: methods by encoders."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mmcl_bench.evaluation.metrics import GZSL_H
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report.drawing import Drawing, shortened, text_width
from mmcl_bench.report.tables import LeaderboardRow, percent, percent_value
from mmcl_bench.results.groups import Group, metric_title
from mmcl_bench.results.records import TOLD_LATER

PARAMETER = "text"
"""The parameter of a task that names its text encoder."""
_CELL = (92.0, 32.0)
"""Width and height of a cell of the figure, pixels."""
_MOST_LETTERS = 44


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


def heat_map(table: EncoderTable) -> Drawing:
    """A panel a metric: a row a method, a column an encoder, percent with intervals; darker is better in that panel."""
    methods = [shortened(label, _MOST_LETTERS) for label in table.methods]
    heads = [shortened(encoder, _MOST_LETTERS) for encoder in table.encoders]
    margin = max(map(text_width, methods)) + 14
    top = max(map(text_width, heads)) + 26
    width, height = _CELL
    panel = width * len(heads) + 24
    beside = [part for part in ("synthetic" if table.group.task.synthetic else "", table.group.incomplete) if part]
    title = "\n".join([f"Methods by text encoder: {table.task}", *beside])
    drawing = Drawing(title, margin + panel * len(table.metrics), top + height * len(methods) + 24)
    for at, method in enumerate(methods):
        drawing.text((margin - 8, top + (at + 0.5) * height + 4), method, anchor="end")
    for number, metric in enumerate(table.metrics):
        left = margin + number * panel
        drawing.text((left, 12), f"{metric_title(metric)}, %", bold=True)
        for at, head in enumerate(heads):
            drawing.text((left + (at + 0.5) * width + 4, top - 6), head, upright=True)
        cells = table.cells(metric)
        values = [figure.value for _, _, figure in cells]
        low, high = min(values, default=0.0), max(values, default=1.0)
        for row, column, figure in cells:
            share = (figure.value - low) / (high - low) if high > low else 0.0
            x, y = left + column * width, top + row * height
            # Never so dark that the text in it cannot be read.
            drawing.boxes([(x, y, width - 2, height - 2)], "c0", round(0.06 + 0.49 * share, 2))
            value, _, bounds = percent(figure).partition(" ")
            for text, size, below in ((value, 12.0, 14), (bounds, 9.0, 25)):
                drawing.text((x + width / 2 - 1, y + below), text, anchor="middle", size=size)
    note = "95% intervals; darker is better among the cells of one metric"
    drawing.text((margin, drawing.height - 6), note, color="dim", size=10)
    return drawing


def _table(methods: Sequence[Mapping[str, LeaderboardRow]]) -> EncoderTable:
    task = next(iter(methods[0].values())).group.task
    metrics = dict.fromkeys([task.main_metric, *({GZSL_H.name} & set(task.metrics))])
    return EncoderTable(
        _without_encoder(next(iter(methods[0].values())).group),
        tuple(sorted({encoder for rows in methods for encoder in rows})),
        tuple(metrics),
        {next(iter(rows.values())).group.label: rows for rows in methods},
    )


def _largest_difference(rows: Iterable[LeaderboardRow], metric: str) -> float:
    values = pd.Series([row.figures[metric].value for row in rows])
    return float(values.max() - values.min())


def _without_encoder(group: Group) -> str:
    return group.task.identity.replace(f",{PARAMETER}={group.task.parameters[PARAMETER]}", "", 1)


def _key(group: Group) -> str:
    others = {key: value for key, value in group.task.parameters.items() if key != PARAMETER}
    data = group.first.provenance.data_fingerprints
    return json.dumps([_without_encoder(group), others, data, group.first.limit], sort_keys=True)
