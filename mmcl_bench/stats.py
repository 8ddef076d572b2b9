"""How sure a figure is: bootstrap intervals over samples and seeds, and paired comparisons of two methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmcl_bench.metrics import Metric, Scored, WeightedStatistic

_CHUNK_CELLS = 2**20
"""Weights held at once, (rows, N) float64: 8 MiB, whatever the number of samples or resamples."""


@dataclass(frozen=True)
class Interval:
    """A figure and where it may lie; bounds are nan where the figure is."""

    value: float
    low: float
    high: float
    n: int
    """Samples that the metric looks at, in the run with the fewest."""
    level: float


@dataclass(frozen=True)
class PairedDifference:
    """How far a is ahead of b."""

    difference: float
    low: float
    high: float
    p_value: float
    """Two-sided, against no difference; at least 2 / (resamples + 1)."""
    n_runs: int


def bootstrap_interval(
    metric: Metric,
    runs: Sequence[Scored],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
) -> Interval:
    """A percentile bootstrap interval of a metric's mean over runs (seeds, or class splits).

    Samples are resampled, by the same weights for all runs where their labels are the same samples in the same order;
    with several runs, the runs are resampled too and both errors add up. A few runs spread less under resampling than
    they should: the error over runs is widened by sqrt(R / (R - 1)) (Hesterberg, The American Statistician 69(4), 2015)
    and from a normal to a t quantile with R - 1 degrees of freedom. Two runs that disagree thus give a wide interval,
    rightly. A percentile interval has no width where every sample is right.

    Raises :class:`ValueError` without runs, or where resamples or level make no sense.
    """
    value, draws = _bootstrap(
        [metric.prepare(run) for run in runs], [run.labels for run in runs], resamples, level, generator
    )
    low, high = np.clip(_percentile_bounds(draws, level), 0, 1)
    n = min(metric.n_samples(run) for run in runs)
    return Interval(value, float(low), float(high), n, level)


def paired_difference(
    metric: Metric,
    a_runs: Sequence[Scored],
    b_runs: Sequence[Scored],
    resamples: int = 2000,
    level: float = 0.95,
    *,
    generator: np.random.Generator,
) -> PairedDifference:
    """Metric of a less metric of b, mean over pairs of runs, with the interval of :func:`bootstrap_interval`.

    ``a_runs[i]`` and ``b_runs[i]`` hold the same samples in the same order and should share seed and split. The p-value
    is the level at which the interval just touches zero; with several runs it is to be compared with ``1 - level``, for
    which the error over runs is widened.

    Raises :class:`ValueError` where runs do not pair.
    """
    if len(a_runs) != len(b_runs):
        raise ValueError(f"runs must pair: {len(a_runs)} of a, {len(b_runs)} of b")
    for i, (a, b) in enumerate(zip(a_runs, b_runs, strict=True)):
        if not np.array_equal(a.labels, b.labels):
            raise ValueError(f"runs must pair: in pair {i} the labels of a and b differ")
    differences = [_difference(metric.prepare(a), metric.prepare(b)) for a, b in zip(a_runs, b_runs, strict=True)]
    value, draws = _bootstrap(differences, [run.labels for run in a_runs], resamples, level, generator)
    low, high = np.clip(_percentile_bounds(draws, level), -1, 1)
    return PairedDifference(value, float(low), float(high), _two_sided_p(draws), len(a_runs))


def sampling_half_width(p: float, n: int, level: float = 0.95) -> float:
    """Half the width of the normal interval of a share ``p`` of ``n`` independent samples: z sqrt(p (1 - p) / n)."""
    if not 0 <= p <= 1 or n < 1:
        raise ValueError(f"a share in 0..1 of at least one sample is needed, not p={p}, n={n}")
    return float(stats.norm.isf((1 - level) / 2)) * math.sqrt(p * (1 - p) / n)


def _difference(a: WeightedStatistic, b: WeightedStatistic) -> WeightedStatistic:
    return lambda weights: a(weights) - b(weights)


def _bootstrap(
    statistics: Sequence[WeightedStatistic],
    labels: Sequence[np.ndarray],
    resamples: int,
    level: float,
    generator: np.random.Generator,
) -> tuple[float, np.ndarray]:
    """The mean of the runs' statistics, and (resamples,) draws of it; no draws where the mean is nan."""
    if not statistics:
        raise ValueError("a bootstrap needs at least one run")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples must be positive and level between 0 and 1, not {resamples} and {level}")
    observed = np.array(
        [statistic(np.ones((1, len(truth))))[0] for statistic, truth in zip(statistics, labels, strict=True)]
    )
    value = observed.mean()
    if np.isnan(value):
        return math.nan, np.empty(0)
    draws = _sample_draws(statistics, labels, resamples, generator)
    if len(observed) > 1:
        draws += _run_errors(observed, resamples, level, generator)
    return float(value), draws[~np.isnan(draws)]


def _sample_draws(
    statistics: Sequence[WeightedStatistic],
    labels: Sequence[np.ndarray],
    resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """float64 (resamples,), the mean over these runs under resampled samples."""
    if all(np.array_equal(labels[0], other) for other in labels[1:]):
        return _resampled(statistics, len(labels[0]), resamples, generator)
    apart = [
        _resampled([statistic], len(truth), resamples, generator)
        for statistic, truth in zip(statistics, labels, strict=True)
    ]
    mean: np.ndarray = np.mean(apart, axis=0)
    return mean


def _resampled(
    statistics: Sequence[WeightedStatistic], n_samples: int, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """float64 (resamples,), the mean of the statistics under resampling weights that they share."""
    rows = max(1, _CHUNK_CELLS // n_samples)
    draws = np.empty(resamples)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        weights = _resampling_weights(stop - start, n_samples, generator)
        draws[start:stop] = np.mean([statistic(weights) for statistic in statistics], axis=0)
    return draws


def _resampling_weights(rows: int, n_samples: int, generator: np.random.Generator) -> np.ndarray:
    """float64 (rows, N), how often each sample was drawn. Faster than ``Generator.multinomial``."""
    drawn = generator.integers(n_samples, size=(rows, n_samples))
    drawn += np.arange(rows)[:, None] * n_samples
    return np.bincount(drawn.ravel(), minlength=rows * n_samples).reshape(rows, n_samples).astype(np.float64)


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
    smaller_side = min((draws <= 0).sum(), (draws >= 0).sum())
    return min(1.0, float(2 * (smaller_side + 1) / (len(draws) + 1)))
