"""Figures pooled over class folds, with intervals over classes, folds and the seeds in them.

In folds every class is unseen equally often. A fold counts by its unseen test clips, so that pooled top-1 among unseen
classes is the share of all clips that are right when their class is unseen; of macro metrics, by its unseen classes.
``docs/statistics.md`` explains the two intervals, and gives how often they are right in simulations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmcl_bench.evaluation.metrics import HarmonicMean, MeanShareRight, Metric, Scored, joint_cells
from mmcl_bench.evaluation.statistics import Interval, PairedDifference

_CHUNK_CELLS = 2**20
"""Weights held at once, (rows, cells) float64: 8 MiB."""
_STEP = 1e-3
"""By how much the weight of a clip is changed to see what it does to a figure."""


@dataclass(frozen=True)
class Pooled:
    """A figure over class folds with its two intervals."""

    of_other_classes: Interval
    """For other classes of the same kind, other divisions of them, other seeds and other clips."""
    of_these_classes: Interval
    """For the classes of this data set; other divisions of them, seeds and clips. The bounds are nan where a class is
    unseen less than twice."""


@dataclass(frozen=True)
class PooledDifference:
    """Figure of a minus figure of b over the same class folds, with both intervals of :class:`Pooled`."""

    of_other_classes: PairedDifference
    of_these_classes: PairedDifference


def pooled(metric: Metric, folds: Sequence[Sequence[Scored]], level: float = 0.95) -> Pooled:
    """A metric over class folds, mean over seeds. ``folds[i]`` holds the seeds of one fold, all on the same samples in
    the same order; all have the same classes.

    Interval of other classes: Student's t with the two-way jackknife variance, the delete-one-class variance plus the
    delete-one-fold variance minus the delete-one-cell variance (Cameron, Gelbach and Miller, Journal of Business and
    Economic Statistics 29(2), 2011; a cell is what a class adds to a fold), but at least the greater of the first two,
    with one degree of freedom less than there are classes or folds, whichever are fewer. Interval of these classes: the
    spread of the cells of a class over folds, with what the cells of a fold have in common, plus that of its clips.

    Raises :class:`ValueError` without folds or runs, and where samples or classes differ.
    """
    spread = _spread(metric, [[(1 / len(runs), run) for run in runs] for runs in folds])
    n = min((metric.n_samples(run) for runs in folds for run in runs), default=0)

    def interval(error: float, freedom: float) -> Interval:
        low, high = _bounds(spread.value, error, freedom, level)
        return Interval(spread.value, max(low, 0.0), min(high, 1.0), n, level)

    return Pooled(interval(*spread.of_other_classes), interval(*spread.of_these_classes))


def pooled_difference(
    metric: Metric, a_folds: Sequence[Sequence[Scored]], b_folds: Sequence[Sequence[Scored]], level: float = 0.95
) -> PooledDifference:
    """Metric of a minus metric of b over class folds, paired by fold, class and clip, as :func:`pooled` does it.

    ``a_folds[i]`` and ``b_folds[i]`` are of one fold; they need not have as many seeds. Raises :class:`ValueError`
    where folds do not match.
    """
    if len(a_folds) != len(b_folds):
        raise ValueError(f"folds must pair: {len(a_folds)} of a, {len(b_folds)} of b")
    terms = [
        [*((1 / len(a), run) for run in a), *((-1 / len(b), run) for run in b)]
        for a, b in zip(a_folds, b_folds, strict=True)
    ]
    spread = _spread(metric, terms)

    def difference(error: float, freedom: float) -> PairedDifference:
        low, high = _bounds(spread.value, error, freedom, level)
        p_value = math.nan if math.isnan(error + spread.value) else 1.0
        if error > 0:
            p_value = float(2 * stats.t.sf(abs(spread.value) / error, freedom))
        elif error == 0 and abs(spread.value) > _TINY:
            p_value = 0.0
        return PairedDifference(spread.value, max(low, -1.0), min(high, 1.0), p_value, len(a_folds))

    return PooledDifference(difference(*spread.of_other_classes), difference(*spread.of_these_classes))


_TINY = 1e-12
_Terms = Sequence[tuple[float, Scored]]
"""A sum of the metric on score sheets of the same samples, each with its coefficient."""


@dataclass(frozen=True)
class _Spread:
    value: float
    of_other_classes: tuple[float, float]
    of_these_classes: tuple[float, float]
    """Standard error, and degrees of freedom."""


@dataclass(frozen=True)
class _Fold:
    """What a fold adds to a pooled figure, and what it adds without each of its classes."""

    mass: float
    value: float
    mass_without: np.ndarray
    value_without: np.ndarray
    """float64 (K,)"""
    mass_slope: np.ndarray
    value_slope: np.ndarray
    """float64 (N,), what more weight of a clip does."""
    labels: np.ndarray
    unseen: np.ndarray
    """bool (K,), the unseen classes that have clips."""


def _spread(metric: Metric, folds: Sequence[_Terms]) -> _Spread:
    if not folds or not all(folds):
        raise ValueError("a pooled figure needs at least one run of each fold")
    if len({terms[0][1].scores.shape[1] for terms in folds}) > 1:
        raise ValueError("the folds must have the same classes")
    parts = [part for terms in folds if (part := _fold(metric, terms)).mass > 0]
    if not parts:
        return _Spread(math.nan, (math.nan, 1), (math.nan, 1))
    masses, values = np.array([part.mass for part in parts]), np.array([part.value for part in parts])
    value = float(np.average(values, weights=masses))
    if math.isnan(value):
        return _Spread(math.nan, (math.nan, 1), (math.nan, 1))
    fewer_masses = np.stack([part.mass_without for part in parts])
    fewer_values = np.stack([part.value_without for part in parts])
    unseen = np.stack([part.unseen for part in parts])
    # A fold that lacks its only unseen class has no figure, and drops out.
    fewer_masses = np.where(np.isnan(fewer_values), 0.0, fewer_masses)
    products, fewer = masses * values, fewer_masses * np.nan_to_num(fewer_values)
    cells = value - _ratio(
        products.sum() - products[:, None] + fewer, masses.sum() - masses[:, None] + fewer_masses, value
    )
    known = unseen.any(axis=0)
    without_class = _ratio(fewer.sum(axis=0), fewer_masses.sum(axis=0), value)[known]
    without_fold = _ratio(products.sum() - products, masses.sum() - masses, value)
    return _Spread(
        value,
        _error_of_other_classes(value, without_class, without_fold, cells),
        _error_of_these_classes(cells, unseen, _clip_variance(parts, value, masses.sum())),
    )


def _fold(metric: Metric, terms: _Terms) -> _Fold:
    first = terms[0][1]
    if not all(
        np.array_equal(first.labels, sheet.labels) and np.array_equal(first.seen, sheet.seen) for _, sheet in terms
    ):
        raise ValueError("the runs of one fold must hold the same samples in the same order, of the same classes")
    cells = joint_cells([first.labels, *(metric.cells(sheet) for _, sheet in terms)])
    _, carriers, sizes = np.unique(cells, return_index=True, return_counts=True)
    labels, n_classes = first.labels[carriers], len(first.seen)
    of_unseen = ~first.seen[labels]
    statistics = [(share, metric.prepare(sheet.rows(carriers))) for share, sheet in terms]

    def figures(weights: np.ndarray) -> np.ndarray:
        return np.asarray(sum(share * statistic(weights) for share, statistic in statistics))

    def masses(weights: np.ndarray) -> np.ndarray:
        held: np.ndarray = weights[:, of_unseen]
        if _is_macro(metric):
            return np.array([len(np.unique(labels[of_unseen][row > 0])) for row in held], dtype=np.float64)
        total: np.ndarray = held.sum(axis=1)
        return total

    whole = sizes[None].astype(np.float64)
    without = whole * (labels != np.arange(n_classes)[:, None])
    slopes = np.empty(len(sizes))
    rows = max(1, _CHUNK_CELLS // len(sizes))
    for start in range(0, len(sizes), rows):
        steps = _STEP * np.eye(len(sizes))[start : start + rows]
        slopes[start : start + rows] = (figures(whole + steps) - figures(whole - steps)) / (2 * _STEP)
    present = np.bincount(first.labels, minlength=n_classes) > 0
    return _Fold(
        float(masses(whole)[0]),
        float(figures(whole)[0]),
        masses(without),
        figures(without),
        np.zeros(len(first)) if _is_macro(metric) else first.of_unseen_class.astype(np.float64),
        slopes[cells],
        first.labels,
        present & ~first.seen,
    )


def _is_macro(metric: Metric) -> bool:
    """Whether classes count alike, whatever clips they have."""
    return isinstance(metric, MeanShareRight) or (isinstance(metric, HarmonicMean) and _is_macro(metric.unseen))


def _error_of_other_classes(
    value: float, without_class: np.ndarray, without_fold: np.ndarray, cells: np.ndarray
) -> tuple[float, float]:
    n_classes, n_folds = len(without_class), len(without_fold)
    if min(n_classes, n_folds) < 2:
        return math.nan, 1
    of_classes = (n_classes - 1) / n_classes * ((without_class - value) ** 2).sum()
    of_folds = (n_folds - 1) / n_folds * ((without_fold - value) ** 2).sum()
    variance = max(of_classes + of_folds - (cells**2).sum(), of_classes, of_folds)
    return math.sqrt(variance), min(n_classes, n_folds) - 1


def _error_of_these_classes(cells: np.ndarray, unseen: np.ndarray, of_clips: float) -> tuple[float, float]:
    """Cells are compared with those of the same class in other folds, unseen ones and seen ones apart."""
    times = unseen.sum(axis=0)
    if (times[times > 0] < 2).any():
        return math.nan, 1
    apart, widened = np.zeros_like(cells), np.zeros_like(cells)
    for role in (unseen, ~unseen):
        n = role.sum(axis=0)
        means = _ratio((cells * role).sum(axis=0), n, 0.0)
        apart += role * (cells - means) * np.sqrt(_ratio(n, n - 1, 0.0))
        widened += role * (cells - means) * _ratio(n, n - 1, 0.0)
    own = (apart**2).sum()
    in_common = (widened.sum(axis=1) ** 2).sum() - (widened**2).sum()
    repetitions = times[times > 0].mean()
    return math.sqrt(max(own + in_common, own / 2) + of_clips), max(1.0, len(cells) * (1 - 1 / repetitions))


def _clip_variance(parts: Sequence[_Fold], value: float, mass: float) -> float:
    """The variance from which clips of each class are tested. Folds whose sheets have the same samples in the same
    order share them."""
    of_labels: dict[bytes, list[_Fold]] = {}
    for part in parts:
        of_labels.setdefault(part.labels.tobytes(), []).append(part)
    total = 0.0
    for alike in of_labels.values():
        of_folds = [part.mass * part.value_slope + part.mass_slope * (part.value - value) for part in alike]
        slopes = np.sum(of_folds, axis=0) / mass
        labels = alike[0].labels
        for label in np.unique(labels):
            own = slopes[labels == label]
            total += 0.0 if len(own) < 2 else len(own) ** 2 * float(own.var(ddof=1)) / len(own)
    return total


def _bounds(value: float, error: float, freedom: float, level: float) -> tuple[float, float]:
    half = float(stats.t.isf((1 - level) / 2, freedom)) * error
    return value - half, value + half


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    ratio: np.ndarray = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return ratio
