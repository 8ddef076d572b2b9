"""Figures pooled over class folds: by hand, against plain clustered errors, and by simulation.

``MMCL_BENCH_SIMULATE=4000 pytest tests/evaluation -k Simulated -rP`` prints the figures of docs/statistics.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm, t

from mmcl_bench.evaluation.class_folds import Pooled, pooled, pooled_difference
from mmcl_bench.evaluation.metrics import METRICS, ZSL_TOP1, Metric, Scored

REPEATS = int(os.environ.get("MMCL_BENCH_SIMULATE", "20"))
ZERO_SHOT = [metric for metric in map(METRICS.get, METRICS) if "zero-shot" in metric.families]
DIVISIONS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))


def fold(unseen: Sequence[int] | np.ndarray, right: np.ndarray, labels: np.ndarray, n_classes: int) -> Scored:
    """A sheet on which the clips ``right`` (N,) are right, and others are taken for another class of their side."""
    seen = np.ones(n_classes, dtype=bool)
    seen[list(unseen)] = False
    other = np.arange(n_classes)
    for side in (np.flatnonzero(seen), np.flatnonzero(~seen)):
        other[side] = np.roll(side, 1)
    return Scored(np.eye(n_classes, dtype=np.float32)[np.where(right, labels, other[labels])], labels, seen)


def random_folds(seed: int, n_clips: int = 10, n_seeds: int = 1) -> list[list[Scored]]:
    """Three repetitions of two folds of four classes; scores are random."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), n_clips)
    folds = []
    for part in (part for parts in DIVISIONS for part in parts):
        seen = ~np.isin(np.arange(4), part)
        sheets = [generator.normal(size=(len(labels), 4)) + np.eye(4)[labels] for _ in range(n_seeds)]
        folds.append([Scored(scores, labels, seen) for scores in sheets])
    return folds


def test_a_fold_counts_by_its_unseen_clips() -> None:
    """Class 0 has 10 clips, of which 10 are right, and classes 1 to 3 have 30, of which 15 are."""
    labels = np.repeat(np.arange(4), [10, 30, 30, 30])
    right = np.concatenate([np.ones(10, bool), *[np.arange(30) < 15] * 3])
    folds = [[fold(part, right, labels, 4)] for part in DIVISIONS[0]]
    assert pooled(ZSL_TOP1, folds).of_other_classes.value == pytest.approx(55 / 100)
    macro = pooled(METRICS.get("zsl_macro_top1"), folds).of_other_classes.value
    assert macro == pytest.approx((1 + 0.5 * 3) / 4), "of macro figures, by its unseen classes"
    assert pooled(METRICS.get("gzsl_seen"), folds).of_other_classes.value == pytest.approx(0.4 * 0.5 + 0.6 * 25 / 40)


def test_seeds_of_a_fold_are_averaged_first() -> None:
    folds = random_folds(0, n_seeds=3)
    figure = pooled(ZSL_TOP1, folds).of_other_classes.value
    assert figure == pytest.approx(np.mean([np.mean([ZSL_TOP1(run) for run in runs]) for runs in folds]))


def test_the_error_of_other_classes_is_that_of_a_clustered_mean() -> None:
    """Each class is always right on its own share of clips, so only classes differ: the variance of a mean of four."""
    labels, shares = np.repeat(np.arange(4), 10), np.array([0.4, 0.5, 0.6, 0.7])
    right = np.tile(np.arange(10), 4) < 10 * shares[labels]
    folds = [[fold(part, right, labels, 4)] for parts in DIVISIONS for part in parts]
    found = pooled(ZSL_TOP1, folds)
    half = t.isf(0.025, 3) * shares.std(ddof=1) / math.sqrt(4)
    interval = found.of_other_classes
    assert (interval.low, interval.high) == pytest.approx((0.55 - half, 0.55 + half))
    within = math.sqrt(sum(10 / 9 * share * (1 - share) / 10 for share in shares)) / 4
    half = t.isf(0.025, 6 * 2 / 3) * within
    interval = found.of_these_classes
    assert (interval.low, interval.high) == pytest.approx((0.55 - half, 0.55 + half), abs=1e-5)


def test_folds_that_differ_as_a_whole_widen_both() -> None:
    """Half of the folds fail, with all their classes: the folds are the units."""
    labels = np.repeat(np.arange(4), 10)
    folds = [
        [fold(part, np.full(40, at % 2 == 0), labels, 4)]
        for at, part in enumerate(part for parts in DIVISIONS for part in parts)
    ]
    found = pooled(ZSL_TOP1, folds)
    error_of_folds = np.std([0.0, 1.0] * 3, ddof=1) / math.sqrt(6)
    for interval in (found.of_other_classes, found.of_these_classes):
        assert interval.high - interval.value > 1.9 * error_of_folds


@pytest.mark.parametrize("metric", ZERO_SHOT, ids=lambda metric: metric.name)
def test_every_zero_shot_metric_has_both_intervals_around_it(metric: Metric) -> None:
    found = pooled(metric, random_folds(1))
    for interval in (found.of_other_classes, found.of_these_classes):
        assert 0 <= interval.low < interval.value < interval.high <= 1


@pytest.mark.parametrize("metric", ZERO_SHOT, ids=lambda metric: metric.name)
def test_the_error_from_clips_is_that_of_a_bootstrap(metric: Metric) -> None:
    """Where all folds are the same but for which classes are unseen, other clips are all that varies."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    scores = generator.normal(size=(240, 4)) + 1.2 * np.eye(4)[labels]
    folds = [[Scored(scores, labels, ~np.isin(np.arange(4), part))] for parts in (DIVISIONS[0],) * 2 for part in parts]
    interval = pooled(metric, folds).of_these_classes
    draws = []
    for _ in range(400):
        rows = np.concatenate([generator.choice(np.flatnonzero(labels == label), 60) for label in range(4)])
        again = [[Scored(run.scores[rows], run.labels[rows], run.seen) for run in runs] for runs in folds]
        draws.append(np.mean([metric(runs[0]) for runs in again]))
    half = t.isf(0.025, 2) * np.std(draws)
    assert interval.high - interval.value == pytest.approx(half, rel=0.15)


def test_a_difference_is_paired_by_class() -> None:
    """Classes differ by 80 points, and one method is 10 points ahead in each: a certain difference."""
    labels, shares = np.repeat(np.arange(4), 10), np.array([0.1, 0.3, 0.6, 0.9])
    place = np.tile(np.arange(10), 4)
    parts = [part for parts in DIVISIONS for part in parts]
    a, b = ([[fold(part, place < 10 * shares[labels] + more, labels, 4)] for part in parts] for more in (1, 0))
    found = pooled_difference(ZSL_TOP1, a, b)
    assert found.of_other_classes.difference == pytest.approx(0.1)
    assert found.of_other_classes.low == pytest.approx(0.1)
    assert found.of_other_classes.p_value < 0.001
    assert found.of_these_classes.low < 0.1, "other clips are still in it"
    assert pooled(ZSL_TOP1, a).of_other_classes.low < 0.3
    assert pooled_difference(ZSL_TOP1, a, a).of_these_classes.p_value == 1
    turned = pooled_difference(ZSL_TOP1, b, a)
    assert turned.of_these_classes.low == pytest.approx(-found.of_these_classes.high)


def test_one_repetition_says_nothing_of_other_folds() -> None:
    interval = pooled(ZSL_TOP1, random_folds(0)[:2]).of_these_classes
    assert not math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_an_unseen_class_alone_in_its_fold_may_be_left_out() -> None:
    labels = np.repeat(np.arange(3), 8)
    right = np.random.default_rng(0).random((6, 24)) < 0.6
    folds = [[fold([at % 3], right[at], labels, 3)] for at in range(6)]
    found = pooled(METRICS.get("gzsl_h"), folds).of_other_classes
    assert found.low < found.value < found.high


def test_refuses_what_does_not_pool() -> None:
    folds, other = random_folds(0), random_folds(0, n_clips=5)
    with pytest.raises(ValueError, match="at least one run"):
        pooled(ZSL_TOP1, [])
    with pytest.raises(ValueError, match="at least one run"):
        pooled(ZSL_TOP1, [[]])
    with pytest.raises(ValueError, match="same samples"):
        pooled(ZSL_TOP1, [[folds[0][0], other[0][0]]])
    with pytest.raises(ValueError, match="6 of a, 5 of b"):
        pooled_difference(ZSL_TOP1, folds, folds[:5])


@dataclass(frozen=True)
class World:
    """A probit model of which clips are right: standard deviations of what a class, a fold, a class in a fold, a seed
    of a fold and a clip add, beside a noise of 1."""

    n_classes: int
    unseen: int
    clips: int
    repetitions: int
    seeds: int = 1
    of_class: float = 1.0
    of_fold: float = 0.3
    of_class_in_fold: float = 1.0
    of_seed: float = 0.2
    of_clip: float = 0.7

    def divisions(self, generator: np.random.Generator) -> list[np.ndarray]:
        """The unseen classes of each fold."""
        orders = [generator.permutation(self.n_classes) for _ in range(self.repetitions)]
        return [part for order in orders for part in np.array_split(order, self.n_classes // self.unseen)]

    def folds(
        self, generator: np.random.Generator, skill: np.ndarray, divisions: Sequence[np.ndarray]
    ) -> list[list[Scored]]:
        """The runs of a method; ``skill`` is what each clip (N,) adds."""
        labels = np.repeat(np.arange(self.n_classes), self.clips)
        found = []
        for part in divisions:
            of_classes = self.of_class_in_fold * generator.normal(size=self.n_classes)
            common = self.of_fold * generator.normal() + of_classes[labels]
            runs = []
            for _ in range(self.seeds):
                latent = skill + common + self.of_seed * generator.normal() + generator.normal(size=len(labels))
                runs.append(fold(part, latent > 0, labels, self.n_classes))
            found.append(runs)
        return found

    def skills(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What each class adds, and what each clip adds with its class."""
        of_class = self.of_class * generator.normal(size=self.n_classes)
        clips = self.of_clip * generator.normal(size=self.n_classes * self.clips)
        return of_class, np.repeat(of_class, self.clips) + clips

    def truth(self, of_class: np.ndarray) -> float:
        """The share of clips of these classes that are right, over all folds, seeds and clips."""
        noise = 1 + self.of_fold**2 + self.of_class_in_fold**2 + self.of_seed**2 + self.of_clip**2
        return float(norm.cdf(of_class / math.sqrt(noise)).mean())


WORLDS = {
    "27 classes, 5 repetitions of 22/5": World(27, 5, 16, 5),
    "27 classes, 5 repetitions of 22/5, 3 seeds": World(27, 5, 16, 5, seeds=3),
    "27 classes, 2 repetitions of 22/5": World(27, 5, 16, 2),
    "10 classes, 5 repetitions of 8/2": World(10, 2, 20, 5),
    "14 classes, 5 repetitions of 11/3": World(14, 3, 18, 5),
    "10 classes, 5 repetitions of 8/2, folds that differ much": World(10, 2, 20, 5, of_fold=1.0),
}


def shares(once: Callable[[np.random.Generator], tuple[bool, bool]]) -> tuple[float, float]:
    generator = np.random.default_rng(2026)
    found = np.mean([once(generator) for _ in range(REPEATS)], axis=0)
    return float(found[0]), float(found[1])


class TestSimulated:
    """Shares of repeats, each with the room that chance takes in so many of them."""

    ROOM = 3 * math.sqrt(0.05 * 0.95 / REPEATS)

    @pytest.mark.parametrize("what", WORLDS)
    def test_an_interval_covers_the_truth(self, what: str) -> None:
        world = WORLDS[what]
        halves = []

        def once(generator: np.random.Generator) -> tuple[bool, bool]:
            of_class, skill = world.skills(generator)
            found: Pooled = pooled(ZSL_TOP1, world.folds(generator, skill, world.divisions(generator)))
            other, these = found.of_other_classes, found.of_these_classes
            halves.append([(each.high - each.low) / 2 for each in (other, these)])
            return other.low <= 0.5 <= other.high, these.low <= world.truth(of_class) <= these.high

        other, these = shares(once)
        widths = 100 * np.mean(halves, axis=0)
        print(
            f"coverage of 95% intervals, {what}: other classes {100 * other:.1f}% (+-{widths[0]:.1f}), "
            f"these classes {100 * these:.1f}% (+-{widths[1]:.1f})"
        )
        assert min(other, these) >= 0.93 - self.ROOM

    @pytest.mark.parametrize("what", ["27 classes, 5 repetitions of 22/5", "10 classes, 5 repetitions of 8/2"])
    def test_two_equal_methods_raise_few_false_alarms(self, what: str) -> None:
        """The methods share the clips and how hard each class is; half of what a class adds is a method's own, but for
        these classes, of which both have the same."""
        world = WORLDS[what]

        def once(generator: np.random.Generator) -> tuple[bool, bool]:
            _, skill = world.skills(generator)
            own = np.repeat(0.5 * generator.normal(size=(2, world.n_classes)), world.clips, axis=1)
            parts = world.divisions(generator)
            a, b = (world.folds(generator, skill + each, parts) for each in own)
            other = pooled_difference(ZSL_TOP1, a, b)
            a, b = (world.folds(generator, skill, parts) for _ in range(2))
            these = pooled_difference(ZSL_TOP1, a, b)
            return other.of_other_classes.p_value <= 0.05, these.of_these_classes.p_value <= 0.05

        other, these = shares(once)
        print(f"false alarms at 5%, {what}: other classes {100 * other:.1f}%, these classes {100 * these:.1f}%")
        assert max(other, these) <= 0.065 + self.ROOM
