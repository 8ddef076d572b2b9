"""The report's figures, drawn by matplotlib from arrays; nothing here knows a file or a page.

A point is a pixel of the page. Each figure is drawn inside :func:`.drawing.chart_style`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmcl_bench.evaluation.choosing import TITLES, column_of
from mmcl_bench.evaluation.metrics import GZSL_SEEN, GZSL_UNSEEN, Scored, seen_unseen_curve
from mmcl_bench.evaluation.ranks import Ranks
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report.drawing import LIGHT, MARKERS, TIP, add_text, extent_of, look, look_of, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Looks = Mapping[str, tuple[str, str]]
"""Colour and marker of each method, by its label: the same in every figure of a page."""
_SEEN, _UNSEEN = LIGHT["c0"], LIGHT["c1"]
_MOST_COUNTED_CLASSES = 15
"""Up to so many classes a confusion matrix has room for its counts."""
_DARKEST = 0.55
"""Opacity of a cell with text in it: it can still be read."""
_MANY_CELLS = 1000
"""More cells than these are shaded by bytes in the place of floating-point numbers."""
_MOST_LETTERS = 56
_MOST_LETTERS_ACROSS = 36
_MOST_POINTS = 120
"""Of a curve: beyond it, its points are closer than a pixel or two."""
_MOST_MAPPED = 600
"""Samples in a map."""
_MOST_OF_DOMAIN = 100
"""Clips of each domain in a map of two domains, of which a figure may have many."""
_LOG_RATIO = 30.0
"""Losses that span more than this are drawn over a logarithmic axis."""


class MethodIntervals(NamedTuple):
    """A method's figures, in the order of the metrics beside it."""

    label: str
    intervals: tuple[Interval, ...]
    transductive: bool
    other_classes: tuple[Interval, ...] = ()
    """The second intervals of figures over class folds."""


class ScoredMethod(NamedTuple):
    """A method's accuracy on seen and unseen classes, a curve and two points a seed; shares of 1."""

    label: str
    curves: Sequence[np.ndarray]
    """float (N, 2), seen and unseen, over all calibrations."""
    points: Sequence[tuple[tuple[float, float], tuple[float, float]]]
    """Without a calibration, and as calibrated."""
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


class Cell(NamedTuple):
    """A cell of a heat map."""

    value: float
    text: str
    below: str = ""
    """Smaller."""
    bold: bool = False
    tip: str = ""


@dataclass(frozen=True)
class HeatMap:
    """Cells by row and column; darker is higher among all of them, or among those of a column."""

    title: str
    cells: Mapping[tuple[int, int], Cell]


class MethodCost(NamedTuple):
    """What a method takes and gives."""

    label: str
    seconds: float
    accuracy: float
    """Share of 1."""
    tip: str


def scored_method(label: str, runs: Sequence[Scored], ausuc: float) -> ScoredMethod:
    """From score sheets, one a seed."""
    curves, points = [], []
    for run in runs:
        curve = seen_unseen_curve(run)
        curves.append(_thinned(np.column_stack([curve.seen_accuracy, curve.unseen_accuracy])))
        plain, calibrated = ((GZSL_SEEN(x), GZSL_UNSEEN(x)) for x in (run.calibrated(0.0), run))
        points.append((plain, calibrated))
    return ScoredMethod(label, curves, points, ausuc)


def _thinned(points: np.ndarray) -> np.ndarray:
    """About :data:`_MOST_POINTS` of the rows, both ends among them."""
    kept = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int))
    return np.asarray(points[kept])


def _panels(
    n_panels: int, width: float, height: float, most_columns: int = 3, gaps: tuple[float, float] = (28, 46)
) -> tuple[Figure, list[Axes]]:
    """Panels of so many points, row by row, with gaps between columns and rows."""
    from matplotlib.figure import Figure

    n_columns = min(most_columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    size = (n_columns * width + (n_columns - 1) * gaps[0], n_rows * height + (n_rows - 1) * gaps[1])
    figure = Figure(figsize=(size[0] / 72, size[1] / 72))
    spaces = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": gaps[0] / width, "hspace": gaps[1] / height}
    axes = figure.subplots(n_rows, n_columns, squeeze=False, gridspec_kw=spaces).ravel().tolist()
    for spare in axes[n_panels:]:
        spare.remove()
    return figure, axes[:n_panels]


def _write_names(axes: Axes, names: Sequence[str], colors: Sequence[str] | None = None, size: float = 10) -> None:
    """Names of rows 0, 1, ... left of the axes, the first on top."""
    from matplotlib.transforms import ScaledTranslation

    place = axes.get_yaxis_transform() + ScaledTranslation(-6 / 72, 0, axes.figure.dpi_scale_trans)
    look: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": size}
    for at, name in enumerate(names):
        axes.text(0, at, name, transform=place, color=colors[at] if colors else LIGHT["ink"], **look)
    axes.set_yticks([])


def _write_heads(axes: Axes, names: Sequence[str], above: bool = True, colors: Sequence[str] | None = None) -> None:
    """Upright names of columns 0, 1, ... above or below the axes."""
    from matplotlib.transforms import ScaledTranslation

    shift = 5 / 72 if above else -5 / 72
    place = axes.get_xaxis_transform() + ScaledTranslation(0, shift, axes.figure.dpi_scale_trans)
    look: dict[str, Any] = {"ha": "center", "va": "bottom" if above else "top", "rotation": 90, "transform": place}
    size = 10 if above or len(names) <= _MOST_COUNTED_CLASSES else 8
    for at, name in enumerate(names):
        color = colors[at] if colors else LIGHT["ink"]
        axes.text(at, 1 if above else 0, name, color=color, fontsize=size, **look)
    axes.set_xticks([])


def _note(figure: Figure, text: str) -> None:
    """Lines below the figure, as wide as that or so."""
    box = extent_of(figure)
    letters = max(60, int(box.width * 72 / 5))
    lines = "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, letters))
    add_text(figure, box.x0, box.y0 - 0.1, lines, va="top", fontsize=9, color=LIGHT["dim"])


def _legend(figure: Figure, axes: Axes, n_columns: int = 1, beside: bool = False) -> None:
    """To the right of the axes, or below them and their labels."""
    corner = (1.02, 1.0) if beside else (-0.02, -46 / (72 * figure.get_figheight()))
    spaces = {"borderaxespad": 0, "handletextpad": 0.5, "columnspacing": 1.2}
    axes.legend(ncols=n_columns, loc="upper left", bbox_to_anchor=corner, **spaces)


def intervals(
    metrics: Sequence[str], methods: Sequence[MethodIntervals], looks: Looks, limits: tuple[float, float] | None
) -> Figure:
    """A panel a metric: markers with interval whiskers, a row a method, the first on top; transductive ones hollow.
    Second intervals are thin lines below the first.

    Percent, between ``limits``, or as far as the figures reach and 0; bounds may be nan.
    """
    figure, panels = _panels(len(metrics), 190 if len(metrics) > 1 else 340, 17 * len(methods) + 8)
    for at, (metric, axes) in enumerate(zip(metrics, panels, strict=True)):
        for place, (label, found, hollow, other_classes) in enumerate(methods):
            _draw_interval(axes, place, label, found[at], looks[label], hollow)
            if other_classes and not math.isnan(other_classes[at].low):
                low, high = 100 * other_classes[at].low, 100 * other_classes[at].high
                tip = f"{TIP}{label}, other classes: [{low:.1f}, {high:.1f}]"
                axes.plot((low, high), (place + 0.36,) * 2, color=looks[label][0], linewidth=0.7, gid=tip)
        if at % 3 == 0:
            _write_names(axes, [shortened(method.label, _MOST_LETTERS) for method in methods])
        axes.set(ylim=(len(methods) - 0.4, -0.6), xlabel=metric, yticks=[])
        axes.spines.left.set_visible(False)
        axes.grid(axis="x")
        if limits:
            axes.set_xlim(limits)
            axes.set_xticks(np.linspace(*limits, 5))
        else:
            axes.axvline(0, color=LIGHT["dim"], linewidth=1)
    return figure


def _draw_interval(
    axes: Axes, place: int, label: str, figure: Interval, own_look: tuple[str, str], hollow: bool
) -> None:
    if math.isnan(figure.value):
        return
    color, marker = own_look
    value, low, high = (100 * each for each in (figure.value, figure.low, figure.high))
    tip = f"{TIP}{label}: {value:.1f}"
    if not math.isnan(low):
        tip += f" [{low:.1f}, {high:.1f}]"
        # Ends that are higher than the marker show where the interval is narrower than it.
        ends = [place - 0.33, place + 0.33, place, place, place - 0.33, place + 0.33]
        axes.plot([low, low, low, high, high, high], ends, color=color, linewidth=1.4, gid=tip)
    face = LIGHT["page"] if hollow else color
    axes.plot(value, place, marker, color=color, markerfacecolor=face, gid=tip)


def heat_maps(
    maps: Sequence[HeatMap],
    rows: Sequence[str],
    columns: Sequence[str],
    note: str,
    cell: tuple[float, float] = (58, 30),
    by_column: bool = False,
    rules: Sequence[int] = (),
) -> Figure:
    """Panels side by side that share the names of their rows and columns; empty where there is no cell.

    Darker is higher: among all panels, or with ``by_column`` in a column of one. Lines part the rows above ``rules``.
    """
    names = [shortened(name, _MOST_LETTERS) for name in rows]
    heads = [_in_lines(name) for name in columns]
    width, height = cell
    longest = max((len(line) for head in heads for line in head.splitlines()), default=0)
    panel = max(width * len(columns), 6.2 * max(len(each.title) for each in maps))
    most = max(1, min(4, int(760 / panel)))
    stretch = panel / (width * len(columns))
    figure, panels = _panels(len(maps), panel, height * len(rows), most, (20, 6.4 * longest + 44))
    every = [cell.value for each in maps for cell in each.cells.values()]
    for number, (each, axes) in enumerate(zip(maps, panels, strict=True)):
        shades = np.zeros((len(rows), len(columns)))
        for (row, column), found in each.cells.items():
            among = [x.value for (_, at), x in each.cells.items() if at == column] if by_column else every
            low, high = min(among), max(among)
            shades[row, column] = 0.06 + (_DARKEST - 0.06) * ((found.value - low) / (high - low or 1))
            _draw_cell(axes, row, column, found)
        _shade(axes, shades)
        axes.set_xlim(-0.5, len(columns) * stretch - 0.5)
        axes.spines[:].set_visible(False)
        axes.set_yticks([])
        if number % most == 0:
            _write_names(axes, names)
        _write_heads(axes, heads)
        if each.title:
            axes.set_title(each.title, pad=6.2 * longest + 12, fontweight="bold")
        axes.hlines(np.arange(1, len(rows)) - 0.5, -0.5, len(columns) - 0.5, color=LIGHT["page"], linewidth=1.5)
        axes.vlines(np.arange(1, len(columns)) - 0.5, -0.5, len(rows) - 0.5, color=LIGHT["page"], linewidth=1.5)
        axes.hlines(np.array(rules) - 0.5, -0.5, len(columns) - 0.5, color=LIGHT["ink"], linewidth=1)
    _note(figure, note)
    return figure


def _in_lines(name: str) -> str:
    """A name of many parts in up to three lines, which is what fits across a column."""
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    return "\n".join(textwrap.wrap(name, _MOST_LETTERS_ACROSS, max_lines=3, placeholder="…"))


def _draw_cell(axes: Axes, row: int, column: int, cell: Cell) -> None:
    # A cell's texts lie inside the axes, so the figure is measured without them.
    look: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}
    look["gid"] = TIP + cell.tip if cell.tip else None
    weight = "bold" if cell.bold else "normal"
    axes.text(column, row - (0.16 if cell.below else 0), cell.text, fontweight=weight, **look)
    if cell.below:
        axes.text(column, row + 0.24, cell.below, fontsize=8, color=LIGHT["dim"], **look)


def _shade(axes: Axes, opacities: np.ndarray) -> None:
    """Cells of one colour through which any page's own shows; as colours, since an SVG has no opacities beside them."""
    from matplotlib.colors import to_rgba_array

    shades = to_rgba_array([LIGHT["c0"]] * opacities.size, opacities.ravel()).reshape(*opacities.shape, 4)
    if opacities.size > _MANY_CELLS:
        # matplotlib enlarges what it is given: float64 takes a quarter of a GB for 120 classes.
        shades = (255 * shades).round().astype(np.uint8)
    axes.imshow(shades, aspect="auto", interpolation="none")


def accuracy_against_cost(metric: str, methods: Sequence[MethodCost], looks: Looks, note: str) -> Figure:
    """A point a method; a line joins those that no other beats in both time and accuracy."""
    figure, (axes,) = _panels(1, 430, max(300, 14 * len(methods)))
    for method in sorted(methods, key=lambda method: -method.accuracy):
        color, marker = look_of(looks, method.label)
        name = shortened(method.label, _MOST_LETTERS)
        place = (max(method.seconds, 1e-3), 100 * method.accuracy)
        axes.plot(*place, marker, color=color, markersize=7, label=name, linestyle="none", gid=TIP + method.tip)
    cheapest = sorted(methods, key=lambda method: (method.seconds, -method.accuracy))
    best = np.maximum.accumulate([method.accuracy for method in cheapest])
    front = [each for at, each in enumerate(cheapest) if at == 0 or each.accuracy > best[at - 1]]
    ends = [[max(each.seconds, 1e-3) for each in front], [100 * each.accuracy for each in front]]
    axes.step(*ends, where="post", color=LIGHT["dim"], linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set(xlabel="time to fit and to score the test clips, seconds", ylabel=metric)
    axes.grid()
    _legend(figure, axes, beside=True)
    _note(figure, note)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], seen: np.ndarray | None = None) -> Figure:
    """Shares of each true class (rows) by predicted class, from int (K, K) counts.

    With ``seen``, bool (K,), of both kinds: seen classes first, a line between the two.
    """
    order = np.arange(len(classes)) if seen is None else np.argsort(~seen, kind="stable")
    counts, names = counts[np.ix_(order, order)], [shortened(classes[int(k)], 28) for k in order]
    n_seen = len(names) if seen is None else int(seen.sum())
    few = len(names) <= _MOST_COUNTED_CLASSES
    side = (27.0 if few else 10.0) * len(names)
    figure, (axes,) = _panels(1, side, side)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    _shade(axes, (_DARKEST if few else 1) * shares)
    axes.spines[:].set_visible(True)
    if few:
        for row, column in np.argwhere(counts > 0):
            tip = f"{names[row]} taken for {names[column]}: {100 * shares[row, column]:.0f} %"
            _draw_cell(axes, row, column, Cell(shares[row, column], str(counts[row, column]), tip=tip))
    colors = [LIGHT["ink"] if at < n_seen else _UNSEEN for at in range(len(names))]
    _write_names(axes, names, colors, 10 if few else 8)
    _write_heads(axes, names, above=False, colors=colors)
    if 0 < n_seen < len(names):
        axes.axhline(n_seen - 0.5, color=_UNSEEN, linewidth=1.5)
        axes.axvline(n_seen - 0.5, color=_UNSEEN, linewidth=1.5)
    counted = "numbers count clips; " if few else ""
    _note(figure, f"rows: true class; columns: predicted class; {counted}stronger colour: a larger share of its row")
    return figure


def seen_unseen(methods: Sequence[ScoredMethod], looks: Looks) -> Figure:
    """Accuracy on unseen over accuracy on seen classes as the calibration sweeps, a line a seed.

    Filled markers stand at the calibration that the run chose, hollow ones at none.
    """
    figure, (axes,) = _panels(1, 385, 320)
    grid = np.linspace(1, 100, 60)
    harmonic = axes.contour(
        grid, grid, 2 / (1 / grid + 1 / grid[:, None]), [20, 40, 60, 80], colors=LIGHT["line"], linestyles="dashed"
    )
    places = [(88, 88 * level / (176 - level)) for level in (20, 40, 60, 80)]
    axes.clabel(harmonic, fmt="H %g", fontsize=8, colors=LIGHT["dim"], manual=places)
    for method in methods:
        color, marker = looks[method.label]
        tip = TIP + method.label
        for curve, points in zip(method.curves, method.points, strict=True):
            axes.plot(*(100 * curve.T), color=color, linewidth=1.2, alpha=0.8, gid=tip)
            for (seen, unseen), face in zip(points, (LIGHT["page"], color), strict=True):
                axes.plot(100 * seen, 100 * unseen, marker, color=color, markerfacecolor=face, gid=tip)
        label = f"{shortened(method.label, _MOST_LETTERS)}: AUSUC {100 * method.ausuc:.1f}"
        axes.plot([], [], marker, color=color, label=label)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="S: top-1 on seen classes, %", ylabel="U: top-1 on unseen classes, %")
    _legend(figure, axes, beside=len(methods) > 6)
    _note(figure, "filled: as calibrated on validation; hollow: without calibration")
    return figure


_ACCURACIES = ("validation", "accuracy")
"""Columns of a training's rows that are no losses, beside label-free scores."""
_TITLES = {"accuracy": "training"}


def curves_of(runs: Sequence[Training]) -> dict[str, list[str]]:
    """The columns of losses and of accuracies, those of both that any run has."""
    columns = dict.fromkeys(name for run in runs for rows in run.phases.values() for row in rows for name in row)
    accuracies = [name for name in _ACCURACIES if name in columns]
    losses = [name for name in columns if name not in (*_ACCURACIES, "epoch", *map(column_of, TITLES))]
    return {label: names for label, names in (("loss", losses), ("accuracy", accuracies)) if names}


def training_curves(runs: Sequence[Training]) -> Figure:
    """A column a phase: losses above, accuracy in training and on validation below where there is any; a line a seed.

    A dashed line marks each seed's chosen epoch in the phase that chose. The first column has the keys.
    """
    phases = list(dict.fromkeys(name for run in runs for name, rows in run.phases.items() if rows))
    blocks = curves_of(runs)
    longest = max(map(len, blocks.values()))
    figure, panels = _panels(len(phases) * len(blocks), 236, 140, len(phases), (64, 52 + 14 * longest))
    for number, axes in enumerate(panels):
        block, phase = list(blocks)[number // len(phases)], phases[number % len(phases)]
        if number < len(phases):
            axes.set_title(f"{phase} fit", loc="center", fontweight="bold")
        _draw_curves(axes, runs, phase, blocks[block], block)
        if not number % len(phases):
            for place, name in enumerate(blocks[block]):
                axes.plot([], [], marker=look(place)[1], color=look(place)[0], label=_TITLES.get(name, name))
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.26), borderaxespad=0)
    return figure


def _draw_curves(axes: Axes, runs: Sequence[Training], phase: str, names: Sequence[str], label: str) -> None:
    """The columns ``names`` of a phase over its epochs; nothing where no run has any."""
    from matplotlib.ticker import MaxNLocator

    curves = {name: [found for run in runs if len(found := _curve(run, phase, name))] for name in names}
    values = [value for found in curves.values() for curve in found for value in curve[:, 1]]
    if not values:
        axes.set_axis_off()
        return
    for place, of_seeds in enumerate(curves.values()):
        color, marker = look(place)
        for curve in of_seeds:
            every = max(1, len(curve) // 3)
            axes.plot(*curve.T, marker=marker, color=color, markersize=4, markevery=every, linewidth=1.3)
    if curves.get("validation"):
        for epoch in sorted({run.chosen_epoch for run in runs if run.chosen_epoch is not None}):
            axes.axvline(epoch, color=LIGHT["dim"], linewidth=1, linestyle=(0, (3, 3)))
    if label == "loss" and min(values) > 0 and max(values) > _LOG_RATIO * min(values):
        axes.set(yscale="log", ylabel="loss, logarithmic")
        _plain_numbers(axes.yaxis)
    else:
        axes.set_ylabel(label)
        axes.set_ylim((0, 1) if label == "accuracy" else (min(0.0, *values), max(values) * 1.05 or 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")
    axes.grid(axis="y")


def _plain_numbers(axis: Axis) -> None:
    """Of a logarithmic axis: 0.01 instead of a power of ten, and none between."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def _curve(run: Training, phase: str, name: str) -> np.ndarray:
    """float (N, 2) of epoch and value, of the rows that have both; a loss that is no number is left out."""
    rows = [(row["epoch"], row[name]) for row in run.phases.get(phase, ()) if name in row and "epoch" in row]
    rows = [row for row in rows if math.isfinite(row[1])]
    return _thinned(np.array(rows)) if rows else np.empty((0, 2))


def per_class_accuracy(classes: Sequence[str], accuracies: np.ndarray, seen: np.ndarray) -> Figure:
    """Bars of the mean over seeds, from float (R, K) accuracies, best on top and unseen classes first; a tick a seed.

    Classes without test samples (nan) are left out.
    """
    mean = 100 * accuracies.mean(axis=0)
    shown = np.flatnonzero(~np.isnan(mean))
    shown = shown[np.lexsort((-mean[shown], seen[shown]))]
    figure, (axes,) = _panels(1, 220, 15 * len(shown) + 2)
    for known, color, label in ((False, _UNSEEN, "unseen class"), (True, _SEEN, "seen class")):
        rows = np.flatnonzero(seen[shown] == known)
        if len(rows):
            axes.barh(rows, mean[shown[rows]], 0.75, color=color, alpha=0.8, label=label)
    several = len(accuracies) > 1
    if several:
        places = np.repeat(np.arange(len(shown))[None], len(accuracies), axis=0)
        values = 100 * accuracies[:, shown]
        axes.plot(values.ravel(), places.ravel(), "|", color=LIGHT["ink"], markersize=9)
    _write_names(axes, [shortened(classes[int(k)], 32) for k in shown], size=9)
    axes.set(xlim=(0, 100), ylim=(len(shown) - 0.5, -0.5))
    axes.set_xlabel("accuracy among all classes, %" + ("; a tick a seed" if several else ""))
    axes.grid(axis="x")
    if not seen.all() and seen[shown].any():
        _legend(figure, axes, n_columns=2)
    return figure


def sample_map(mapped: MappedSamples) -> Figure:
    """Samples and class texts in two dimensions: filled where the right class was chosen, a star a class text."""
    from matplotlib.patheffects import withStroke

    figure, (axes,) = _panels(1, 508, 386)
    step = max(1, math.ceil(len(mapped.samples) / _MOST_MAPPED))
    samples, labels, correct = (values[::step] for values in (mapped.samples, mapped.labels, mapped.correct))
    for k, name in enumerate(mapped.classes):
        color, marker = look(k)
        for right in (True, False):
            tip = f"{TIP}{name}, {'right' if right else 'wrong'}"
            _scatter(axes, samples[(labels == k) & (correct == right)], color, marker, right, tip)
        axes.plot([], [], marker, color=color, label=shortened(name, 32))
    for k, name in enumerate(mapped.classes):
        place = mapped.prototypes[k]
        tip = f"{TIP}class text: {name}"
        axes.plot(*place, "*", color=look(k)[0], markeredgecolor=LIGHT["ink"], markersize=11, gid=tip)
        edge: list[Any] = [withStroke(linewidth=2.5, foreground=LIGHT["page"])]
        side: dict[str, Any] = {"textcoords": "offset points", "xytext": (7, 0), "va": "center"}
        if place[0] > np.quantile(np.concatenate([samples, mapped.prototypes])[:, 0], 0.7):
            side |= {"xytext": (-7, 0), "ha": "right"}
        axes.annotate(shortened(name, 24), place, fontweight="bold", path_effects=edge, **side)
    _unscaled(axes)
    _legend(figure, axes, n_columns=2)
    _note(figure, "star: class text; filled: right among these classes; hollow: wrong")
    return figure


def domain_maps(methods: Sequence[MappedDomains], classes: Sequence[str]) -> Figure:
    """A panel a method: source clips hollow, target clips filled, a colour and marker a class. Axes differ."""
    figure, panels = _panels(len(methods), 200, 200, 4, (16, 26))
    for axes, method in zip(panels, methods, strict=True):
        axes.set_title(shortened(method.label, 34), fontsize=9)
        domains = (
            ("source", method.source[:_MOST_OF_DOMAIN], method.source_labels),
            ("target", method.target[:_MOST_OF_DOMAIN], method.target_labels),
        )
        for domain, places, labels in domains:
            for k, name in enumerate(classes):
                tip = f"{TIP}{name}, {domain}"
                _scatter(axes, places[labels[: len(places)] == k], *look(k), domain == "target", tip)
        _unscaled(axes)
    for k, name in enumerate(classes):
        color, marker = look(k)
        panels[-1].plot([], [], marker, color=color, label=shortened(name, 30))
    handles, names = panels[-1].get_legend_handles_labels()
    lowest = -16 / (72 * figure.get_figheight())
    figure.legend(handles, names, loc="upper left", bbox_to_anchor=(0, lowest), ncols=min(4, max(2, len(panels))))
    _note(figure, "filled: target test clips; hollow: source training clips; first two principal components")
    return figure


def _scatter(axes: Axes, places: np.ndarray, color: str, marker: str, filled: bool, tip: str) -> None:
    if len(places):
        face = color if filled else LIGHT["page"]
        axes.plot(*places.T, marker, color=color, markerfacecolor=face, markersize=4.5, alpha=0.75, gid=tip)


def _unscaled(axes: Axes) -> None:
    """Axes that have no unit: a frame alone."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LIGHT["line"])


def critical_difference(ranks: Ranks, looks: Looks) -> Figure:
    """Methods at their mean rank over tasks, the best at the left; a bar joins those that no test tells apart."""
    import pandas as pd
    from scikit_posthocs import critical_difference_diagram

    names = [shortened(name, 200) for name in ranks.methods]
    n = len(names)
    figure, (axes,) = _panels(1, 420, 16 * ((n + 1) // 2 + len(ranks.cliques)) + 30)
    drawn = critical_difference_diagram(
        pd.Series(ranks.average, names),
        pd.DataFrame(ranks.p_values, names, names),
        ax=axes,
        alpha=1 - ranks.level,
        label_fmt_left="{label}  {rank:.2f}",
        label_fmt_right="{rank:.2f}  {label}",
        text_h_margin=0.02 * n,
        color_palette={name: look_of(looks, label)[0] for name, label in zip(names, ranks.methods, strict=True)},
        elbow_props={"linewidth": 1},
        crossbar_props={"color": LIGHT["ink"], "linewidth": 3},
        marker_props={"s": 26, "marker": MARKERS[0]},
    )
    for text in drawn["labels"]:
        text.set_color(LIGHT["ink"])
    axes.spines.top.set(visible=True, color=LIGHT["ink"])
    axes.set_xticks(range(1, n + 1))
    axes.set_xlim(1, n)
    friedman = "" if math.isnan(ranks.friedman_p) else f"Friedman p = {ranks.friedman_p:.2g}; "
    reading = "a bar joins methods that are not told apart" if ranks.cliques else "all are told apart"
    test = f"{ranks.posthoc.capitalize()} test at {100 * ranks.level:g} %"
    if not math.isnan(ranks.critical_difference):
        test += f", critical difference {ranks.critical_difference:.2f}"
    _note(figure, f"mean rank over {ranks.n_tasks} tasks; {friedman}{test}: {reading}")
    return figure
