"""Label-free scores against those of scikit-adaptation on the same arrays, and what they prefer."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from mmcl_bench.evaluation.choosing import (
    MIXED_SHARE,
    TITLES,
    ChosenBy,
    Observed,
    certainty,
    column_of,
    estimated_target_loss,
    mixture_consistency,
    neighbourhood_density,
    smoothed,
)

N = 90
DOMAINS = np.repeat([1, -2], N)


def rows(seed: int, shift: float, spread: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) features of three classes and their labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(N) % 3
    return np.eye(4)[labels] * 2 + spread * draw.normal(size=(N, 4)) + shift, labels


SOURCE, LABELS = rows(0, 0.0)
TARGET, _ = rows(1, 0.4)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    from skada import make_da_pipeline

    clips, labels, domains = given()
    return make_da_pipeline(LogisticRegression()).fit(clips, labels, sample_domain=domains)


def given() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips, labels and domains as scikit-adaptation takes them."""
    return np.concatenate([SOURCE, TARGET]), np.concatenate([LABELS, np.full(N, -1)]), DOMAINS


def theirs(scorer: object, pipeline: Pipeline) -> float:
    clips, labels, domains = given()
    return scorer(pipeline, clips, labels, sample_domain=domains)  # type: ignore[operator, no-any-return]


def logits_of(pipeline: Pipeline, clips: np.ndarray) -> np.ndarray:
    # Logits are probabilities' logarithms, up to a number a row.
    return np.log(pipeline.predict_proba(clips)) + np.arange(len(clips))[:, None]


def test_entropy_is_skada_s_over_classes(pipeline: Pipeline) -> None:
    from skada.metrics import PredictionEntropyScorer

    # Theirs is a mean over clips and classes.
    expected = 3 * theirs(PredictionEntropyScorer(), pipeline)
    assert certainty(logits_of(pipeline, TARGET)) == pytest.approx(expected)


def test_neighbourhood_density_is_skada_s(pipeline: Pipeline) -> None:
    from skada.metrics import SoftNeighborhoodDensity

    expected = theirs(SoftNeighborhoodDensity(), pipeline)
    assert neighbourhood_density(logits_of(pipeline, TARGET)) == pytest.approx(expected)


def test_the_estimated_target_loss_is_skada_s(pipeline: Pipeline) -> None:
    from skada.metrics import DeepEmbeddedValidation

    def losses(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        # As a column: of a row, as its own loss is, version 0.6 multiplies every loss by every weight.
        return -np.log(predicted[np.arange(len(labels)), labels.astype(int)])[:, None]

    scorer = DeepEmbeddedValidation(LogisticRegression(max_iter=1000), losses, random_state=7)
    # They hold out a third of the source clips.
    draw = np.random.RandomState(7)
    source, held_out, _, labels = train_test_split(SOURCE, LABELS, test_size=0.33, random_state=draw)
    found = estimated_target_loss(source, TARGET, held_out, losses(labels, pipeline.predict_proba(held_out))[:, 0])
    assert -found == pytest.approx(theirs(scorer, pipeline), rel=1e-4)


def test_mixture_consistency_is_skada_s(pipeline: Pipeline) -> None:
    from skada.metrics import MixValScorer

    others = np.random.RandomState(7).permutation(N)
    mixed = MIXED_SHARE * TARGET + (1 - MIXED_SHARE) * TARGET[others]
    found = mixture_consistency(pipeline.predict(TARGET), others, pipeline.predict(mixed))
    assert found == pytest.approx(theirs(MixValScorer(random_state=7), pipeline))
    assert found < 1


def test_one_held_out_clip_is_weighed_alone() -> None:
    assert math.isfinite(estimated_target_loss(SOURCE, TARGET, SOURCE[:1], np.array([0.5])))


def observed(target: np.ndarray) -> Observed:
    """Of a classifier whose logits are the features."""
    others = np.roll(np.arange(N), 1)
    mixed = MIXED_SHARE * target + (1 - MIXED_SHARE) * target[others]
    return Observed(SOURCE, SOURCE, 5 * SOURCE, LABELS, target, 5 * target, others, 5 * mixed)


@pytest.mark.parametrize("by", ["entropy", "snd", "mixval"])
def test_target_clusters_that_are_apart_are_preferred(by: ChosenBy) -> None:
    apart, blurred = (observed(rows(2, shift, spread)[0]) for shift, spread in ((0.0, 0.1), (3.0, 3.0)))
    assert apart.scores()[column_of(by)] > blurred.scores()[column_of(by)]


def test_the_losses_of_clips_like_the_target_s_count_most() -> None:
    source, like_target = (np.random.default_rng(3).normal(size=(N, 1)) + place for place in (0.0, 2.0))
    held_out = np.array([[-1.0], [0.0], [1.0], [2.0], [3.0]])
    near, far = (estimated_target_loss(source, like_target, held_out, np.abs(held_out[:, 0] - at)) for at in (2, 0))
    assert near < far


def test_every_choice_has_a_title() -> None:
    assert get_args(ChosenBy) == tuple(TITLES)


def test_figures_are_averaged_with_their_neighbours() -> None:
    history = [{"epoch": step, "snd_score": figure} for step, figure in ((1, 0.0), (2, 3.0), (3, 0.0), (4, 1.5))]
    assert smoothed(history, "snd") == pytest.approx({4: 0.75, 3: 1.5, 2: 1.0, 1: 1.5})
    assert list(smoothed(history, "snd")) == [4, 3, 2, 1]
