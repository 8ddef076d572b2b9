"""Figures as matplotlib ``Figure`` objects, drawn from arrays; nothing here knows a file or a page.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), without the yellow, which print loses; methods
differ by marker as well.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmcl_bench.metrics import GZSL_SEEN, GZSL_UNSEEN, Scored, seen_unseen_curve
from mmcl_bench.stats import Interval

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Any = {
    "font.family": "sans-serif",
    # Matplotlib brings the first; a browser that shows the SVG may have only the others.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "figure.titlesize": 10,
    "figure.dpi": 100,
    "legend.frameon": False,
    # Names come from task cards and plugins: a dollar sign in one is a dollar sign.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mmcl-bench",
    "pdf.fonttype": 42,
}
_SEEN, _UNSEEN = PALETTE[0], PALETTE[1]
_MOST_COUNTED_CLASSES = 15
"""Up to so many classes a confusion matrix has room for its counts."""
_LETTERS_PER_INCH = 11
"""Of a title."""


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


_ACCURACIES = ("validation", "accuracy")
"""Columns of a training's rows that are no losses."""
_TITLES = {"accuracy": "training"}


class Training(NamedTuple):
    """The curves of one seed."""

    seed: int
    phases: Mapping[str, Sequence[Mapping[str, float]]]
    """Rows of epoch, losses and validation, by phase."""
    chosen_epoch: int | None


@matplotlib.rc_context(STYLE)
def accuracy(title: str, metrics: Sequence[str], methods: Sequence[MethodIntervals]) -> Figure:
    """A panel a metric: dots with interval whiskers, a row a method, the first on top; transductive ones are hollow."""
    n_columns = min(3, len(metrics))
    n_rows = math.ceil(len(metrics) / n_columns)
    figure = _figure(title, 2.2 + 2.1 * n_columns, 0.5 + n_rows * (0.75 + 0.26 * len(methods)))
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for at, (axes, metric) in enumerate(zip(panels, metrics, strict=False)):
        _accuracy_panel(axes, metric, [(method, method.intervals[at]) for method in methods])
    for spare in panels[len(metrics) :]:
        spare.set_visible(False)
    return figure


def _accuracy_panel(axes: Axes, metric: str, rows: Sequence[tuple[MethodIntervals, Interval]]) -> None:
    for place, (method, figure) in enumerate(rows):
        if math.isnan(figure.value):
            continue
        color = PALETTE[place % len(PALETTE)]
        axes.plot([100 * figure.low, 100 * figure.high], [place, place], color=color, linewidth=1.6)
        fill = "white" if method.transductive else color
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(100 * figure.value, place, marker, color=color, markerfacecolor=fill, markersize=6, clip_on=False)
    axes.set_xticks(range(0, 101, 25))
    axes.set_yticks(range(len(rows)), [method.label for method, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"{metric}, %")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


@matplotlib.rc_context(STYLE)
def confusion_matrix(title: str, counts: np.ndarray, classes: Sequence[str], seen: np.ndarray | None = None) -> Figure:
    """Shares of each true class (rows) by predicted class, from int (K, K) counts.

    With ``seen``, bool (K,), of both kinds: seen classes first, a line between the two.
    """
    order = np.arange(len(classes)) if seen is None else np.argsort(~seen, kind="stable")
    counts, names = counts[np.ix_(order, order)], [classes[int(k)] for k in order]
    side = min(13.0, 2.2 + (0.42 if len(names) <= _MOST_COUNTED_CLASSES else 0.17) * len(names))
    figure = _figure(title, max(5.6, side + 1.2), side)
    axes = figure.add_subplot()
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.6, label="% of the true class")
    size = 8 if len(names) <= 30 else 5.5
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[["top", "right"]].set_visible(True)
    if len(names) <= _MOST_COUNTED_CLASSES:
        _write_counts(axes, counts, shares)
    if seen is not None and 0 < seen.sum() < len(seen):
        _part_seen_from_unseen(axes, int(seen.sum()))
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.argwhere(counts > 0):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=color)


def _part_seen_from_unseen(axes: Axes, n_seen: int) -> None:
    for draw in (axes.axhline, axes.axvline):
        draw(n_seen - 0.5, color=_UNSEEN, linewidth=1)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label in labels[n_seen:]:
            label.set_color(_UNSEEN)


@matplotlib.rc_context(STYLE)
def seen_unseen(title: str, methods: Sequence[ScoredMethod]) -> Figure:
    """Accuracy on unseen over accuracy on seen classes as the calibration sweeps, a line a seed.

    Filled markers stand at the calibration that the run chose, hollow ones at none.
    """
    figure = _figure(title, 6.4, 4.6)
    axes = figure.add_subplot()
    _draw_harmonic_means(axes)
    for place, method in enumerate(methods):
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        for run in method.runs:
            curve = seen_unseen_curve(run)
            axes.plot(100 * curve.seen_accuracy, 100 * curve.unseen_accuracy, color=color, linewidth=1.1, alpha=0.75)
            uncalibrated = Scored(run.scores, run.labels, run.seen)
            for sheet, fill in ((uncalibrated, "white"), (run, color)):
                point = (100 * GZSL_SEEN(sheet), 100 * GZSL_UNSEEN(sheet))
                axes.plot(*point, marker, color=color, markerfacecolor=fill, markersize=7, clip_on=False, zorder=3)
        label = f"{method.label}: AUSUC {100 * method.ausuc:.1f}"
        axes.plot([], [], marker=marker, color=color, markersize=6, label=label)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("S: top-1 on seen classes, %")
    axes.set_ylabel("U: top-1 on unseen classes, %")
    _name_points(axes)
    figure.legend(loc="outside lower center", ncols=1 if len(methods) < 3 else 2, fontsize=8)
    return figure


def _draw_harmonic_means(axes: Axes) -> None:
    """Lines of equal H = 2SU / (S + U)."""
    for harmonic in (20, 40, 60, 80):
        seen = np.linspace(harmonic / 2 + 0.01, 100, 200)
        unseen = harmonic * seen / (2 * seen - harmonic)
        shown = unseen <= 100
        axes.plot(seen[shown], unseen[shown], color="#CCCCCC", linewidth=0.7, linestyle=":", zorder=0)
        axes.text(harmonic, harmonic, f"H {harmonic}", fontsize=7, color="#888888", ha="center", va="center")


def _name_points(axes: Axes) -> None:
    handles = [
        axes.plot([], [], "o", color="#555555", markerfacecolor=fill, markersize=6)[0] for fill in ("#555555", "white")
    ]
    named = axes.legend(handles, ["as calibrated on validation", "without calibration"], loc="upper right", fontsize=8)
    axes.add_artist(named)
    named.set_in_layout(False)


@matplotlib.rc_context(STYLE)
def training_curves(title: str, runs: Sequence[Training]) -> Figure:
    """A column a phase: losses above, accuracy in training and on validation below where there is any; a line a seed.

    A dotted line stands at each seed's chosen epoch in the phase that chose.
    """
    phases = [name for name in dict.fromkeys(name for run in runs for name in run.phases) if _has_rows(runs, name)]
    n_rows = 2 if any(name in _ACCURACIES for name in _columns(runs)) else 1
    figure = _figure(title, 1.2 + 3.4 * len(phases), 0.6 + 2.3 * n_rows)
    grid = figure.subplots(n_rows, len(phases), squeeze=False, sharex="col")
    losses = [name for name in _columns(runs) if name not in ("epoch", *_ACCURACIES)]
    for phase, panels in zip(phases, grid.T, strict=True):
        panels[0].set_title(f"{phase} fit")
        for place, name in enumerate(losses):
            _draw_column(panels[0], runs, phase, name, PALETTE[place % len(PALETTE)])
        panels[0].set_ylabel("loss")
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        if losses:
            panels[0].legend(fontsize=8)
        if n_rows == 2 and not _draw_accuracies(panels[1], runs, phase):
            panels[1].set_axis_off()
            panels[0].tick_params(labelbottom=True)
            panels[0].set_xlabel("epoch")
    return figure


def _draw_accuracies(axes: Axes, runs: Sequence[Training], phase: str) -> bool:
    """Whether the phase has any."""
    found = [name for name in _ACCURACIES if any(name in row for run in runs for row in run.phases.get(phase, ()))]
    for name in found:
        _draw_column(axes, runs, phase, name, PALETTE[-1 - _ACCURACIES.index(name)])
    if "validation" in found:
        for epoch in sorted({run.chosen_epoch for run in runs if run.chosen_epoch is not None}):
            axes.axvline(epoch, color="#888888", linestyle=":", linewidth=1)
    if found:
        axes.set_ylabel("accuracy")
        axes.legend(fontsize=8)
    return bool(found)


def _draw_column(axes: Axes, runs: Sequence[Training], phase: str, name: str, color: str) -> None:
    label: str | None = _TITLES.get(name, name)
    for run in runs:
        rows = [row for row in run.phases.get(phase, ()) if name in row and "epoch" in row]
        if rows:
            epochs, values = [row["epoch"] for row in rows], [row[name] for row in rows]
            axes.plot(
                epochs, values, color=color, linewidth=1.2, alpha=0.8, marker="." if len(rows) < 12 else "", label=label
            )
            label = None
    axes.grid(axis="y")


def _has_rows(runs: Sequence[Training], phase: str) -> bool:
    return any(run.phases.get(phase) for run in runs)


def _columns(runs: Sequence[Training]) -> list[str]:
    names = (name for run in runs for rows in run.phases.values() for row in rows for name in row)
    return list(dict.fromkeys(names))


@matplotlib.rc_context(STYLE)
def per_class_accuracy(title: str, classes: Sequence[str], accuracies: np.ndarray, seen: np.ndarray) -> Figure:
    """Bars of the mean over seeds, from float (R, K) accuracies, best on top and unseen classes first; a dot a seed.

    Classes without test samples (nan) are left out.
    """
    mean = accuracies.mean(axis=0)
    shown = np.flatnonzero(~np.isnan(mean))
    shown = shown[np.lexsort((-mean[shown], seen[shown]))]
    places = np.arange(len(shown))
    figure = _figure(title, 6.4, 1.1 + 0.17 * max(4, len(shown)))
    axes = figure.add_subplot()
    colors = [_SEEN if seen[k] else _UNSEEN for k in shown]
    axes.barh(places, 100 * mean[shown], color=colors, alpha=0.75, height=0.72)
    if len(accuracies) > 1:
        for run in accuracies:
            axes.plot(100 * run[shown], places, "|", color="black", markersize=5, alpha=0.8)
    axes.set_yticks(places, [classes[int(k)] for k in shown], fontsize=7)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy among all classes, %" + ("; a tick a seed" if len(accuracies) > 1 else ""))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    if not seen.all() and seen[shown].any():
        _name_seen(figure, axes)
    return figure


def _name_seen(figure: Figure, axes: Axes) -> None:
    for color, label in ((_UNSEEN, "unseen class"), (_SEEN, "seen class")):
        axes.barh([0], [0], color=color, alpha=0.75, label=label)
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)


def _figure(title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, int(width * _LETTERS_PER_INCH))]
    figure.suptitle("\n".join(lines))
    return figure
