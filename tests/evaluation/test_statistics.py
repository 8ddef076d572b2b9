"""Bootstrap intervals, paired comparisons, tests and ranks against theory and by simulation.

``MMCL_BENCH_SIMULATE=4000 pytest tests/evaluation -k Simulated -rP`` repeats each simulation that often and prints
the figures of docs/statistics.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest, chi2, friedmanchisquare, ks_2samp, multinomial, norm

from mmcl_bench.evaluation.metrics import METRICS, TOP1, ZSL_TOP1, Metric, Scored
from mmcl_bench.evaluation.ranks import ranks
from mmcl_bench.evaluation.statistics import (
    Interval,
    PairedDifference,
    _CellWeights,
    bootstrap_interval,
    combined_p,
    holm,
    mcnemar,
    paired_difference,
    split_difference,
    split_interval,
    unpaired_difference,
)

REPEATS = int(os.environ.get("MMCL_BENCH_SIMULATE", "100"))

ZERO_SHOT = [metric for metric in map(METRICS.get, METRICS) if "zero-shot" in metric.families]


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
        half = 1.959964 * math.sqrt(0.7 * 0.3 / 1000)
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

    @pytest.mark.parametrize("metric", ZERO_SHOT, ids=lambda metric: metric.name)
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
        monkeypatch.setattr("mmcl_bench.evaluation.statistics._CHUNK_CELLS", 1500)
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


class TestResampling:
    @pytest.mark.parametrize("metric", [METRICS.get(name) for name in METRICS], ids=lambda metric: metric.name)
    def test_a_cell_may_carry_the_weight_of_its_samples(self, metric: Metric) -> None:
        """The figure under weights of all samples is that of one sample a cell with their sum. Scores have ties."""
        generator = seeded()
        labels = generator.integers(6, size=300)
        scores = generator.normal(size=(300, 6)).round(1)
        scores[np.arange(300), labels] += 1
        scored = Scored(scores, labels, np.arange(6) < 4, 0.3)
        weights = generator.integers(4, size=(20, 300)).astype(float)
        cells, first = np.unique(metric.cells(scored), return_index=True)
        merged = np.stack([weights[:, metric.cells(scored) == cell].sum(axis=1) for cell in cells], axis=1)
        carriers = Scored(scores[first], labels[first], scored.seen, 0.3)
        np.testing.assert_allclose(metric.prepare(carriers)(merged), metric.prepare(scored)(weights), atol=1e-12)
        assert len(cells) < 300

    @pytest.mark.parametrize("name", ["top1", "macro_top1", "gzsl_h", "ausuc"])
    def test_is_distributed_as_drawing_sample_by_sample(self, name: str) -> None:
        metric, scored, generator = METRICS.get(name), zero_shot_sheet(seeded(3), 120), seeded()
        plain = []
        for _ in range(400):
            drawn = generator.integers(len(scored), size=len(scored))
            plain.append(metric(Scored(scored.scores[drawn], scored.labels[drawn], scored.seen)))
        levels = np.linspace(0.02, 0.98, 97)
        bounds = [bootstrap_interval(metric, [scored], 400, level=level, generator=seeded(9)) for level in levels]
        ours = [bound for interval in bounds for bound in (interval.low, interval.high)]
        assert ks_2samp(plain, ours).statistic < 0.12

    def test_of_a_share_has_the_quantiles_of_the_binomial(self) -> None:
        interval = bootstrap_interval(TOP1, [sheet(np.arange(500) < 410)], 40_000, generator=seeded())
        exact = binom.ppf([0.025, 0.975], 500, 0.82) / 500
        assert (interval.low, interval.high) == pytest.approx(tuple(exact), abs=0.0025)

    def test_cells_are_drawn_with_the_moments_of_the_multinomial(self) -> None:
        sizes = np.array([1, 40, 3, 16, 15, 1, 100])
        weights = _CellWeights(sizes, seeded()).draw(40_000)
        law = multinomial(sizes.sum(), sizes / sizes.sum())
        assert (weights.sum(axis=1) == sizes.sum()).all()
        np.testing.assert_allclose(weights.mean(axis=0), sizes, rtol=0.03)
        np.testing.assert_allclose(np.cov(weights.T), law.cov(), atol=0.03 * law.cov().max())


class TestSplitInterval:
    def test_of_one_run_a_split_is_that_over_runs(self) -> None:
        runs = [zero_shot_sheet(seeded(s)) for s in range(3)]
        metric = METRICS.get("gzsl_h")
        assert split_interval(metric, [[run] for run in runs], generator=seeded()) == bootstrap_interval(
            metric, runs, generator=seeded()
        )

    def test_means_over_seeds_before_splits(self) -> None:
        """A split with more seeds weighs no more than one with fewer."""
        one, other = ([sheet(np.arange(100) < hits)] for hits in (60, 80))
        interval = split_interval(TOP1, [one * 4, other], 200, generator=seeded())
        assert interval.value == pytest.approx(0.7)

    def test_counts_splits_not_runs(self) -> None:
        """Ten seeds in each of two splits leave two units, and so a t quantile with one degree of freedom."""
        splits = [[sheet(np.arange(200) < hits)] * 10 for hits in (120, 160)]
        as_units = split_interval(TOP1, splits, generator=seeded())
        as_runs = bootstrap_interval(TOP1, [run for runs in splits for run in runs], generator=seeded())
        assert as_units.high - as_units.low > 2 * (as_runs.high - as_runs.low)

    def test_difference_needs_equal_samples_and_not_equal_seeds(self) -> None:
        a = [[sheet(np.arange(200) < hits)] * 2 for hits in (120, 160)]
        b = [[sheet(np.arange(200) < hits)] for hits in (100, 140)]
        found = split_difference(TOP1, a, b, generator=seeded())
        assert (found.difference, found.n_runs) == (pytest.approx(0.1), 2)
        assert 0 < found.low < 0.1 < found.high
        with pytest.raises(ValueError, match="2 of a, 1 of b"):
            split_difference(TOP1, a, b[:1], generator=seeded())
        with pytest.raises(ValueError, match="in split 1 the labels"):
            split_difference(TOP1, a, [b[0], [sheet(np.ones(9, dtype=bool))]], generator=seeded())

    def test_refuses_a_split_of_other_samples_or_none(self) -> None:
        with pytest.raises(ValueError, match="same samples in the same order"):
            split_interval(TOP1, [[sheet(np.ones(5, bool)), sheet(np.ones(6, bool))]], generator=seeded())
        with pytest.raises(ValueError, match="at least one run of each split"):
            split_interval(TOP1, [[]], generator=seeded())


class TestMcNemar:
    def test_is_the_binomial_test_of_few_discordant_samples(self) -> None:
        """10 won, 2 lost: twice the chance of 2 or fewer heads of 12, 2 * 79 / 4096."""
        a, b = np.zeros((2, 90), dtype=bool)
        a[:50] = b[10:52] = True
        found = mcnemar(a, b)
        assert (found.won, found.lost) == (10, 2)
        assert found.p_value == pytest.approx(158 / 4096) == pytest.approx(binomtest(2, 12).pvalue)

    def test_is_chi_squared_with_correction_of_many(self) -> None:
        a, b = np.zeros((2, 500), dtype=bool)
        a[:40] = b[40:60] = True
        assert mcnemar(a, b).p_value == pytest.approx(chi2.sf((abs(40 - 20) - 1) ** 2 / 60, 1))

    def test_of_equal_answers_is_one(self) -> None:
        same = np.arange(30) % 2 == 0
        assert mcnemar(same, same).p_value == 1
        with pytest.raises(ValueError, match="same samples"):
            mcnemar(same, same[:9])

    def test_several_are_combined_by_their_median(self) -> None:
        assert combined_p([0.2]) == 0.2
        assert combined_p([0.04, 0.01]) == pytest.approx(0.04)
        assert combined_p([0.03, 0.5, 0.01]) == pytest.approx(1.5 * 0.03)
        assert combined_p([0.9, 0.8, 0.7]) == 1
        assert math.isnan(combined_p([]))


class TestHolm:
    def test_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])

    def test_leaves_out_what_was_not_tested(self) -> None:
        adjusted = holm([math.nan, 0.02, 0.03])
        assert math.isnan(adjusted[0])
        assert adjusted[1:] == pytest.approx([0.04, 0.04])
        assert holm([]) == []


class TestUnpairedDifference:
    def test_of_two_shares_is_near_the_normal_one(self) -> None:
        halves = {p: 1.959964 * math.sqrt(p * (1 - p) / n) for p, n in ((0.7, 400), (0.62, 300))}
        a, b = (Interval(p, p - half, p + half, 300, 0.95) for p, half in halves.items())
        found = unpaired_difference(a, b)
        error = math.sqrt(0.7 * 0.3 / 400 + 0.62 * 0.38 / 300)
        assert (found.low, found.high) == pytest.approx((0.08 - 1.959964 * error, 0.08 + 1.959964 * error), rel=1e-5)
        assert found.p_value == pytest.approx(2 * norm.sf(0.08 / error), rel=1e-4)

    def test_keeps_each_side_lop_sided(self) -> None:
        found = unpaired_difference(Interval(0.9, 0.8, 0.93, 9, 0.95), Interval(0.5, 0.46, 0.54, 9, 0.95))
        assert found.low == pytest.approx(0.4 - math.hypot(0.1, 0.04))
        assert found.high == pytest.approx(0.4 + math.hypot(0.03, 0.04))

    def test_of_certain_figures(self) -> None:
        sure, other = Interval(1, 1, 1, 9, 0.95), Interval(0.5, 0.5, 0.5, 9, 0.95)
        assert unpaired_difference(sure, sure).p_value == 1
        assert unpaired_difference(sure, other).p_value == 0
        assert math.isnan(unpaired_difference(sure, Interval(math.nan, math.nan, math.nan, 0, 0.95)).p_value)
        with pytest.raises(ValueError, match="levels"):
            unpaired_difference(sure, Interval(1, 1, 1, 9, 0.9))


DEMSAR = pd.DataFrame(
    [
        *([0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967]),
        *([0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931]),
        *([0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875]),
        *([1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669]),
        *([0.972, 0.981, 0.97501, 0.975], [0.957, 0.978, 0.946, 0.970]),
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)
"""Table 6 of Demsar (JMLR 7, 2006); the two equal figures of its last row but one have ranks 2 and 3 there."""


class TestRanks:
    def test_are_those_of_the_worked_example(self) -> None:
        """Demsar, section 3.2.2 and 3.2.3: mean ranks, and a critical difference of 1.25 at 5 %."""
        found = ranks(DEMSAR)
        assert dict(zip(found.methods, found.average, strict=True)) == pytest.approx(
            {"C4.5+m+cf": 1.964, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5": 3.143}, abs=6e-4
        )
        assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=5e-4)
        assert found.friedman_p == pytest.approx(friedmanchisquare(*DEMSAR.to_numpy().T).pvalue)
        assert found.cliques == (found.methods,), "no two mean ranks are 1.25 apart"

    def test_at_ten_percent_the_example_parts_its_ends(self) -> None:
        """q = 2.291, so 1.12: the first and the last are 1.18 apart, the second and the last 1.14."""
        found = ranks(DEMSAR, level=0.90)
        assert found.critical_difference == pytest.approx(2.291 * math.sqrt(20 / 84), abs=5e-4)
        assert found.cliques == (found.methods[:3], found.methods[2:])

    def test_p_values_touch_the_level_at_the_critical_difference(self) -> None:
        found = ranks(DEMSAR, level=0.90)
        apart = np.abs(np.subtract.outer(found.average, found.average)) > found.critical_difference
        np.testing.assert_array_equal(found.p_values < 0.10, apart)

    def test_of_methods_that_always_stand_alike(self) -> None:
        table = pd.DataFrame(
            {"c": np.linspace(0, 1, 12), "a": np.linspace(2, 4, 12), "b": np.linspace(1, 2.5, 12) + 0.01}
        )
        nemenyi, wilcoxon = ranks(table), ranks(table, "wilcoxon-holm")
        for found in (nemenyi, wilcoxon):
            assert (found.methods, found.average) == (("a", "b", "c"), (1, 2, 3))
        assert all(len(clique) == 2 for clique in nemenyi.cliques)
        assert wilcoxon.cliques == ()
        assert math.isnan(wilcoxon.critical_difference)

    def test_of_noise_or_of_equal_figures_differ_in_nothing(self) -> None:
        noise = pd.DataFrame(seeded().normal(size=(10, 4)), columns=list("abcd"))
        same = pd.DataFrame(np.full((5, 3), 0.5), columns=list("abc"))
        for table in (noise, same):
            found = ranks(table, "wilcoxon-holm")
            assert found.cliques == (found.methods,)
        assert ranks(same).average == (2, 2, 2)

    def test_of_two_methods(self) -> None:
        table = pd.DataFrame({"a": np.arange(12) + 1.0, "b": np.arange(12)})
        found = ranks(table)
        assert (found.average, found.cliques) == ((1, 2), ())
        assert math.isnan(found.friedman_p)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (pd.DataFrame({"a": [1.0, 2.0]}), "two methods and two tasks"),
            (pd.DataFrame({"a": [1.0], "b": [2.0]}), "two methods and two tasks"),
            (pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, math.nan]}), "every method on every task"),
        ],
    )
    def test_need_a_full_table(self, table: pd.DataFrame, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ranks(table)


def shares_on_the_same_samples(
    generator: np.random.Generator, offsets: np.ndarray, n: int = 300, shared: float = 0.15
) -> list[Scored]:
    """Runs whose chance to be right is 0.7 plus the run's offset, moved alike for all runs by each sample's ease."""
    ease = generator.choice([-shared, shared], size=n)
    return [sheet(generator.random(n) < 0.7 + ease + offset) for offset in offsets]


def covers_one_run(n: int, share: float) -> Callable[[np.random.Generator], bool]:
    def once(generator: np.random.Generator) -> bool:
        interval = bootstrap_interval(TOP1, [sheet(generator.random(n) < share)], 1000, generator=generator)
        return interval.low <= share <= interval.high

    return once


def covers_metric(name: str) -> Callable[[np.random.Generator], bool]:
    metric = METRICS.get(name)
    truth = metric(zero_shot_sheet(seeded(77), 200_000))

    def once(generator: np.random.Generator) -> bool:
        interval = bootstrap_interval(metric, [zero_shot_sheet(generator, 400)], 600, generator=generator)
        return interval.low <= truth <= interval.high

    return once


def covers_seeds(n_seeds: int) -> Callable[[np.random.Generator], bool]:
    def once(generator: np.random.Generator) -> bool:
        runs = shares_on_the_same_samples(generator, 0.03 * generator.normal(size=n_seeds))
        interval = bootstrap_interval(TOP1, runs, 600, generator=generator)
        return interval.low <= 0.7 <= interval.high

    return once


def covers_splits(n_splits: int, same_samples: bool) -> Callable[[np.random.Generator], bool]:
    """Splits differ by 5 points, their three seeds by 2."""

    def once(generator: np.random.Generator) -> bool:
        offsets = 0.05 * generator.normal(size=(n_splits, 1)) + 0.02 * generator.normal(size=(n_splits, 3))
        if same_samples:
            runs = shares_on_the_same_samples(generator, offsets.ravel())
            splits = [runs[3 * at : 3 * at + 3] for at in range(n_splits)]
        else:
            splits = [shares_on_the_same_samples(generator, of_split) for of_split in offsets]
        interval = split_interval(TOP1, splits, 600, generator=generator)
        return interval.low <= 0.7 <= interval.high

    return once


def covers_unpaired(generator: np.random.Generator) -> bool:
    a, b = (
        bootstrap_interval(TOP1, [sheet(generator.random(n) < share)], 600, generator=generator)
        for n, share in ((150, 0.9), (300, 0.8))
    )
    found = unpaired_difference(a, b)
    return found.low <= 0.1 <= found.high


COVERAGE = {
    "a share of 0.7 of 150 samples": covers_one_run(150, 0.7),
    "a share of 0.9 of 1000 samples": covers_one_run(1000, 0.9),
    "H of 400 samples": covers_metric("gzsl_h"),
    "macro top-1 among unseen of 400 samples": covers_metric("zsl_macro_top1"),
    "AUSUC of 400 samples": covers_metric("ausuc"),
    "2 seeds": covers_seeds(2),
    "3 seeds": covers_seeds(3),
    "5 seeds": covers_seeds(5),
    "3 splits of 3 seeds, the same samples": covers_splits(3, True),
    "3 splits of 3 seeds, other samples": covers_splits(3, False),
    "5 splits of 3 seeds, the same samples": covers_splits(5, True),
    "difference of two leaderboards' figures": covers_unpaired,
}


def pair_of_equals(
    generator: np.random.Generator, n_seeds: int, gain: float = 0.0
) -> tuple[list[Scored], list[Scored]]:
    spread = 0.03 if n_seeds > 1 else 0.0
    offsets = spread * generator.normal(size=2 * n_seeds)
    offsets[:n_seeds] += gain
    runs = shares_on_the_same_samples(generator, offsets)
    return runs[:n_seeds], runs[n_seeds:]


def paired_p(n_seeds: int, gain: float = 0.0) -> Callable[[np.random.Generator], bool]:
    def once(generator: np.random.Generator) -> bool:
        a, b = pair_of_equals(generator, n_seeds, gain)
        return paired_difference(TOP1, a, b, 600, generator=generator).p_value <= 0.05

    return once


def mcnemar_p(gain: float = 0.0, n: int = 300) -> Callable[[np.random.Generator], bool]:
    def once(generator: np.random.Generator) -> bool:
        a, b = shares_on_the_same_samples(generator, np.array([gain, 0.0]), n)
        return mcnemar(TOP1.right(a), TOP1.right(b)).p_value <= 0.05

    return once


def holm_over_ten_tasks(generator: np.random.Generator) -> bool:
    """Whether any of ten tasks without a difference raises an alarm."""
    pairs = [pair_of_equals(generator, 1) for _ in range(10)]
    found: list[PairedDifference] = [paired_difference(TOP1, a, b, 2000, generator=generator) for a, b in pairs]
    # Holm's smallest adjusted p-value, without the second that statsmodels takes to collect garbage.
    return len(found) * min(each.p_value for each in found) <= 0.05


ALARMS = {
    "paired bootstrap, one run": paired_p(1),
    "paired bootstrap, 3 seeds": paired_p(3),
    "paired bootstrap, 5 seeds": paired_p(5),
    "McNemar, 300 samples": mcnemar_p(),
    "McNemar, 30 samples (exact)": mcnemar_p(n=30),
    "Holm, any of ten tasks": holm_over_ten_tasks,
}
POWER = {
    "paired bootstrap, one run, 10 points": paired_p(1, 0.10),
    "paired bootstrap, 5 seeds, 10 points": paired_p(5, 0.10),
    "McNemar, one run, 10 points": mcnemar_p(0.10),
}


def share_of(once: Callable[[np.random.Generator], bool]) -> float:
    generator = seeded(2024)
    return float(np.mean([once(generator) for _ in range(REPEATS)]))


class TestSimulated:
    """Shares of repeats, each with the room that chance takes in so many of them."""

    ROOM = 3 * math.sqrt(0.05 * 0.95 / REPEATS)

    @pytest.mark.parametrize("what", COVERAGE)
    def test_an_interval_covers_the_truth(self, what: str) -> None:
        share = share_of(COVERAGE[what])
        print(f"coverage of 95% intervals, {what}: {100 * share:.1f}%")
        assert share >= 0.93 - self.ROOM

    @pytest.mark.parametrize("what", ALARMS)
    def test_a_test_raises_few_false_alarms(self, what: str) -> None:
        share = share_of(ALARMS[what])
        print(f"false alarms at 5%, {what}: {100 * share:.1f}%")
        assert share <= 0.065 + self.ROOM

    @pytest.mark.parametrize("what", POWER)
    def test_a_test_finds_what_is_there(self, what: str) -> None:
        share = share_of(POWER[what])
        print(f"found at 5%, {what}: {100 * share:.1f}%")
        assert share >= 0.6
