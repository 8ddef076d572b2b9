"""Metrics of a score sheet, each with a weighted form that a bootstrap can evaluate thousands of times.

Ties: where several columns share the highest score, the first of them is the prediction.

The generalized zero-shot figures follow Xian et al., "Zero-Shot Learning - The Good, the Bad and the Ugly" (CVPR 2017,
arXiv 1703.04394) for H, and Chao et al., "An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object
Recognition in the Wild" (ECCV 2016, arXiv 1605.04253) for calibrated stacking and AUSUC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmcl_bench.core.registry import Registry


@dataclass(frozen=True, eq=False)
class Scored:
    """A score sheet: what a method gave for every test sample, and what was true.

    Raises :class:`ValueError` where the arrays do not fit one another, a score is not finite in float32 or a label is
    no column.
    """

    scores: np.ndarray
    """float32 (N, K), higher is likelier. Other dtypes are converted, so that figures are those of the dumped sheet."""
    labels: np.ndarray
    """int64 (N,), the column of the true class."""
    seen: np.ndarray
    """bool (K,), True for classes with training clips."""
    calibration: float = 0.0
    """Calibrated stacking (Chao et al., eq. 2): subtracted from the scores of seen classes where seen and unseen
    classes compete. Infinite values stand for the two ends of the sweep."""

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            scores = np.asarray(self.scores, dtype=np.float32)
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
            raise ValueError(f"scores must be finite float32; row {row}, column {column} is {scores[row, column]}")
        if labels.size and (labels.min() < 0 or labels.max() >= scores.shape[1]):
            raise ValueError(f"labels must be columns 0..{scores.shape[1] - 1}, not {labels.min()}..{labels.max()}")
        if np.isnan(self.calibration):
            raise ValueError("calibration must be a number, not nan")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        object.__setattr__(self, "seen", seen)

    def __len__(self) -> int:
        return len(self.labels)

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


def predictions(scored: Scored) -> np.ndarray:
    """int64 (N,) predicted columns among all classes, after calibration. Where all classes are seen, plain argmax."""
    competition = _compete(scored)
    margin, calibration = competition.margin, scored.calibration
    ahead = (margin > calibration) | ((margin == calibration) & (competition.seen_column < competition.unseen_column))
    return np.where(ahead, competition.seen_column, competition.unseen_column)


class _Competition(NamedTuple):
    """The best seen against the best unseen class of each sample; a side without classes has column K."""

    seen_column: np.ndarray
    unseen_column: np.ndarray
    margin: np.ndarray
    """float64 (N,), best seen less best unseen score: the calibration at which the prediction changes side."""


def _compete(scored: Scored) -> _Competition:
    seen_column, seen_score = _best_among(scored.scores, scored.seen)
    unseen_column, unseen_score = _best_among(scored.scores, ~scored.seen)
    return _Competition(seen_column, unseen_column, seen_score - unseen_score)


def _best_among(scores: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = np.flatnonzero(allowed)
    if not columns.size:
        return np.full(len(scores), scores.shape[1]), np.full(len(scores), -np.inf)
    best = columns[scores[:, columns].argmax(axis=1)]
    return best, scores[np.arange(len(scores)), best].astype(np.float64)


def per_class_accuracy(scored: Scored) -> np.ndarray:
    """float64 (K,), the share of each class's samples that :func:`predictions` gets right; nan without samples."""
    n_classes = scored.scores.shape[1]
    right = scored.labels[predictions(scored) == scored.labels]
    return _ratio(np.bincount(right, minlength=n_classes), np.bincount(scored.labels, minlength=n_classes))


def confusion(scored: Scored) -> np.ndarray:
    """int64 (K, K) counts: rows are true classes, columns are :func:`predictions`."""
    from sklearn.metrics import confusion_matrix

    n_classes = scored.scores.shape[1]
    if not len(scored):
        return np.zeros((n_classes, n_classes), dtype=np.int64)
    counts: np.ndarray = confusion_matrix(scored.labels, predictions(scored), labels=np.arange(n_classes))
    return counts


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
    """The exact curve over all calibrations; ``scored.calibration`` plays no part. Accuracies are micro top-1.

    Accuracies are nan where the sheet has no sample of that side. The area under the curve is the metric ``ausuc``.
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
    """Samples of seen, or of unseen, classes, and which of them are right once their side wins."""

    counted: np.ndarray
    """bool (N,)"""
    right: np.ndarray
    """int64 (M,) positions of samples whose class beats all others of its side, by rising margin."""
    margin: np.ndarray
    """float64 (M,) their margins, never falling: a seen sample is right below its margin, an unseen one above."""


def _sides(scored: Scored) -> tuple[_Side, _Side]:
    competition = _compete(scored)
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
    widest = best[np.argmax(curve.calibration[best + 1] - curve.calibration[best])]
    return float(curve.calibration[widest : widest + 2].mean())


WeightedStatistic = Callable[[np.ndarray], np.ndarray]
"""From float64 (B, N) non-negative sample weights to float64 (B,) values; nan where the weighted sheet has none."""


@dataclass(frozen=True)
class Metric:
    """A figure of a score sheet, in [0, 1], higher is better; nan where the sheet does not define it."""

    name: str
    title: str
    """For the heads of tables and the axes of figures."""
    families: frozenset[str]
    """The task families that report it: ``supervised``, ``zero-shot``, ``transfer``."""
    prepare: Callable[[Scored], WeightedStatistic]
    """Does once what does not depend on sample weights."""
    counted: Callable[[Scored], np.ndarray]
    """bool (N,), the samples that the metric looks at."""
    right: Callable[[Scored], np.ndarray] | None = None
    """Of a plain share of counted samples: bool (N,), those that are right. None for figures of another kind."""
    cells: Callable[[Scored], np.ndarray] | None = None
    """int64 (N,), which samples the metric does not tell apart: it depends on the weight of each cell alone, not on
    how that is spread over its samples. None: every sample is a cell of its own."""

    def __call__(self, scored: Scored) -> float:
        """The metric of the sheet as it is."""
        return float(self.evaluate(scored)[0])

    def evaluate(self, scored: Scored, weights: np.ndarray | None = None) -> np.ndarray:
        """float64 (B,) values under each row of sample weights (B, N); without weights (1,), all samples alike."""
        if weights is None:
            weights = np.ones((1, len(scored)))
        if weights.ndim != 2 or weights.shape[1] != len(scored):
            raise ValueError(f"weights must be (B, {len(scored)}), not {weights.shape}")
        return self.prepare(scored)(weights)

    def partition(self, scored: Scored) -> np.ndarray:
        """int64 (N,), the cell of each sample, see :attr:`cells`."""
        return np.arange(len(scored)) if self.cells is None else self.cells(scored)

    def n_samples(self, scored: Scored) -> int:
        """How many samples the metric looks at, so the n of a sampling error."""
        return int(self.counted(scored).sum())


def family_metrics(family: str) -> list[Metric]:
    """The registered metrics that a task family reports, built-in ones first, in table order."""
    return [metric for metric in map(METRICS.get, METRICS) if family in metric.families]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    ratio: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _harmonic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """0 where both are 0, nan where one is nan."""
    harmonic: np.ndarray = np.divide(2 * a * b, a + b, out=a * b, where=a + b > 0)
    return harmonic


def _rank(scored: Scored) -> np.ndarray:
    """int64 (N,), how many columns stand before the true class; 0 is a hit of plain, uncalibrated argmax."""
    truth = scored.scores[np.arange(len(scored)), scored.labels][:, None]
    earlier = np.arange(scored.scores.shape[1]) < scored.labels[:, None]
    n_ahead: np.ndarray = ((scored.scores > truth) | ((scored.scores == truth) & earlier)).sum(axis=1)
    return n_ahead


def _within_top(k: int) -> Callable[[Scored], np.ndarray]:
    return lambda scored: _rank(scored) < k


def _right_among_unseen(scored: Scored) -> np.ndarray:
    right: np.ndarray = _compete(scored).unseen_column == scored.labels
    return right


def _right_among_all(scored: Scored) -> np.ndarray:
    right: np.ndarray = predictions(scored) == scored.labels
    return right


def _every_sample(scored: Scored) -> np.ndarray:
    return np.ones(len(scored), dtype=bool)


def _samples_of_seen(scored: Scored) -> np.ndarray:
    seen: np.ndarray = scored.seen[scored.labels]
    return seen


def _samples_of_unseen(scored: Scored) -> np.ndarray:
    return scored.of_unseen_class


def _micro(
    name: str,
    title: str,
    families: Iterable[str],
    right: Callable[[Scored], np.ndarray],
    counted: Callable[[Scored], np.ndarray],
) -> Metric:
    """The share of counted samples that are right."""

    def prepare(scored: Scored) -> WeightedStatistic:
        chosen = counted(scored)
        columns = np.stack([chosen & right(scored), chosen], axis=1).astype(np.float64)

        def weighted(weights: np.ndarray) -> np.ndarray:
            hits, total = (weights @ columns).T
            return _ratio(hits, total)

        return weighted

    def cells(scored: Scored) -> np.ndarray:
        return _outcome(counted(scored), right(scored))

    return Metric(name, title, frozenset(families), prepare, counted, right, cells)


def _macro(
    name: str,
    title: str,
    families: Iterable[str],
    right: Callable[[Scored], np.ndarray],
    counted: Callable[[Scored], np.ndarray],
) -> Metric:
    """The mean, over the classes present among counted samples, of the share of their samples that are right."""

    def prepare(scored: Scored) -> WeightedStatistic:
        by_class = np.flatnonzero(counted(scored))
        by_class = by_class[np.argsort(scored.labels[by_class], kind="stable")]
        _, first = np.unique(scored.labels[by_class], return_index=True)
        hit = right(scored)[by_class]

        def weighted(weights: np.ndarray) -> np.ndarray:
            grouped = weights[:, by_class]
            total = np.add.reduceat(grouped, first, axis=1)
            hits = np.add.reduceat(grouped * hit, first, axis=1)
            accuracy = np.divide(hits, total, out=np.zeros_like(total), where=total > 0)
            return _ratio(accuracy.sum(axis=1), (total > 0).sum(axis=1))

        return weighted

    def cells(scored: Scored) -> np.ndarray:
        chosen = counted(scored)
        of_class: np.ndarray = np.where(chosen, 3 * scored.labels, 0) + _outcome(chosen, right(scored))
        return of_class

    return Metric(name, title, frozenset(families), prepare, counted, cells=cells)


def _outcome(counted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """int64 (N,): 0 where a sample does not count, 1 where it is wrong, 2 where it is right."""
    outcome: np.ndarray = counted.astype(np.int64) * (1 + right)
    return outcome


def _harmonic(name: str, title: str, seen: Metric, unseen: Metric) -> Metric:
    """2SU / (S + U)."""

    def prepare(scored: Scored) -> WeightedStatistic:
        seen_accuracy, unseen_accuracy = seen.prepare(scored), unseen.prepare(scored)
        return lambda weights: _harmonic_mean(seen_accuracy(weights), unseen_accuracy(weights))

    def cells(scored: Scored) -> np.ndarray:
        return joint_cells([part.partition(scored) for part in (seen, unseen)])

    return Metric(name, title, seen.families & unseen.families, prepare, _every_sample, cells=cells)


def joint_cells(partitions: Iterable[np.ndarray]) -> np.ndarray:
    """int64 (N,), numbers from 0 on of the cells that several partitions (N,) of the same samples have in common."""
    joint, *others = (np.unique(cells, return_inverse=True)[1].astype(np.int64) for cells in partitions)
    for cells in others:
        joint = np.unique(joint * (cells.max(initial=0) + 1) + cells, return_inverse=True)[1].astype(np.int64)
    return joint


def _area_under_curve(scored: Scored) -> WeightedStatistic:
    """The area as a Mann-Whitney statistic: the share of pairs of a seen and an unseen sample that one calibration,
    which must lie between their margins, can get right together. Equal margins count half, as in a trapezoid."""
    seen, unseen = _sides(scored)
    below = np.searchsorted(seen.margin, unseen.margin, side="left")
    up_to = np.searchsorted(seen.margin, unseen.margin, side="right")
    totals = np.stack([seen.counted, unseen.counted], axis=1).astype(np.float64)

    def weighted(weights: np.ndarray) -> np.ndarray:
        mass = np.zeros((len(weights), len(seen.right) + 1))
        np.cumsum(weights[:, seen.right], axis=1, out=mass[:, 1:])
        above = mass[:, -1:] - (mass[:, below] + mass[:, up_to]) / 2
        pairs = np.einsum("bu,bu->b", weights[:, unseen.right], above)
        return _ratio(pairs, (weights @ totals).prod(axis=1))

    return weighted


def _cells_of_curve(scored: Scored) -> np.ndarray:
    """A right sample counts by how its margin stands to those of the other side's right ones, a wrong one by its
    side."""
    seen, unseen = _sides(scored)
    place = np.where(seen.counted, -1, -2)
    for side, other, sign in ((seen, unseen, 1), (unseen, seen, -1)):
        below = np.searchsorted(other.margin, side.margin, side="left")
        up_to = np.searchsorted(other.margin, side.margin, side="right")
        place[side.right] = sign * (below + up_to) + (0 if sign > 0 else -3)
    return place


_LABELLED = ("supervised", "transfer")
_ZERO_SHOT = ("zero-shot",)

TOP1 = _micro("top1", "Top-1", _LABELLED, _within_top(1), _every_sample)
TOP5 = _micro("top5", "Top-5", _LABELLED, _within_top(5), _every_sample)
MACRO_TOP1 = _macro("macro_top1", "Macro top-1", _LABELLED, _within_top(1), _every_sample)

ZSL_TOP1 = _micro("zsl_top1", "ZSL top-1", _ZERO_SHOT, _right_among_unseen, _samples_of_unseen)
ZSL_MACRO_TOP1 = _macro("zsl_macro_top1", "ZSL macro top-1", _ZERO_SHOT, _right_among_unseen, _samples_of_unseen)

GZSL_SEEN = _micro("gzsl_seen", "S", _ZERO_SHOT, _right_among_all, _samples_of_seen)
GZSL_UNSEEN = _micro("gzsl_unseen", "U", _ZERO_SHOT, _right_among_all, _samples_of_unseen)
GZSL_H = _harmonic("gzsl_h", "H", GZSL_SEEN, GZSL_UNSEEN)
GZSL_MACRO_SEEN = _macro("gzsl_macro_seen", "Macro S", _ZERO_SHOT, _right_among_all, _samples_of_seen)
GZSL_MACRO_UNSEEN = _macro("gzsl_macro_unseen", "Macro U", _ZERO_SHOT, _right_among_all, _samples_of_unseen)
GZSL_MACRO_H = _harmonic("gzsl_macro_h", "Macro H", GZSL_MACRO_SEEN, GZSL_MACRO_UNSEEN)
AUSUC = Metric("ausuc", "AUSUC", frozenset(_ZERO_SHOT), _area_under_curve, _every_sample, cells=_cells_of_curve)

METRICS: Registry[Metric] = Registry(
    "metric",
    "mmcl_bench.metrics",
    {
        "top1": "mmcl_bench.evaluation.metrics:TOP1",
        "top5": "mmcl_bench.evaluation.metrics:TOP5",
        "macro_top1": "mmcl_bench.evaluation.metrics:MACRO_TOP1",
        "zsl_top1": "mmcl_bench.evaluation.metrics:ZSL_TOP1",
        "zsl_macro_top1": "mmcl_bench.evaluation.metrics:ZSL_MACRO_TOP1",
        "gzsl_seen": "mmcl_bench.evaluation.metrics:GZSL_SEEN",
        "gzsl_unseen": "mmcl_bench.evaluation.metrics:GZSL_UNSEEN",
        "gzsl_h": "mmcl_bench.evaluation.metrics:GZSL_H",
        "gzsl_macro_seen": "mmcl_bench.evaluation.metrics:GZSL_MACRO_SEEN",
        "gzsl_macro_unseen": "mmcl_bench.evaluation.metrics:GZSL_MACRO_UNSEEN",
        "gzsl_macro_h": "mmcl_bench.evaluation.metrics:GZSL_MACRO_H",
        "ausuc": "mmcl_bench.evaluation.metrics:AUSUC",
    },
)
