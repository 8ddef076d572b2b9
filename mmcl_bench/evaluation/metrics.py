"""Metrics of a score sheet, each with a weighted form that a bootstrap can evaluate thousands of times.

Ties: where several columns share the highest score, the first of them is the prediction.

The generalized zero-shot figures follow Xian et al., "Zero-Shot Learning - The Good, the Bad and the Ugly" (CVPR 2017,
arXiv 1703.04394) for H, and Chao et al., "An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object
Recognition in the Wild" (ECCV 2016, arXiv 1605.04253) for calibrated stacking and AUSUC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import Registry, unknown


@dataclass(frozen=True, eq=False)
class Scored:
    """A score sheet: a method's scores for every test sample, and the true classes.

    Raises :class:`ValueError` if the shapes of the arrays do not match, a score is not finite, or a label is not a
    column.
    """

    scores: np.ndarray
    """float32 or float64 (N, K), higher is likelier; see :func:`real_scores`. Figures are those of the dumped sheet."""
    labels: np.ndarray
    """int64 (N,), the column of the true class."""
    seen: np.ndarray
    """bool (K,), True for classes with training clips."""
    calibration: float = 0.0
    """Calibrated stacking (Chao et al., eq. 2): subtracted from the scores of seen classes where seen and unseen
    classes compete. Infinite values are the two ends of the sweep."""

    def __post_init__(self) -> None:
        scores = real_scores(self.scores)
        labels = np.asarray(self.labels)
        seen = np.asarray(self.seen)
        if scores.ndim != 2 or scores.shape[1] == 0:
            raise ValueError(f"scores must be (N, K) with at least one column, not {scores.shape}")
        if labels.shape != scores.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"labels must be ({len(scores)},) integers, not {labels.shape} of {labels.dtype}")
        if seen.shape != scores.shape[1:] or seen.dtype != np.bool_:
            raise ValueError(f"seen must be ({scores.shape[1]},) bool, not {seen.shape} of {seen.dtype}")
        finite = np.isfinite(scores)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(f"scores must be finite; row {row}, column {column} is {scores[row, column]}")
        if labels.size and (labels.min() < 0 or labels.max() >= scores.shape[1]):
            raise ValueError(f"labels must be columns 0..{scores.shape[1] - 1}, not {labels.min()}..{labels.max()}")
        if np.isnan(self.calibration):
            raise ValueError("calibration must be a number, not nan")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        object.__setattr__(self, "seen", seen)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: np.ndarray) -> Scored:
        """The sheet of some samples, int64 (M,)."""
        known: _Competition | None = vars(self).get("competition")
        kept = {} if known is None else {"competition": _Competition(*(values[rows] for values in known))}
        return self._with(scores=self.scores[rows], labels=self.labels[rows], **kept)

    def calibrated(self, calibration: float) -> Scored:
        """The same sheet with another calibration, which is a number."""
        return self._with(calibration=calibration)

    def _with(self, **changed: object) -> Scored:
        """A copy with other attributes, which are such as a sheet may have."""
        other = copy(self)
        vars(other).update(changed)
        return other

    @cached_property
    def competition(self) -> _Competition:
        """Which seen and which unseen class wins each sample; it does not depend on the calibration."""
        seen_column, seen_score = _best_among(self.scores, self.seen)
        unseen_column, unseen_score = _best_among(self.scores, ~self.seen)
        return _Competition(seen_column, unseen_column, seen_score - unseen_score)

    @property
    def of_unseen_class(self) -> np.ndarray:
        """bool (N,), True for samples whose true class is unseen."""
        unseen: np.ndarray = ~self.seen[self.labels]
        return unseen

    def unseen_part(self) -> Scored:
        """The sheet of the conventional zero-shot setting: samples and columns of unseen classes alone.

        Columns keep their order and are numbered anew. Raises :class:`ValueError` where all classes are seen.
        """
        columns = np.flatnonzero(~self.seen)
        rows = np.flatnonzero(self.of_unseen_class)
        return Scored(
            self.scores[np.ix_(rows, columns)],
            np.searchsorted(columns, self.labels[rows]),
            np.zeros(len(columns), dtype=bool),
        )


def real_scores(scores: np.ndarray) -> np.ndarray:
    """Scores (N, K) as float32 or float64, in which the classes of a row keep their order.

    Up to 32 bits, floating-point numbers become float32; others become float64. Where that would make different scores
    of a row equal, as it may be with integers of 64 bits and long doubles, the row's maximum is subtracted first, which
    changes no figure.

    Raises :class:`ValueError` for complex numbers, texts, truth values, objects and masked arrays.
    """
    if np.ma.is_masked(scores):
        raise ValueError("scores must be numbers; some are masked")
    scores = np.asarray(scores)
    if scores.dtype.kind not in "iuf":
        raise ValueError(f"scores must be real numbers, not {scores.dtype}")
    is_narrow = np.result_type(scores, np.float32) == np.float32
    with np.errstate(over="ignore"):
        kept = scores.astype(np.float32 if is_narrow else np.float64, copy=False)
    if is_narrow or scores.dtype.itemsize < 8 or kept.dtype == scores.dtype or scores.ndim != 2:
        return kept
    made_equal = (np.diff(np.sort(kept, axis=1)) == 0) & (np.diff(np.sort(scores, axis=1)) != 0)
    rows = np.flatnonzero(made_equal.any(axis=1))
    if rows.size:
        # Integers are subtracted modulo 2**64, as their differences need all 64 bits.
        wide = scores[rows] if scores.dtype.kind == "f" else scores[rows].astype(np.uint64)
        best = np.take_along_axis(wide, scores[rows].argmax(axis=1, keepdims=True), axis=1)
        kept[rows] = -(best - wide).astype(np.float64)
    return kept


def predictions(scored: Scored) -> np.ndarray:
    """int64 (N,) predicted columns among all classes, after calibration. Where all classes are seen, plain argmax."""
    competition = scored.competition
    margin, calibration = competition.margin, scored.calibration
    ahead = (margin > calibration) | ((margin == calibration) & (competition.seen_column < competition.unseen_column))
    return np.where(ahead, competition.seen_column, competition.unseen_column)


class _Competition(NamedTuple):
    """The best seen and the best unseen class of each sample; if there are no such classes, column K."""

    seen_column: np.ndarray
    unseen_column: np.ndarray
    margin: np.ndarray
    """float64 (N,), best seen minus best unseen score: the calibration at which the prediction changes from seen to
        unseen."""


def _best_among(scores: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = np.flatnonzero(allowed)
    if not columns.size:
        return np.full(len(scores), scores.shape[1]), np.full(len(scores), -np.inf)
    best = columns[np.compress(allowed, scores, axis=1).argmax(axis=1)]
    return best, scores[np.arange(len(scores)), best].astype(np.float64)


def per_class_accuracy(scored: Scored) -> np.ndarray:
    """float64 (K,), the share of each class's samples that :func:`predictions` gets right; nan without samples."""
    n_classes = scored.scores.shape[1]
    right = scored.labels[predictions(scored) == scored.labels]
    return _ratio(np.bincount(right, minlength=n_classes), np.bincount(scored.labels, minlength=n_classes))


def confusion(scored: Scored) -> np.ndarray:
    """int64 (K, K) counts: rows are true classes, columns are :func:`predictions`."""
    n_classes = scored.scores.shape[1]
    cells = scored.labels * n_classes + predictions(scored)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


class SeenUnseenCurve(NamedTuple):
    """Accuracy on seen and on unseen classes as the calibration rises; point i holds from just above
    ``calibration[i]`` up to ``calibration[i + 1]``, the last one to infinity."""

    seen_accuracy: np.ndarray
    """float64 (P,), never rising."""
    unseen_accuracy: np.ndarray
    """float64 (P,), never falling."""
    calibration: np.ndarray
    """float64 (P,), rising; the first is -inf, the others are all calibrations at which an accuracy changes."""


def seen_unseen_curve(scored: Scored) -> SeenUnseenCurve:
    """The exact curve over all calibrations; ``scored.calibration`` is not used. Accuracies are micro top-1.

    An accuracy is nan if the sheet has no such (seen or unseen) sample. The area under it is the metric ``ausuc``.
    """
    seen, unseen = _sides(scored)
    margins = np.concatenate([seen.margin, unseen.margin])
    calibration = np.concatenate([[-np.inf], np.unique(margins[np.isfinite(margins)])])
    n_lost = np.searchsorted(seen.margin, calibration, side="right")
    n_won = np.searchsorted(unseen.margin, calibration, side="right")
    return SeenUnseenCurve(
        _ratio(len(seen.right) - n_lost, seen.counted.sum()), _ratio(n_won, unseen.counted.sum()), calibration
    )


class _Side(NamedTuple):
    """Samples of seen (or unseen) classes, and which are right when the calibration favours these classes."""

    counted: np.ndarray
    """bool (N,)"""
    right: np.ndarray
    """int64 (M,) positions of samples whose class beats all others of its side, by rising margin."""
    margin: np.ndarray
    """float64 (M,) their margins, never falling: a seen sample is right below its margin, an unseen one above."""


def _sides(scored: Scored) -> tuple[_Side, _Side]:
    competition = scored.competition
    of_unseen = scored.of_unseen_class

    def side(counted: np.ndarray, column: np.ndarray) -> _Side:
        right = np.flatnonzero(counted & (column == scored.labels))
        right = right[np.argsort(competition.margin[right], kind="stable")]
        return _Side(counted, right, competition.margin[right])

    return side(~of_unseen, competition.seen_column), side(of_unseen, competition.unseen_column)


def fit_calibration(scores: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> float:
    """The calibration that maximises H = 2SU / (S + U), micro, on validation samples of seen and pseudo-unseen classes.

    H is constant between breakpoints of :func:`seen_unseen_curve`. Returns the middle of the best interval; of several
    equally good ones the widest, then the lowest. 0 where no calibration gives H > 0. Shapes as in :class:`Scored`.

    Raises :class:`ValueError` where there are no samples of seen, or none of unseen, classes.
    """
    curve = seen_unseen_curve(Scored(scores, labels, seen))
    harmonic = _harmonic_mean(curve.seen_accuracy, curve.unseen_accuracy)
    if np.isnan(harmonic).any():
        raise ValueError(
            "a calibration needs validation samples of seen and of unseen classes; one of the two has none"
        )
    if not harmonic.max() > 0:
        return 0.0
    # S falls to 0 after the last breakpoint and U is 0 before the first: the best intervals are bounded.
    best = np.flatnonzero(np.isclose(harmonic, harmonic.max(), rtol=0, atol=1e-12))
    with np.errstate(over="ignore"):
        widest = best[np.argmax(curve.calibration[best + 1] - curve.calibration[best])]
    # Half of each, as the sum of two lowest numbers, which often stand for classes that are ruled out, is infinite.
    return float(curve.calibration[widest] / 2 + curve.calibration[widest + 1] / 2)


WeightedStatistic = Callable[[np.ndarray], np.ndarray]
"""From float64 (B, N) non-negative sample weights to float64 (B,) values; nan where the weighted sheet has none."""


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A metric of a score sheet, in [0, 1], higher is better; nan where the sheet does not define it."""

    name: str
    title: str
    """For the heads of tables and the axes of figures."""
    families: frozenset[str]
    """The task families that report it: ``supervised``, ``zero-shot``, ``transfer``."""
    contest: Literal["all", "unseen"] = "all"
    """The classes that compete for a sample: all, after calibration, or the unseen ones alone."""

    @abstractmethod
    def prepare(self, scored: Scored) -> WeightedStatistic:
        """Computes once everything that does not depend on sample weights."""

    def counted(self, scored: Scored) -> np.ndarray:
        """bool (N,), the samples that the metric is computed on."""
        return np.ones(len(scored), dtype=bool)

    def predicted(self, scored: Scored) -> np.ndarray:
        """int64 (N,), the predicted class of each sample among the metric's candidate classes, as a column."""
        return scored.competition.unseen_column if self.contest == "unseen" else predictions(scored)

    def right(self, scored: Scored) -> np.ndarray:
        """bool (N,), the samples that are right, whether or not they count."""
        right: np.ndarray = self.predicted(scored) == scored.labels
        return right

    def cells(self, scored: Scored) -> np.ndarray:
        """int64 (N,), the cell of each sample. The metric depends only on the total weight of each cell, not on how it
        is spread over the samples of the cell. By default every sample is its own cell."""
        return np.arange(len(scored))

    def __call__(self, scored: Scored) -> float:
        """The metric of the sheet as it is."""
        return float(self.prepare(scored)(np.ones((1, len(scored))))[0])

    def n_samples(self, scored: Scored) -> int:
        """How many samples the metric is computed on: the n of its sampling error."""
        return int(self.counted(scored).sum())


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    ratio: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _harmonic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """0 where both are 0, nan where one is nan."""
    harmonic: np.ndarray = np.divide(2 * a * b, a + b, out=a * b, where=a + b > 0)
    return harmonic


def _rank(scored: Scored) -> np.ndarray:
    """int64 (N,), how many columns rank above the true class; 0 means that plain, uncalibrated argmax is right."""
    truth = scored.scores[np.arange(len(scored)), scored.labels][:, None]
    earlier = np.arange(scored.scores.shape[1]) < scored.labels[:, None]
    n_ahead: np.ndarray = ((scored.scores > truth) | ((scored.scores == truth) & earlier)).sum(axis=1)
    return n_ahead


@dataclass(frozen=True, kw_only=True)
class _OfRightSamples(Metric):
    """A metric that depends only on which samples are right."""

    classes: Literal["all", "seen", "unseen"] = "all"
    """The true classes whose samples are counted."""
    top: int | None = None
    """A sample is right where its class is among so many of the highest scores, which are not calibrated; None where it
    wins the contest."""

    def counted(self, scored: Scored) -> np.ndarray:
        if self.classes == "all":
            return super().counted(scored)
        return scored.of_unseen_class if self.classes == "unseen" else scored.seen[scored.labels]

    def predicted(self, scored: Scored) -> np.ndarray:
        return super().predicted(scored) if self.top is None else scored.scores.argmax(axis=1)

    def right(self, scored: Scored) -> np.ndarray:
        return super().right(scored) if self.top is None else _rank(scored) < self.top

    def _outcome(self, scored: Scored) -> np.ndarray:
        """int64 (N,): 0 where a sample does not count, 1 where it is wrong, 2 where it is right."""
        outcome: np.ndarray = self.counted(scored).astype(np.int64) * (1 + self.right(scored))
        return outcome


@dataclass(frozen=True, kw_only=True)
class ShareRight(_OfRightSamples):
    """The share of counted samples that are right."""

    def prepare(self, scored: Scored) -> WeightedStatistic:
        outcome = self._outcome(scored)
        columns = np.stack([outcome == 2, outcome > 0], axis=1).astype(np.float64)

        def weighted(weights: np.ndarray) -> np.ndarray:
            hits, total = (weights @ columns).T
            return _ratio(hits, total)

        return weighted

    def cells(self, scored: Scored) -> np.ndarray:
        return self._outcome(scored)


@dataclass(frozen=True, kw_only=True)
class MeanShareRight(_OfRightSamples):
    """The mean, over the classes present among counted samples, of the share of their samples that are right."""

    def prepare(self, scored: Scored) -> WeightedStatistic:
        by_class = np.flatnonzero(self.counted(scored))
        by_class = by_class[np.argsort(scored.labels[by_class], kind="stable")]
        _, first = np.unique(scored.labels[by_class], return_index=True)
        hit = self.right(scored)[by_class]

        def weighted(weights: np.ndarray) -> np.ndarray:
            grouped = weights[:, by_class]
            total = np.add.reduceat(grouped, first, axis=1)
            hits = np.add.reduceat(grouped * hit, first, axis=1)
            accuracy = np.divide(hits, total, out=np.zeros_like(total), where=total > 0)
            return _ratio(accuracy.sum(axis=1), (total > 0).sum(axis=1))

        return weighted

    def cells(self, scored: Scored) -> np.ndarray:
        of_class: np.ndarray = np.where(self.counted(scored), 3 * scored.labels, 0) + self._outcome(scored)
        return of_class


@dataclass(frozen=True, kw_only=True)
class HarmonicMean(Metric):
    """2SU / (S + U)."""

    seen: Metric
    unseen: Metric

    def prepare(self, scored: Scored) -> WeightedStatistic:
        seen, unseen = self.seen.prepare(scored), self.unseen.prepare(scored)
        return lambda weights: _harmonic_mean(seen(weights), unseen(weights))

    def cells(self, scored: Scored) -> np.ndarray:
        return joint_cells([self.seen.cells(scored), self.unseen.cells(scored)])


def joint_cells(partitions: Iterable[np.ndarray]) -> np.ndarray:
    """int64 (N,), numbers from 0 on of the cells that several partitions (N,) of the same samples have in common."""
    joint, *others = map(_renumbered, partitions)
    for cells in others:
        joint = _renumbered(joint * (cells.max(initial=0) + 1) + cells)
    return joint


def _renumbered(cells: np.ndarray) -> np.ndarray:
    """int64 (N,), the numbers of cells without gaps, from 0 on, in the same order."""
    low = cells.min(initial=0)
    width = int(cells.max(initial=0) - low) + 1
    if width > 4 * len(cells):
        return np.unique(cells, return_inverse=True)[1].astype(np.int64)
    occurs = np.zeros(width, dtype=np.int64)
    occurs[cells - low] = 1
    renumbered: np.ndarray = (occurs.cumsum() - 1)[cells - low]
    return renumbered


@dataclass(frozen=True, kw_only=True)
class SeenUnseenArea(Metric):
    """The area under :func:`seen_unseen_curve`."""

    def prepare(self, scored: Scored) -> WeightedStatistic:
        """The area as a Mann-Whitney statistic: the fraction of pairs of a seen and an unseen sample that one
        calibration between their margins makes both right. Equal margins count half, as in a trapezoid."""
        seen, unseen = _sides(scored)
        below = np.searchsorted(seen.margin, unseen.margin, side="left")
        up_to = np.searchsorted(seen.margin, unseen.margin, side="right")
        of_seen = seen.counted.astype(np.float64)

        def weighted(weights: np.ndarray) -> np.ndarray:
            mass = np.zeros((len(weights), len(seen.right) + 1))
            # All places are in range; "clip" spares looking whether they are.
            weights.take(seen.right, axis=1, mode="clip").cumsum(axis=1, out=mass[:, 1:])
            passed = mass.take(below, axis=1, mode="clip") + mass.take(up_to, axis=1, mode="clip")
            won = weights.take(unseen.right, axis=1, mode="clip")
            pairs = np.einsum("bu,bu->b", won, mass[:, -1:] - passed / 2)
            # Not a matrix product: its threads cost more than they gain on so few rows.
            all_seen = np.einsum("bn,n->b", weights, of_seen)
            return _ratio(pairs, all_seen * (weights.sum(axis=1) - all_seen))

        return weighted

    def cells(self, scored: Scored) -> np.ndarray:
        """A right sample counts by how its margin compares with the other side's right ones, others by their side."""
        seen, unseen = _sides(scored)
        place = np.where(seen.counted, -1, -2)
        for side, other, sign in ((seen, unseen, 1), (unseen, seen, -1)):
            below = np.searchsorted(other.margin, side.margin, side="left")
            up_to = np.searchsorted(other.margin, side.margin, side="right")
            place[side.right] = sign * (below + up_to) + (0 if sign > 0 else -3)
        return place


_LABELLED = frozenset({"supervised", "transfer"})
_TRANSFER = frozenset({"transfer"})
_ZERO_SHOT = frozenset({"zero-shot"})

TOP1 = ShareRight(name="top1", title="Top-1", families=_LABELLED, top=1)
TOP5 = ShareRight(name="top5", title="Top-5", families=_LABELLED, top=5)
MACRO_TOP1 = MeanShareRight(name="macro_top1", title="Macro top-1", families=_LABELLED, top=1)
TOP1_COUNTERPART = ShareRight(
    name="top1_counterpart", title="Top-1, classes of a source", families=_TRANSFER, top=1, classes="seen"
)
TOP1_NEW = ShareRight(name="top1_new", title="Top-1, new classes", families=_TRANSFER, top=1, classes="unseen")

ZSL_TOP1 = ShareRight(name="zsl_top1", title="ZSL top-1", families=_ZERO_SHOT, contest="unseen", classes="unseen")
ZSL_MACRO_TOP1 = MeanShareRight(
    name="zsl_macro_top1", title="ZSL macro top-1", families=_ZERO_SHOT, contest="unseen", classes="unseen"
)

GZSL_SEEN = ShareRight(name="gzsl_seen", title="S", families=_ZERO_SHOT, classes="seen")
GZSL_UNSEEN = ShareRight(name="gzsl_unseen", title="U", families=_ZERO_SHOT, classes="unseen")
GZSL_H = HarmonicMean(name="gzsl_h", title="H", families=_ZERO_SHOT, seen=GZSL_SEEN, unseen=GZSL_UNSEEN)
GZSL_MACRO_SEEN = MeanShareRight(name="gzsl_macro_seen", title="Macro S", families=_ZERO_SHOT, classes="seen")
GZSL_MACRO_UNSEEN = MeanShareRight(name="gzsl_macro_unseen", title="Macro U", families=_ZERO_SHOT, classes="unseen")
GZSL_MACRO_H = HarmonicMean(
    name="gzsl_macro_h", title="Macro H", families=_ZERO_SHOT, seen=GZSL_MACRO_SEEN, unseen=GZSL_MACRO_UNSEEN
)
AUSUC = SeenUnseenArea(name="ausuc", title="AUSUC", families=_ZERO_SHOT)

_BUILT_IN = (
    *("top1", "top5", "macro_top1", "top1_counterpart", "top1_new"),
    *("zsl_top1", "zsl_macro_top1", "gzsl_seen", "gzsl_unseen", "gzsl_h"),
    *("gzsl_macro_seen", "gzsl_macro_unseen", "gzsl_macro_h", "ausuc"),
)
METRICS: Registry[Metric] = Registry(
    "metric", "mmcl_bench.metrics", {name: f"{__name__}:{name.upper()}" for name in _BUILT_IN}
)


def require_metric(name: str, family: str, where: str) -> None:
    """Raises :class:`UserError`, which starts with ``where``, for a metric that a task family does not report."""
    known = [each for each in METRICS.names() if family in METRICS.get(each).families]
    if name not in known:
        raise UserError(f"{where}: {unknown(f'{family} metric', name, known)}")
