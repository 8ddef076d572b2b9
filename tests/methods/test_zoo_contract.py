"""What every method on frozen features must do besides the contract of all methods."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.test_methods import FirstFit, clips, problem, settings
from mmcl_bench.datasets.classes import TEXT_FIELDS
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared import feature_method
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.methods.shared.saved import SavedModel
from mmcl_bench.protocols.problem import ClassTable, ClipView, Context, LabelledClips, Problem
from mmcl_bench.skeleton.clips import BodyTrack

ZOO = [name for name in METHODS.names() if issubclass(METHODS.get(name), FeatureMethod)]
SEEN, UNSEEN, WIDTH = 12, 3, 16
SEPARABLE = {"steps": 150, "samples": 50, "classifier_steps": 30, "weights": (0.0,), "masks": 1, "gate": "ratio"}
ONE_CYCLE = {"steps": 400, "cycle_steps": 400, "kl_from": 300, "cross_from": 60}
"""Of VAEs, whose losses come one after the other."""


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("name", ZOO)
def test_a_killed_fit_that_is_run_again_has_the_same_scores(
    name: str, tmp_path: Path, shared: Path, first_fit: Callable[[str, str], FirstFit]
) -> None:
    def fitted(most: float) -> FeatureMethod:
        """A fit that is killed when it has reported ``most`` times."""
        reports = 0

        def progress(what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal reports
            reports += 1
            if reports > most:
                raise Killed

        method = METHODS.get(name)(**settings(METHODS.get(name)))
        assert isinstance(method, FeatureMethod)
        context = Context(seed=5, folder=tmp_path, progress=progress, shared=shared, shared_seed=1)
        method.fit(problem("zero-shot"), context)
        return method

    with contextlib.suppress(Killed):
        fitted(3)
    np.testing.assert_array_equal(fitted(np.inf).score(clips(7, 3)), first_fit(name, "zero-shot").scores)


class OfSeparableClips:
    """Stands for an extractor: the features of a clip are its first frame's positions, and its logits are known."""

    def __init__(self, means: np.ndarray) -> None:
        self.means = means

    def to_saved(self) -> SavedModel:
        return SavedModel("kinect-v1", {}, {})

    def features(self, given: ClipView, maps: bool = False) -> Features:
        pooled = np.stack([given.bodies(at)[0].positions[0].ravel()[:WIDTH] for at in range(len(given))])
        nearest = -np.square(pooled[:, None] - self.means).sum(2)
        parts = np.repeat(pooled[:, :, None, None], 20, axis=3).repeat(2, axis=2).astype(np.float16)
        return Features(pooled, nearest.astype(np.float32), parts if maps else None)


def separable(generator: np.random.Generator, texts: np.ndarray, of: np.ndarray) -> LabelledClips:
    """Clips whose features are a linear map of their class's text, with noise."""
    features = np.abs(texts[of] @ np.random.default_rng(3).normal(size=(WIDTH, WIDTH)))
    features += generator.normal(scale=0.05, size=features.shape)
    positions = np.zeros((len(of), 9, 20 * 3), dtype=np.float32)
    positions[:, :, :WIDTH] = features[:, None]
    bodies = [[BodyTrack(0, positions[at].reshape(9, 20, 3))] for at in range(len(of))]
    return LabelledClips(ClipView(bodies, [9] * len(of), "kinect-v1"), of, np.zeros(len(of), dtype=np.int64), {})


@pytest.mark.parametrize("name", ZOO)
def test_unseen_classes_of_a_separable_toy_set_are_told_above_chance(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    # Classes are mixtures of four traits, so that unseen ones are made of what the seen ones show.
    traits, shares = generator.normal(size=(4, WIDTH)), generator.dirichlet(np.full(4, 0.4), size=SEEN + UNSEEN)
    shares[SEEN:] = np.eye(4)[:UNSEEN] * 0.9 + 0.025
    texts = (shares @ traits).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    seen = np.arange(SEEN + UNSEEN) < SEEN
    names = tuple(f"class {at}" for at in range(SEEN + UNSEEN))
    classes = ClassTable(names, seen, names, texts, dict.fromkeys(TEXT_FIELDS, texts))
    train = separable(generator, texts, np.repeat(np.arange(SEEN), 12))
    test = separable(generator, texts, np.repeat(np.arange(SEEN, SEEN + UNSEEN), 20))
    held_out = separable(generator, texts, np.repeat(np.arange(SEEN + UNSEEN), 5))
    given = Problem("separable", "zero-shot", "zsl_top1", classes, train, held_out)
    extractor = OfSeparableClips(np.stack([features_of(train)[train.labels == at].mean(0) for at in range(SEEN)]))

    def stand_in(*_: Any) -> tuple[OfSeparableClips, dict[str, Any]]:
        return extractor, {}

    monkeypatch.setattr(feature_method, "trained_extractor", stand_in)
    in_cycles = "cycle_steps" in METHODS.get(name).Settings.model_fields
    method = METHODS.get(name)(**settings(METHODS.get(name), **(SEPARABLE | (ONE_CYCLE if in_cycles else {}))))
    method.fit(given, Context(seed=0, folder=tmp_path))
    guessed = method.score(test.clips)[:, SEEN:].argmax(1)
    accuracy = (guessed == test.labels - SEEN).mean()
    assert accuracy > 0.5, f"chance is {1 / UNSEEN:.2f}"


def features_of(given: LabelledClips) -> np.ndarray:
    return OfSeparableClips(np.zeros((1, WIDTH))).features(given.clips).pooled
