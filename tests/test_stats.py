"""Bootstrap intervals and paired comparisons against theory and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from mmcl_bench.metrics import METRICS, TOP1, ZSL_TOP1, Metric, Scored, family_metrics
from mmcl_bench.stats import bootstrap_interval, paired_difference, sampling_half_width


def sheet(right: np.ndarray, labels: np.ndarray | None = None) -> Scored:
    """A synthetic two-class sheet whose top-1 hits are exactly ``right``."""
    labels = np.zeros(len(right), dtype=np.int64) if labels is None else labels
    return Scored(np.eye(2)[np.where(right, labels, 1 - labels)], labels, np.ones(2, dtype=bool))


def zero_shot_sheet(generator: np.random.Generator, n: int = 200) -> Scored:
    labels = generator.integers(6, size=n)
    scores = generator.normal(size=(n, 6))
    scores[np.arange(n), labels] += 1.5
    return Scored(scores, labels, np.arange(6) < 4)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestInterval:
    def test_of_a_share_is_near_the_normal_and_the_exact_one(self) -> None:
        interval = bootstrap_interval(TOP1, [sheet(np.arange(1000) < 700)], generator=seeded())
        half = sampling_half_width(0.7, 1000)
        assert (interval.value, interval.n, interval.level) == (0.7, 1000, 0.95)
        assert (interval.low, interval.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.004)
        exact = binomtest(700, 1000).proportion_ci()
        assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=0.004)

    def test_is_wider_at_a_higher_level(self) -> None:
        runs = [sheet(np.arange(200) < 120)]
        narrow, wide = (bootstrap_interval(TOP1, runs, level=level, generator=seeded()) for level in (0.8, 0.99))
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_covers_the_truth_as_often_as_it_says(self) -> None:
        generator = seeded()
        intervals = [
            bootstrap_interval(TOP1, [sheet(generator.random(150) < 0.7)], 500, generator=generator) for _ in range(200)
        ]
        assert 0.90 <= np.mean([i.low <= 0.7 <= i.high for i in intervals]) <= 0.985

    def test_covers_the_truth_where_three_seeds_differ_by_more_than_sampling(self) -> None:
        generator = seeded()
        covered = 0
        for _ in range(200):
            rates = 0.7 + 0.05 * generator.normal(size=3)
            runs = [sheet(generator.random(400) < rate) for rate in rates]
            interval = bootstrap_interval(TOP1, runs, 300, generator=generator)
            covered += interval.low <= 0.7 <= interval.high
        assert 0.90 <= covered / 200 <= 0.995

    @pytest.mark.parametrize("metric", family_metrics("zero-shot"), ids=lambda metric: metric.name)
    def test_of_every_zero_shot_metric_has_the_spread_of_fresh_samples(self, metric: Metric) -> None:
        generator = seeded()
        fresh = [metric(zero_shot_sheet(generator)) for _ in range(300)]
        widths = []
        for _ in range(10):
            interval = bootstrap_interval(metric, [zero_shot_sheet(generator)], 300, generator=generator)
            assert interval.low <= interval.value <= interval.high
            widths.append(interval.high - interval.low)
        assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(fresh), rel=0.2)

    def test_resamples_the_same_samples_for_all_seeds(self) -> None:
        """Equal runs on the same samples hold no more information than one of them."""
        one = sheet(np.arange(300) < 200)
        alone, thrice = (bootstrap_interval(TOP1, [one] * n, generator=seeded()) for n in (1, 3))
        assert (thrice.low, thrice.high, thrice.n) == pytest.approx((alone.low, alone.high, 300))

    def test_resamples_different_samples_apart(self) -> None:
        """Two independent sets with the same value: the width falls by the square root of two."""
        labels = np.zeros(400, dtype=np.int64)
        runs = [sheet(np.arange(400) < 200, labels), sheet(np.arange(400) < 200, 1 - labels)]
        alone, both = (bootstrap_interval(TOP1, runs[:n], generator=seeded()) for n in (1, 2))
        assert both.high - both.low == pytest.approx((alone.high - alone.low) / math.sqrt(2), rel=0.1)

    def test_does_not_change_with_the_size_of_a_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = [zero_shot_sheet(seeded(1))] * 2
        whole = bootstrap_interval(METRICS.get("gzsl_h"), runs, 50, generator=seeded())
        monkeypatch.setattr("mmcl_bench.stats._CHUNK_CELLS", 1500)
        assert bootstrap_interval(METRICS.get("gzsl_h"), runs, 50, generator=seeded()) == whole

    def test_follows_from_the_generator_alone(self) -> None:
        runs = [zero_shot_sheet(seeded(1)), zero_shot_sheet(seeded(2))]
        metric = METRICS.get("ausuc")
        first, again, other = (bootstrap_interval(metric, runs, 100, generator=seeded(s)) for s in (5, 5, 6))
        assert first == again
        assert first != other

    def test_of_an_undefined_metric_is_nan(self) -> None:
        interval = bootstrap_interval(ZSL_TOP1, [sheet(np.ones(5, dtype=bool))], generator=seeded())
        assert np.isnan([interval.value, interval.low, interval.high]).all()
        assert interval.n == 0

    def test_skips_resamples_without_a_sample_of_a_rare_side(self) -> None:
        labels = np.r_[np.zeros(30, dtype=np.int64), 1]
        runs = [Scored(np.eye(2)[labels], labels, np.array([True, False]))]
        interval = bootstrap_interval(ZSL_TOP1, runs, 200, generator=seeded())
        assert (interval.value, interval.low, interval.high, interval.n) == (1, 1, 1, 1)

    def test_stays_a_share_with_few_unlike_runs(self) -> None:
        runs = [sheet(np.arange(50) < hits) for hits in (45, 50)]
        interval = bootstrap_interval(TOP1, runs, generator=seeded())
        assert 0 <= interval.low < interval.value < interval.high == 1

    def test_needs_runs_and_settings_that_make_sense(self) -> None:
        runs = [sheet(np.ones(5, dtype=bool))]
        with pytest.raises(ValueError, match="at least one run"):
            bootstrap_interval(TOP1, [], generator=seeded())
        with pytest.raises(ValueError, match="level between 0 and 1, not 2000 and 95"):
            bootstrap_interval(TOP1, runs, level=95, generator=seeded())
        with pytest.raises(ValueError, match="resamples must be positive"):
            bootstrap_interval(TOP1, runs, resamples=0, generator=seeded())


class TestPairedDifference:
    def test_of_a_method_with_itself_is_nothing(self) -> None:
        runs = [zero_shot_sheet(seeded(s)) for s in (1, 2)]
        found = paired_difference(METRICS.get("gzsl_h"), runs, runs, 200, generator=seeded())
        assert (found.difference, found.low, found.high, found.p_value, found.n_runs) == (0, 0, 0, 1, 2)

    def test_turns_round_with_its_arguments(self) -> None:
        a, b = ([sheet(np.arange(300) % 10 < hits)] for hits in (6, 7))
        ahead, behind = (paired_difference(TOP1, *pair, generator=seeded()) for pair in ((b, a), (a, b)))
        assert ahead.difference == -behind.difference == pytest.approx(0.1)
        assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))
        assert ahead.p_value == behind.p_value

    def test_uses_the_pairing(self) -> None:
        """A gain of 2 points on 1000 samples that breaks nothing is certain, though each interval holds both values."""
        a, b = ([sheet(np.arange(1000) < hits)] for hits in (720, 700))
        found = paired_difference(TOP1, a, b, generator=seeded())
        assert found.low > 0
        assert found.p_value == pytest.approx(2 / 2001)
        assert bootstrap_interval(TOP1, a, generator=seeded()).low < 0.7
        assert bootstrap_interval(TOP1, b, generator=seeded()).high > 0.72

    def test_interval_has_the_width_of_mcnemars_variance(self) -> None:
        """40 samples won and 20 lost of 500: variance (60 - 20^2 / 500) / 500^2."""
        a, b = np.zeros((2, 500), dtype=bool)
        a[:40] = b[40:60] = True
        found = paired_difference(TOP1, [sheet(a)], [sheet(b)], generator=seeded())
        half = 1.96 * math.sqrt(60 - 20**2 / 500) / 500
        assert (found.low, found.high) == pytest.approx((0.04 - half, 0.04 + half), abs=0.003)

    @pytest.mark.parametrize(("n_runs", "spread"), [(1, 0.0), (3, 0.05)], ids=["samples alone", "three unlike seeds"])
    def test_raises_few_false_alarms(self, n_runs: int, spread: float) -> None:
        """Two equal methods, runs of which differ by sampling and by their seeds: 5 in 100 comparisons may mislead."""
        generator = seeded()

        def runs() -> list[Scored]:
            return [sheet(generator.random(300) < 0.7 + spread * generator.normal()) for _ in range(n_runs)]

        p_values = np.array(
            [paired_difference(TOP1, runs(), runs(), 300, generator=generator).p_value for _ in range(200)]
        )
        assert (p_values < 0.05).mean() <= 0.095

    def test_finds_a_difference_that_is_there(self) -> None:
        generator = seeded()
        a, b = ([sheet(generator.random(400) < rate) for _ in range(3)] for rate in (0.8, 0.6))
        found = paired_difference(TOP1, a, b, generator=generator)
        assert found.low > 0
        assert found.p_value < 0.01

    def test_of_an_undefined_metric_is_nan(self) -> None:
        runs = [sheet(np.ones(5, dtype=bool))]
        found = paired_difference(ZSL_TOP1, runs, runs, generator=seeded())
        assert np.isnan([found.difference, found.low, found.high, found.p_value]).all()

    def test_refuses_runs_that_do_not_pair(self) -> None:
        one, other = sheet(np.ones(5, dtype=bool)), sheet(np.ones(6, dtype=bool))
        with pytest.raises(ValueError, match="1 of a, 2 of b"):
            paired_difference(TOP1, [one], [one, one], generator=seeded())
        with pytest.raises(ValueError, match="in pair 1 the labels"):
            paired_difference(TOP1, [one, one], [one, other], generator=seeded())


class TestSamplingHalfWidth:
    def test_by_hand(self) -> None:
        assert sampling_half_width(0.5, 100) == pytest.approx(1.959964 * 0.05)
        assert sampling_half_width(0.2, 400, level=0.6827) == pytest.approx(0.02, rel=1e-3)
        assert sampling_half_width(1.0, 7) == 0

    @pytest.mark.parametrize(("p", "n"), [(1.5, 10), (-0.1, 10), (0.5, 0)])
    def test_refuses_what_is_no_share(self, p: float, n: int) -> None:
        with pytest.raises(ValueError, match="a share in"):
            sampling_half_width(p, n)
