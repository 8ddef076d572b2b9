"""The report's figures as drawings, made from arrays; nothing here knows a file or a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmcl_bench.evaluation.choosing import TITLES, column_of
from mmcl_bench.evaluation.metrics import GZSL_SEEN, GZSL_UNSEEN, Scored, seen_unseen_curve
from mmcl_bench.evaluation.ranks import Ranks
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report.drawing import MARKERS, PALETTE, Boxes, Color, Drawing, Point, shortened, text_width

_SEEN: Color = "c0"
_UNSEEN: Color = "c1"
_MOST_COUNTED_CLASSES = 15
"""Up to so many classes a confusion matrix has room for its counts."""
_LINE = 15.0
"""Height of a line of text, pixels."""
_MOST_LABEL_LETTERS = 44
_MOST_POINTS = 160
"""Of a curve: beyond it, its points are closer than a pixel or two."""
_SHADES = 12
"""Steps of a heat map."""
_MOST_MAPPED = 600
"""Samples in a map."""
_MOST_OF_DOMAIN = 100
"""Clips of each domain in a map of two domains, of which a figure may have many."""
_LOG_RATIO = 30.0
"""Losses that span more than this are drawn over a logarithmic axis."""
_PANEL_PITCH = 220.0
"""From a panel of accuracies to its neighbour, pixels."""


class MethodIntervals(NamedTuple):
    """A method's figures, in the order of the metrics beside it."""

    label: str
    intervals: tuple[Interval, ...]
    transductive: bool


class ScoredMethod(NamedTuple):
    """A method's score sheets, one a seed."""

    label: str
    runs: Sequence[Scored]
    ausuc: float


class Training(NamedTuple):
    """The curves of one seed."""

    seed: int
    phases: Mapping[str, Sequence[Mapping[str, float]]]
    """Rows of epoch, losses and validation, by phase."""
    chosen_epoch: int | None


class MappedSamples(NamedTuple):
    """Samples in the space of class texts, as two coordinates each."""

    samples: np.ndarray
    """float (N, 2)."""
    labels: np.ndarray
    """int (N,), positions in ``classes``."""
    correct: np.ndarray
    """bool (N,): the right one of these classes was chosen."""
    prototypes: np.ndarray
    """float (K, 2), the class texts."""
    classes: Sequence[str]


class MappedDomains(NamedTuple):
    """Clips of both domains of a transfer, as two coordinates each."""

    label: str
    """The method."""
    source: np.ndarray
    """float (N, 2)."""
    source_labels: np.ndarray
    """int (N,)."""
    target: np.ndarray
    """float (M, 2)."""
    target_labels: np.ndarray
    """int (M,)."""


@dataclass(frozen=True)
class _Panel:
    """A part of a drawing with linear axes."""

    drawing: Drawing
    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def place(self, x: float, y: float) -> Point:
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def places(self, xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray) -> list[Point]:
        return [self.place(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x_axis(self, label: str, ticks: Sequence[float], grid: bool = True) -> None:
        for tick in ticks:
            x, _ = self.place(tick, self.y_range[0])
            if grid:
                self.drawing.line([(x, self.top), (x, self.bottom)], "line")
            self.drawing.text((x, self.bottom + _LINE), f"{tick:g}", color="dim", size=10, anchor="middle")
        self.drawing.line([(self.left, self.bottom), (self.left + self.width, self.bottom)], "dim")
        middle = self.left + self.width / 2
        self.drawing.text((middle, self.bottom + 2.2 * _LINE), label, anchor="middle")

    def y_axis(self, label: str, ticks: Sequence[float], grid: bool = True, texts: Sequence[str] | None = None) -> None:
        texts = [f"{tick:g}" for tick in ticks] if texts is None else texts
        for tick, text in zip(ticks, texts, strict=True):
            _, y = self.place(self.x_range[0], tick)
            if grid:
                self.drawing.line([(self.left, y), (self.left + self.width, y)], "line")
            self.drawing.text((self.left - 5, y + 3.5), text, color="dim", size=10, anchor="end")
        self.drawing.line([(self.left, self.top), (self.left, self.bottom)], "dim")
        room = max((text_width(text, 10) for text in texts), default=0.0)
        place = (self.left - 12 - room, self.top + self.height / 2)
        self.drawing.text(place, label, anchor="middle", upright=True)


def accuracy(title: str, metrics: Sequence[str], methods: Sequence[MethodIntervals]) -> Drawing:
    """A panel a metric: markers with interval whiskers, a row a method, the first on top; transductive ones hollow."""
    labels = [shortened(method.label, _MOST_LABEL_LETTERS) for method in methods]
    margin = max(text_width(label) for label in labels) + 16
    n_columns = min(3, len(metrics))
    n_rows = math.ceil(len(metrics) / n_columns)
    row_height = 20.0 * len(methods) + 12
    drawing = Drawing(title, margin + n_columns * _PANEL_PITCH, n_rows * (row_height + 52) + 4)
    for at, metric in enumerate(metrics):
        left, top = margin + at % n_columns * _PANEL_PITCH, 6 + at // n_columns * (row_height + 52)
        panel = _Panel(drawing, left, top, _PANEL_PITCH - 28, row_height, (0, 100), (len(methods) - 0.4, -0.6))
        panel.x_axis(f"{metric}, %", range(0, 101, 25))
        for place, method in enumerate(methods):
            if at % n_columns == 0:
                drawing.text((left - 10, panel.place(0, place)[1] + 4), labels[place], anchor="end")
            _draw_interval(panel, place, method, method.intervals[at])
    return drawing


def oracle_minus_honest(title: str, methods: Sequence[MethodIntervals]) -> Drawing:
    """Points that choosing on the test set would have added, a row a method, the first on top; each has one interval,
    whose bounds may be nan."""
    labels = [shortened(method.label, _MOST_LABEL_LETTERS) for method in methods]
    figures = [method.intervals[0] for method in methods]
    ends = [100 * end for each in figures for end in (each.value, each.low, each.high) if not math.isnan(end)]
    low, high = min(0.0, *ends), max(1.0, *ends)
    margin = max(text_width(label) for label in labels) + 16
    height = 20.0 * len(methods) + 12
    drawing = Drawing(title, margin + 400, height + 52)
    panel = _Panel(drawing, margin, 6, 370, height, (low, high + 0.04 * (high - low)), (len(methods) - 0.4, -0.6))
    panel.x_axis("oracle minus honest, points", _ticks(low, high))
    for place, method in enumerate(methods):
        drawing.text((margin - 10, panel.place(low, place)[1] + 4), labels[place], anchor="end")
        _draw_interval(panel, place, method, method.intervals[0])
    return drawing


def _look(place: int) -> tuple[Color, str]:
    """Colour and glyph of the method or curve at a place of its list."""
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]


def _draw_interval(panel: _Panel, place: int, method: MethodIntervals, figure: Interval) -> None:
    if math.isnan(figure.value):
        return
    color, glyph = _look(place)
    percents = [100 * value for value in (figure.value, figure.low, figure.high)]
    known = not math.isnan(figure.low)
    if known:
        (low, y), (high, _) = panel.places(percents[1:], [place, place])
        # Ends that are higher than the marker show where the interval is narrower than it.
        ends = [(low, y - 6.5), (low, y + 6.5), (low, y), (high, y), (high, y - 6.5), (high, y + 6.5)]
        panel.drawing.line(ends, color, width=1.6)
    panel.drawing.markers(
        [panel.place(percents[0], place)],
        glyph,
        color,
        filled=not method.transductive,
        radius=3.8,
        tip=f"{method.label}: " + ("{:.1f} [{:.1f}, {:.1f}]" if known else "{:.1f}").format(*percents),
    )


def confusion_matrix(title: str, counts: np.ndarray, classes: Sequence[str], seen: np.ndarray | None = None) -> Drawing:
    """Shares of each true class (rows) by predicted class, from int (K, K) counts.

    With ``seen``, bool (K,), of both kinds: seen classes first, a line between the two.
    """
    order = np.arange(len(classes)) if seen is None else np.argsort(~seen, kind="stable")
    counts, names = counts[np.ix_(order, order)], [shortened(classes[int(k)], 28) for k in order]
    n_seen = len(names) if seen is None else int(seen.sum())
    few = len(names) <= _MOST_COUNTED_CLASSES
    cell, size = (27.0, 10.0) if few else (9.5, 8.0)
    margin = max(text_width(name, size) for name in names) + 28
    side = cell * len(names)
    drawing = Drawing(title, max(margin + side + 74, 320), side + margin + 8)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    for shade in range(1, _SHADES + 1):
        cells = np.argwhere(np.ceil(shares * _SHADES) == shade)
        boxes = [(margin + column * cell, 6 + row * cell, cell, cell) for row, column in cells]
        drawing.boxes(boxes, "c0", round(shade / _SHADES, 2))
    if few:
        for row, column in np.argwhere(counts > 0):
            place = (margin + (column + 0.5) * cell, 6 + (row + 0.5) * cell + 3.5)
            color: Color = "page" if shares[row, column] > 0.5 else "ink"
            drawing.text(place, str(counts[row, column]), anchor="middle", size=9, color=color)
    drawing.frame(margin, 6, side, side, "dim")
    for at, name in enumerate(names):
        named: Color = "ink" if at < n_seen else _UNSEEN
        middle = (at + 0.5) * cell + size / 3
        drawing.text((margin - 5, 6 + middle), name, anchor="end", size=size, color=named)
        drawing.text((margin + middle, 6 + side + 5), name, anchor="end", size=size, color=named, upright=True)
    if 0 < n_seen < len(names):
        border = n_seen * cell
        drawing.line([(margin, 6 + border), (margin + side, 6 + border)], _UNSEEN, width=1.5)
        drawing.line([(margin + border, 6), (margin + border, 6 + side)], _UNSEEN, width=1.5)
    drawing.text((14, 6 + side / 2), "true", anchor="middle", color="dim", upright=True)
    drawing.text((margin + side / 2, side + margin + 2), "predicted", anchor="middle", color="dim")
    _draw_scale(drawing, margin + side + 14, min(side, 160.0))
    return drawing


def _draw_scale(drawing: Drawing, left: float, height: float) -> None:
    """The shades of a heat map, up to 100 %."""
    step = height / _SHADES
    for shade in range(1, _SHADES + 1):
        drawing.boxes([(left, 6 + height - shade * step, 10, step)], "c0", round(shade / _SHADES, 2))
    for share in (0, 50, 100):
        drawing.text((left + 14, 10 + height * (1 - share / 100)), f"{share} %", color="dim", size=9)


def seen_unseen(title: str, methods: Sequence[ScoredMethod]) -> Drawing:
    """Accuracy on unseen over accuracy on seen classes as the calibration sweeps, a line a seed.

    Filled markers stand at the calibration that the run chose, hollow ones at none.
    """
    drawing = Drawing(title, 480, 372 + 17 * (len(methods) + 1))
    panel = _Panel(drawing, 52, 8, 385, 310, (0, 100), (0, 100))
    panel.x_axis("S: top-1 on seen classes, %", range(0, 101, 20), grid=False)
    panel.y_axis("U: top-1 on unseen classes, %", range(0, 101, 20), grid=False)
    for harmonic in (20, 40, 60, 80):
        _draw_harmonic_mean(panel, harmonic)
    for place, method in enumerate(methods):
        color, glyph = _look(place)
        for run in method.runs:
            curve = seen_unseen_curve(run)
            points = panel.places(100 * curve.seen_accuracy, 100 * curve.unseen_accuracy)
            drawing.line(_thinned(points), color, width=1.3, opacity=0.8)
            uncalibrated = Scored(run.scores, run.labels, run.seen)
            for sheet, filled in ((uncalibrated, False), (run, True)):
                point = panel.place(100 * GZSL_SEEN(sheet), 100 * GZSL_UNSEEN(sheet))
                drawing.markers([point], glyph, color, filled=filled, tip=method.label)
        label = f"{shortened(method.label, 56)}: AUSUC {100 * method.ausuc:.1f}"
        _draw_key(drawing, (60, 376 + 17 * place), color, glyph, label)
    note = "filled: as calibrated on validation; hollow: without calibration"
    drawing.text((52, 376 + 17 * len(methods) + 4), note, color="dim", size=10)
    return drawing


def _draw_harmonic_mean(panel: _Panel, harmonic: float) -> None:
    """A line of equal H = 2SU / (S + U)."""
    seen = np.geomspace(harmonic / (2 - harmonic / 100), 100, 60)
    panel.drawing.line(panel.places(seen, harmonic * seen / (2 * seen - harmonic)), "line", dashed=True)
    x, y = panel.place(100, harmonic / (2 - harmonic / 100))
    panel.drawing.text((x + 6, y + 3), f"H {harmonic:g}", color="dim", size=9)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """About :data:`_MOST_POINTS` of the points, both ends among them."""
    if len(points) <= _MOST_POINTS:
        return points
    kept = np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)
    return [points[at] for at in kept]


def _draw_key(drawing: Drawing, place: Point, color: Color, glyph: str, label: str, filled: bool = True) -> None:
    drawing.markers([place], glyph, color, filled=filled)
    drawing.text((place[0] + 10, place[1] + 4), label)


_ACCURACIES = ("validation", "accuracy")
"""Columns of a training's rows that are no losses, beside label-free scores."""
_TITLES = {"accuracy": "training"}


def training_curves(title: str, runs: Sequence[Training]) -> Drawing:
    """A column a phase: losses above, accuracy in training and on validation below where there is any; a line a seed.

    A dashed line marks each seed's chosen epoch in the phase that chose.
    """
    phases = list(dict.fromkeys(name for run in runs for name, rows in run.phases.items() if rows))
    columns = dict.fromkeys(name for run in runs for rows in run.phases.values() for row in rows for name in row)
    accuracies = [name for name in _ACCURACIES if name in columns]
    losses = [name for name in columns if name not in (*_ACCURACIES, "epoch", *map(column_of, TITLES))]
    blocks = [block for block in (losses, accuracies) if block]
    height = 30 + sum(200 + 18 * len(block) for block in blocks)
    drawing = Drawing(title, 20 + 300 * len(phases), height)
    for at, phase in enumerate(phases):
        top = 30.0
        drawing.text((180 + 300 * at, 16), f"{phase} fit", anchor="middle", bold=True)
        for block in blocks:
            label = "loss" if block is losses else "accuracy"
            _draw_curves(drawing, (64 + 300 * at, top), runs, phase, block, label)
            top += 200 + 18 * len(block)
    return drawing


def _draw_curves(
    drawing: Drawing, corner: Point, runs: Sequence[Training], phase: str, names: Sequence[str], label: str
) -> None:
    """The columns ``names`` of a phase over its epochs, with a key below; nothing where no run has any."""
    curves = {name: [curve for run in runs if (curve := _curve(run, phase, name))] for name in names}
    points = [point for found in curves.values() for curve in found for point in curve]
    if not points:
        return
    epochs, values = zip(*points, strict=True)
    logarithmic = label == "loss" and min(values) > 0 and max(values) > _LOG_RATIO * min(values)
    if logarithmic:
        curves = {name: [[(x, math.log10(y)) for x, y in curve] for curve in found] for name, found in curves.items()}
        y_range = (math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1)
    else:
        y_range = (0.0, 1.0) if label == "accuracy" else (min(0.0, *values), max(values) * 1.05 or 1.0)
    x_range = (min(epochs), max(epochs) if max(epochs) > min(epochs) else min(epochs) + 1)
    panel = _Panel(drawing, *corner, 236, 140, x_range, y_range)
    panel.x_axis("epoch", [tick for tick in _ticks(*x_range) if tick == round(tick)], grid=False)
    if logarithmic:
        decades = range(math.ceil(y_range[0]), math.floor(y_range[1]) + 1)
        panel.y_axis(f"{label}, logarithmic", decades, texts=[f"{10.0**decade:g}" for decade in decades])
    else:
        panel.y_axis(label, _ticks(*y_range))
    if curves.get("validation"):
        for epoch in sorted({run.chosen_epoch for run in runs if run.chosen_epoch is not None}):
            drawing.line(panel.places([epoch, epoch], y_range), "dim", dashed=True)
    for place, (name, found) in enumerate(curves.items()):
        color, glyph = _look(place)
        for curve in found:
            placed = [panel.place(*point) for point in curve]
            drawing.line(placed, color, width=1.4, opacity=0.85)
            drawing.markers(placed[:: max(1, len(placed) // 3)], glyph, color, radius=2.6)
        key = (corner[0] + 6, panel.bottom + 2.9 * _LINE + 17 * place)
        _draw_key(drawing, key, color, glyph, _TITLES.get(name, name))


def _curve(run: Training, phase: str, name: str) -> list[Point]:
    """(epoch, value) of the rows that have both."""
    rows = [row for row in run.phases.get(phase, ()) if name in row and "epoch" in row]
    return list(_thinned([(row["epoch"], row[name]) for row in rows]))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, four to seven of them."""
    step = 10 ** math.floor(math.log10(high - low))
    for divided in (step, step / 2, step / 5, step / 10):
        if (high - low) / divided >= 4:
            break
    first = math.ceil(low / divided - 1e-9)
    return [round(k * divided, 10) for k in range(first, math.floor(high / divided + 1e-9) + 1)]


def per_class_accuracy(title: str, classes: Sequence[str], accuracies: np.ndarray, seen: np.ndarray) -> Drawing:
    """Bars of the mean over seeds, from float (R, K) accuracies, best on top and unseen classes first; a tick a seed.

    Classes without test samples (nan) are left out.
    """
    mean = accuracies.mean(axis=0)
    shown = np.flatnonzero(~np.isnan(mean))
    shown = shown[np.lexsort((-mean[shown], seen[shown]))]
    names = [shortened(classes[int(k)], 32) for k in shown]
    margin = max((text_width(name, 10) for name in names), default=0.0) + 14
    step = 15.0
    mixed = not seen.all() and bool(seen[shown].any())
    drawing = Drawing(title, margin + 240, step * len(shown) + (66 if mixed else 46))
    panel = _Panel(drawing, margin, 6, 220, step * len(shown), (0, 100), (len(shown) - 0.5, -0.5))
    several = len(accuracies) > 1
    panel.x_axis("accuracy among all classes, %" + ("; a tick a seed" if several else ""), range(0, 101, 25))
    for place, k in enumerate(shown):
        middle = panel.place(0, place)[1]
        drawing.text((margin - 6, middle + 3.5), names[place], anchor="end", size=10)
        width = panel.place(100 * mean[k], place)[0] - margin
        drawing.boxes([(margin, middle - 5.5, width, 11)], _SEEN if seen[k] else _UNSEEN, 0.8)
        for run in accuracies if several else ():
            x = panel.place(100 * run[k], place)[0]
            drawing.line([(x, middle - 5.5), (x, middle + 5.5)], "ink", width=1.2)
    if mixed:
        below = panel.bottom + 3.4 * _LINE
        for at, (color, label) in enumerate(((_UNSEEN, "unseen class"), (_SEEN, "seen class"))):
            drawing.marks.append(Boxes(((margin + 130 * at, below - 8, 10, 10),), color, 0.8))
            drawing.text((margin + 130 * at + 16, below + 1), label)
    return drawing


def sample_map(title: str, mapped: MappedSamples) -> Drawing:
    """Samples and class texts in two dimensions: filled where the right class was chosen, a star a class text."""
    step = max(1, math.ceil(len(mapped.samples) / _MOST_MAPPED))
    samples, labels, correct = (values[::step] for values in (mapped.samples, mapped.labels, mapped.correct))
    n_key_rows = math.ceil(len(mapped.classes) / 2)
    drawing = Drawing(title, 520, 408 + 17 * n_key_rows + 20)
    panel = _around(drawing, (6, 6, 508, 386), np.concatenate([samples, mapped.prototypes]))
    for k, name in enumerate(mapped.classes):
        color, glyph = _class_look(k)
        for filled in (True, False):
            chosen = (labels == k) & (correct == filled)
            places = [panel.place(x, y) for x, y in samples[chosen].tolist()]
            tip = f"{name}, {'right' if filled else 'wrong'}"
            drawing.markers(places, glyph, color, filled=filled, radius=3, opacity=0.75, tip=tip)
        key = (16 + 255 * (k // n_key_rows), 412 + 17 * (k % n_key_rows))
        _draw_key(drawing, key, color, glyph, shortened(name, 32))
    for k, name in enumerate(mapped.classes):
        x, y = panel.place(*mapped.prototypes[k].tolist())
        drawing.markers([(x, y)], "star", "ink", radius=5.5, tip=f"class text: {name}")
        drawing.markers([(x, y)], "star", PALETTE[k % len(PALETTE)], radius=3.8)
        anchor = "end" if x > 360 else "start"
        drawing.text((x - 9 if anchor == "end" else x + 9, y + 4), shortened(name, 24), anchor=anchor, bold=True)
    note = "star: class text; filled: right among these classes; hollow: wrong"
    drawing.text((12, 412 + 17 * n_key_rows + 6), note, color="dim", size=10)
    return drawing


def domain_maps(title: str, methods: Sequence[MappedDomains], classes: Sequence[str]) -> Drawing:
    """A panel a method: source clips hollow, target clips filled, a colour and marker a class. Axes differ."""
    n_columns = min(4, max(2, len(methods)))
    n_rows, side, pitch = math.ceil(len(methods) / n_columns), 210.0, 226.0
    n_key_rows = math.ceil(len(classes) / n_columns)
    drawing = Drawing(title, pitch * n_columns, (side + 30) * n_rows + 17 * n_key_rows + 34)
    for at, method in enumerate(methods):
        left, top = 6 + at % n_columns * pitch, 20 + at // n_columns * (side + 30)
        drawing.text((left, top - 6), shortened(method.label, 32))
        domains = (
            (method.source[:_MOST_OF_DOMAIN], method.source_labels, False),
            (method.target[:_MOST_OF_DOMAIN], method.target_labels, True),
        )
        panel = _around(drawing, (left, top, side, side), np.concatenate([places for places, _, _ in domains]))
        for places, labels, filled in domains:
            for k, name in enumerate(classes):
                tip = f"{name}, {'target' if filled else 'source'}"
                some = panel.places(*places[labels[: len(places)] == k].T)
                color, glyph = _class_look(k)
                drawing.markers(some, glyph, color, filled=filled, radius=2.6, opacity=0.75, tip=tip)
    below = 20 + (side + 30) * n_rows
    for k, name in enumerate(classes):
        key = (12 + pitch * (k // n_key_rows), below + 17 * (k % n_key_rows))
        _draw_key(drawing, key, *_class_look(k), shortened(name, 30))
    note = (
        "filled: target test clips; hollow: source training clips; the first two principal components of their features"
    )
    drawing.text((6, drawing.height - 6), note, color="dim", size=10)
    drawing.width = max(drawing.width, text_width(note, 10) + 12)
    return drawing


def _class_look(k: int) -> tuple[Color, str]:
    """Colour and glyph of a class in a map."""
    return PALETTE[k % len(PALETTE)], MARKERS[(k + k // len(PALETTE)) % len(MARKERS)]


def _around(drawing: Drawing, box: tuple[float, float, float, float], points: np.ndarray) -> _Panel:
    """A framed panel at left, top, width and height that holds all points (N, 2)."""
    low, high = points.min(axis=0), points.max(axis=0)
    pad = np.maximum(0.06 * (high - low), 1e-6)
    (x_low, y_low), (x_high, y_high) = (low - pad).tolist(), (high + pad).tolist()
    drawing.frame(*box, "line")
    return _Panel(drawing, *box, (x_low, x_high), (y_low, y_high))


def critical_difference(title: str, ranks: Ranks) -> Drawing:
    """Methods at their mean rank over tasks, the best at the left; a bar joins those that no test tells apart."""
    n = len(ranks.methods)
    labels = [f"{shortened(name, 40)}  {mean:.2f}" for name, mean in zip(ranks.methods, ranks.average, strict=True)]
    margin = max(text_width(label) for label in labels) + 26
    n_left = (n + 1) // 2
    bars = len(ranks.cliques)
    top = 58.0
    first = top + 18 + 9 * bars
    reading = "methods that a bar joins are not told apart" if bars else "all are told apart"
    friedman = "" if math.isnan(ranks.friedman_p) else f"Friedman p = {ranks.friedman_p:.2g}; "
    test = f"{ranks.posthoc.capitalize()} test at {100 * ranks.level:g} %"
    note = f"mean rank over {ranks.n_tasks} tasks; {friedman}{test}: {reading}"
    width = max(2 * margin + 260, text_width(note, 10) + 12)
    margin = (width - 260) / 2
    drawing = Drawing(title, width, first + 20 * n_left + 34)
    panel = _Panel(drawing, margin, top, 260, 0, (1, n), (0, 1))
    drawing.line([(margin, top), (margin + 260, top)], "ink", width=1.4)
    for rank in range(1, n + 1):
        x = panel.place(rank, 0)[0]
        drawing.line([(x, top - 5), (x, top)], "ink")
        drawing.text((x, top - 9), str(rank), anchor="middle", size=10, color="dim")
    if not math.isnan(ranks.critical_difference):
        wide = min(ranks.critical_difference, n - 1) / (n - 1) * 260
        drawing.line([(margin, 22), (margin + wide, 22)], "ink", width=2)
        cut = " (wider than the axis)" if ranks.critical_difference > n - 1 else ""
        drawing.text((margin, 15), f"critical difference {ranks.critical_difference:.2f}{cut}", size=10)
    mean_of = dict(zip(ranks.methods, ranks.average, strict=True))
    for at, clique in enumerate(ranks.cliques):
        y = top + 10 + 9 * at
        ends = [panel.place(mean_of[name], 0)[0] for name in (clique[0], clique[-1])]
        drawing.line([(ends[0] - 4, y), (ends[1] + 4, y)], "c1", width=4)
    for at, (label, mean) in enumerate(zip(labels, ranks.average, strict=True)):
        x = panel.place(mean, 0)[0]
        left = at < n_left
        y = first + 20 * (at if left else n - 1 - at)
        edge = margin - 8 if left else margin + 268
        drawing.line([(x, top), (x, y), (edge, y)], "dim")
        drawing.markers([(x, top)], "circle", PALETTE[at % len(PALETTE)], radius=3.5, tip=label)
        drawing.text((edge - 5 if left else edge + 5, y + 4), label, anchor="end" if left else "start")
    drawing.text((6, first + 20 * n_left + 18), note, color="dim", size=10)
    return drawing
