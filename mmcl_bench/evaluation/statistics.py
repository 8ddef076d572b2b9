"""Uncertainty of figures: bootstrap intervals over samples, seeds and class splits, and paired comparisons.

``docs/statistics.md`` explains which to use when, and gives their error rates in simulations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmcl_bench.evaluation.metrics import Metric, Scored, WeightedStatistic, joint_cells

_CHUNK_CELLS = 2**16
"""Weights held at once, (rows, cells) float64: 0.5 MiB, which stays in a core's own cache."""
_SAMPLES_WORTH_A_BINOMIAL = 16
"""Samples whose draws take as long, one by one, as one binomial number does."""
_EXACT_BELOW = 25
"""Discordant samples below which McNemar's test is the exact one."""
FEWEST_RUNS = 3
"""Runs from which on tables give the interval of a figure over runs. The t quantile of two is 12.7: their interval is
valid, but mostly from 0 to 1."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; the bounds are nan if the figure is."""

    value: float
    low: float
    high: float
    n: int
    """Samples that the metric is computed on, in the run with the fewest."""
    level: float


@dataclass(frozen=True)
class Difference:
    """Figure of a minus figure of b, with its interval."""

    difference: float
    low: float
    high: float
    p_value: float
    """Two-sided; the null hypothesis is no difference."""


@dataclass(frozen=True)
class PairedDifference(Difference):
    """Paired difference of a and b on the same samples; ``p_value`` is at least 2 / (resamples + 1)."""

    n_runs: int
    """Pairs of runs, or of class splits, whose spread is in the interval."""


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same samples."""

    won: int
    """Samples that only a classifies correctly."""
    lost: int
    """Samples that only b classifies correctly."""
    p_value: float
    """Two-sided; the null hypothesis is equal accuracy."""


@dataclass(frozen=True)
class _Unit:
    """What is averaged over: a sum of the metric on score sheets of the same samples, each with its coefficient."""

    terms: tuple[tuple[float, Scored], ...]

    @property
    def labels(self) -> np.ndarray:
        return self.terms[0][1].labels

    @property
    def sheets(self) -> tuple[Scored, ...]:
        return tuple(sheet for _, sheet in self.terms)


def bootstrap_interval(
    metric: Metric,
    runs: Sequence[Scored],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
    over_runs: bool = True,
) -> Interval:
    """A percentile bootstrap interval of a metric's mean over runs, which are seeds of one task.

    Samples are resampled, by the same weights for all runs where their labels are the same samples in the same order;
    with several runs and ``over_runs``, the runs are resampled too and both errors add up. A few runs spread less under
    resampling than they should: the error over runs is widened by sqrt(R / (R - 1)) (Hesterberg, The
    American Statistician 69(4), 2015) and from a normal to a t quantile with R - 1 degrees of freedom. So two runs that
    disagree give a wide interval, as they should. A percentile interval has zero width if every sample is right.

    Raises :class:`ValueError` without runs, or if resamples or level are out of range.
    """
    units = [_mean_of([run]) for run in runs]
    return _interval(metric, units, resamples, level, generator, over_runs)


def split_interval(
    metric: Metric,
    splits: Sequence[Sequence[Scored]],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
) -> Interval:
    """The mean over class splits of the metric's mean over seeds, with an interval in which the split is the unit.

    ``splits[i]`` holds the seeds of one split, all on the same samples in the same order. The variation
    between splits, including that of seeds, is resampled as :func:`bootstrap_interval` does with runs: the interval
    covers other splits drawn in the same way. Splits whose sheets have the same samples in the same order share their
    weights. With one split the interval covers samples only; use :func:`bootstrap_interval` for its seeds.

    Raises :class:`ValueError` without splits or runs, if the runs of a split have different samples, or if resamples
    or level are out of range.
    """
    return _interval(metric, [_mean_of(runs) for runs in splits], resamples, level, generator)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of independent values with Student's t interval; a single value says nothing of their spread, so its
    bounds are nan. Raises :class:`ValueError` without values."""
    if not len(values):
        raise ValueError("a mean needs at least one value")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan, 1, level)
    half = float(stats.t.isf((1 - level) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half, len(values), level)


def paired_difference(
    metric: Metric,
    a_runs: Sequence[Scored],
    b_runs: Sequence[Scored],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
) -> PairedDifference:
    """Metric of a minus metric of b, mean over pairs of runs, with the interval of :func:`bootstrap_interval`.

    ``a_runs[i]`` and ``b_runs[i]`` have the same samples in the same order and should share seed and split. The p-value
    is the level at which the interval just includes 0. With several runs, compare it only with ``1 - level``, because
    the error over runs is widened for that level.

    Raises :class:`ValueError` where runs do not match.
    """
    if len(a_runs) != len(b_runs):
        raise ValueError(f"runs must pair: {len(a_runs)} of a, {len(b_runs)} of b")
    for i, (a, b) in enumerate(zip(a_runs, b_runs, strict=True)):
        if not np.array_equal(a.labels, b.labels):
            raise ValueError(f"runs must pair: in pair {i} the labels of a and b differ")
    units = [_Unit(((1.0, a), (-1.0, b))) for a, b in zip(a_runs, b_runs, strict=True)]
    return _difference(metric, units, resamples, level, generator)


def split_difference(
    metric: Metric,
    a_splits: Sequence[Sequence[Scored]],
    b_splits: Sequence[Sequence[Scored]],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
) -> PairedDifference:
    """Metric of a minus metric of b, mean over class splits, with the interval of :func:`split_interval`.

    ``a_splits[i]`` and ``b_splits[i]`` are of one split and hold the same samples in the same order; they need not have
    as many seeds. Raises :class:`ValueError` where splits do not match.
    """
    if len(a_splits) != len(b_splits):
        raise ValueError(f"splits must pair: {len(a_splits)} of a, {len(b_splits)} of b")
    units = []
    for i, (a_runs, b_runs) in enumerate(zip(a_splits, b_splits, strict=True)):
        a, b = _mean_of(a_runs), _mean_of(b_runs)
        if not np.array_equal(a.labels, b.labels):
            raise ValueError(f"splits must pair: in split {i} the labels of a and b differ")
        units.append(_Unit((*a.terms, *((-share, sheet) for share, sheet in b.terms))))
    return _difference(metric, units, resamples, level, generator)


def unpaired_difference(a: Interval, b: Interval) -> Difference:
    """Difference of a and b where the two share no samples, or their scores are not stored.

    The interval is that of Zou and Donner (Statistics in Medicine 27, 2008), which may be asymmetric, as those of a and
    b are: the lower bound is d - sqrt((a - a_low)^2 + (b_high - b)^2). For the p-value, the half of the interval
    towards 0 is taken as that of a normal error. If the same samples were scored, the interval is wider than needed.

    Raises :class:`ValueError` where the levels differ.
    """
    if a.level != b.level:
        raise ValueError(f"levels must be equal, not {a.level} and {b.level}")
    difference = a.value - b.value
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    facing = down if difference > 0 else up
    z = float(stats.norm.isf((1 - a.level) / 2))
    if math.isnan(difference) or math.isnan(facing):
        p_value = math.nan
    elif facing == 0:
        p_value = 1.0 if difference == 0 else 0.0
    else:
        p_value = float(2 * stats.norm.sf(abs(difference) * z / facing))
    return Difference(difference, max(difference - down, -1.0), min(difference + up, 1.0), p_value)


def mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> McNemar:
    """McNemar's test of two classifiers on the same samples, bool (N,) each.

    Exact (binomial) below 25 samples that only one has right, else chi-squared with continuity correction (McNemar,
    Psychometrika 12, 1947; Edwards, Psychometrika 13, 1948). It is about these two fitted models and other samples, not
    about other seeds. Raises :class:`ValueError` where the two are not of the same samples.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    if a_right.shape != b_right.shape:
        raise ValueError(f"the two must be of the same samples, not {a_right.shape} and {b_right.shape}")
    won, lost = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    if won + lost == 0:
        return McNemar(0, 0, 1.0)
    found = test([[0, won], [lost, 0]], exact=won + lost < _EXACT_BELOW, correction=True)
    return McNemar(won, lost, min(1.0, float(found.pvalue)))


def combined_p(p_values: Sequence[float]) -> float:
    """One p-value of several tests of one hypothesis that depend on one another in an unknown way, such as McNemar's of
    each seed on the same samples: of n, the k-th smallest times n / k (Rueger, Metrika 25, 1978), with the median's k.
    nan without any."""
    if not p_values:
        return math.nan
    n, rank = len(p_values), len(p_values) // 2 + 1
    return min(1.0, n / rank * float(np.sort(p_values)[rank - 1]))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979) of tests on several tasks, in their order;
    nan stays nan and counts as no test."""
    from statsmodels.stats.multitest import multipletests

    given = np.asarray(p_values, dtype=np.float64)
    tested = ~np.isnan(given)
    adjusted = np.full(len(given), np.nan)
    if tested.any():
        adjusted[tested] = multipletests(given[tested], method="holm")[1]
    return [float(p) for p in adjusted]


def _mean_of(runs: Sequence[Scored]) -> _Unit:
    if not runs:
        raise ValueError("a bootstrap needs at least one run of each split")
    if not all(np.array_equal(runs[0].labels, run.labels) for run in runs[1:]):
        raise ValueError("the runs of one split must hold the same samples in the same order")
    return _Unit(tuple((1 / len(runs), run) for run in runs))


def _interval(
    metric: Metric,
    units: Sequence[_Unit],
    resamples: int,
    level: float,
    generator: np.random.Generator,
    over_units: bool = True,
) -> Interval:
    value, draws = _bootstrap(metric, units, resamples, level, generator, over_units)
    low, high = np.clip(_percentile_bounds(draws, level), 0, 1)
    n = min(metric.n_samples(sheet) for unit in units for sheet in unit.sheets)
    return Interval(value, float(low), float(high), n, level)


def _difference(
    metric: Metric, units: Sequence[_Unit], resamples: int, level: float, generator: np.random.Generator
) -> PairedDifference:
    value, draws = _bootstrap(metric, units, resamples, level, generator)
    low, high = np.clip(_percentile_bounds(draws, level), -1, 1)
    return PairedDifference(value, float(low), float(high), _two_sided_p(draws), len(units))


def _bootstrap(
    metric: Metric,
    units: Sequence[_Unit],
    resamples: int,
    level: float,
    generator: np.random.Generator,
    over_units: bool = True,
) -> tuple[float, np.ndarray]:
    """The mean over units, and (resamples,) draws of it; no draws where the mean is nan."""
    if not units:
        raise ValueError("a bootstrap needs at least one run")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples must be positive and level between 0 and 1, not {resamples} and {level}")
    observed = np.array([sum(share * metric(sheet) for share, sheet in unit.terms) for unit in units])
    value = observed.mean()
    if np.isnan(value):
        return math.nan, np.empty(0)
    draws = _sample_draws(metric, units, resamples, generator)
    if over_units and len(observed) > 1:
        draws += _run_errors(observed, resamples, level, generator)
    return float(value), draws[~np.isnan(draws)]


def _sample_draws(metric: Metric, units: Sequence[_Unit], resamples: int, generator: np.random.Generator) -> np.ndarray:
    """float64 (resamples,), the mean over these units under resampled samples."""
    of_labels: dict[bytes, list[_Unit]] = {}
    for unit in units:
        of_labels.setdefault(unit.labels.tobytes(), []).append(unit)
    draws = np.zeros(resamples)
    for alike in of_labels.values():
        draws += _resampled(metric, alike, resamples, generator)
    return draws / len(units)


def _resampled(metric: Metric, units: Sequence[_Unit], resamples: int, generator: np.random.Generator) -> np.ndarray:
    """float64 (resamples,), the sum over units of the same samples, under resampling weights that they share.

    The samples of a cell, which no sheet tells apart, are drawn as one: each cell has a multinomial share of the draws,
    which is what drawing sample by sample gives, and one of its samples carries it.
    """
    cells = joint_cells([metric.cells(sheet) for unit in units for sheet in unit.sheets])
    _, carriers, sizes = np.unique(cells, return_index=True, return_counts=True)
    terms = [(share, metric.prepare(sheet.rows(carriers))) for unit in units for share, sheet in unit.terms]
    weights = _CellWeights(sizes, generator)
    rows = max(1, _CHUNK_CELLS // len(sizes))
    draws = np.empty(resamples)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        draws[start:stop] = _weighted_sum(terms, weights.draw(stop - start))
    return draws


def _weighted_sum(terms: Sequence[tuple[float, WeightedStatistic]], weights: np.ndarray) -> np.ndarray:
    total: np.ndarray = sum((share * statistic(weights) for share, statistic in terms), np.zeros(len(weights)))
    return total


class _CellWeights:
    """How often each of G cells of ``sizes`` (G,) samples comes up when as many samples as there are are drawn.

    Large cells are drawn by binomial numbers, and how many draws fall outside of them; these are then drawn one by one.
    """

    def __init__(self, sizes: np.ndarray, generator: np.random.Generator) -> None:
        self._n_cells, self._n_samples = len(sizes), int(sizes.sum())
        self._large = np.flatnonzero(sizes >= _SAMPLES_WORTH_A_BINOMIAL)
        small = np.flatnonzero(sizes < _SAMPLES_WORTH_A_BINOMIAL)
        self._cell_of = np.repeat(small, sizes[small])
        self._shares = np.append(sizes[self._large], len(self._cell_of)) / max(1, self._n_samples)
        # Two streams of random numbers, so that weights do not depend on how many are drawn at once.
        self._of_large, self._of_small = generator.spawn(2)

    def draw(self, rows: int) -> np.ndarray:
        """float64 (rows, G)."""
        drawn = self._of_large.multinomial(self._n_samples, self._shares, size=rows)
        none = np.zeros((rows, self._n_cells), dtype=np.int64)
        counts = self._one_by_one(drawn[:, -1]) if len(self._cell_of) else none
        counts[:, self._large] = drawn[:, :-1]
        return counts.astype(np.float64)

    def _one_by_one(self, n_draws: np.ndarray) -> np.ndarray:
        """int64 (rows, G), counts of ``n_draws`` (rows,) draws from the samples of small cells."""
        sample = self._of_small.integers(len(self._cell_of), size=int(n_draws.sum()))
        # Samples are places of cells; "clip" spares looking whether they are.
        place = self._cell_of.take(sample, mode="clip")
        place += np.repeat(np.arange(len(n_draws)) * self._n_cells, n_draws)
        return np.bincount(place, minlength=len(n_draws) * self._n_cells).reshape(-1, self._n_cells)


def _run_errors(observed: np.ndarray, resamples: int, level: float, generator: np.random.Generator) -> np.ndarray:
    """float64 (resamples,), errors of the mean over (R,) runs, R > 1, widened as :func:`bootstrap_interval` says."""
    n_runs = len(observed)
    tail = (1 - level) / 2
    widening = math.sqrt(n_runs / (n_runs - 1)) * stats.t.isf(tail, n_runs - 1) / stats.norm.isf(tail)
    drawn = generator.integers(n_runs, size=(resamples, n_runs))
    errors: np.ndarray = widening * (observed[drawn].mean(axis=1) - observed.mean())
    return errors


def _percentile_bounds(draws: np.ndarray, level: float) -> np.ndarray:
    if not draws.size:
        return np.full(2, np.nan)
    bounds: np.ndarray = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return bounds


def _two_sided_p(draws: np.ndarray) -> float:
    if not draws.size:
        return math.nan
    # Sums of shares that cancel leave the last bits of their arithmetic.
    smaller_side = min((draws <= 1e-12).sum(), (draws >= -1e-12).sum())
    return min(1.0, float(2 * (smaller_side + 1) / (len(draws) + 1)))
