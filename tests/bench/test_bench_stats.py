"""Speed of the bootstrap: 10,000 resamples of a 50,000 x 120 score matrix stay under 5 s on two cores.

``nox -s bench`` times the whole; a plain test run a small one.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.evaluation.statistics import bootstrap_interval, paired_difference

LIMIT_SECONDS = 5.0
N_CLASSES = 120


def sheet(seed: int, n_samples: int) -> Scored:
    """A synthetic sheet that is right on about half of its samples."""
    generator = np.random.default_rng(seed)
    labels = np.random.default_rng(0).integers(N_CLASSES, size=n_samples)
    scores = generator.normal(size=(n_samples, N_CLASSES)).astype(np.float32)
    scores[np.arange(n_samples), labels] += 2.5
    return Scored(scores, labels, np.arange(N_CLASSES) < 110)


@pytest.mark.benchmark(group="10,000 resamples of 50,000 x 120")
@pytest.mark.parametrize("name", list(METRICS))
def test_bootstrap_of_a_large_matrix(benchmark: BenchmarkFixture, name: str) -> None:
    n_samples, resamples = (50_000, 10_000) if benchmark.enabled else (500, 100)
    scored, metric = sheet(1, n_samples), METRICS.get(name)
    interval = benchmark.pedantic(
        lambda: bootstrap_interval(metric, [scored], resamples, generator=np.random.default_rng(2)), rounds=3
    )
    assert interval.low <= interval.value <= interval.high
    if benchmark.enabled:
        assert benchmark.stats.stats.median < LIMIT_SECONDS


@pytest.mark.benchmark(group="10,000 resamples of two of 50,000 x 120, paired")
@pytest.mark.parametrize("name", ["top1", "macro_top1", "gzsl_h"])
def test_paired_bootstrap_of_large_matrices(benchmark: BenchmarkFixture, name: str) -> None:
    n_samples, resamples = (50_000, 10_000) if benchmark.enabled else (500, 100)
    a, b = (sheet(seed, n_samples) for seed in (1, 2))
    benchmark.pedantic(
        lambda: paired_difference(METRICS.get(name), [a], [b], resamples, generator=np.random.default_rng(2)), rounds=3
    )
    if benchmark.enabled:
        assert benchmark.stats.stats.median < LIMIT_SECONDS
