"""Methods that adapt a base to unlabelled clips: their rules by hand, what they may see, and how jobs name the base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from methods.test_methods import UNSEEN, clips, problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.transductive import BaseClips, TransductiveMethod
from mmcl_bench.methods.zero_shot.label_propagation import LabelPropagation, propagated
from mmcl_bench.methods.zero_shot.pgfa import PGFA
from mmcl_bench.methods.zero_shot.prototypes import prototypes, unit
from mmcl_bench.methods.zero_shot.skeleton_cache import SkeletonCache, descriptors, votes_by_class
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.protocols.catalogue import load_task

ADAPTING = ["prototypes", "skeleton-cache", "label-propagation"]
PLACES = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [9.0, 0.0], [9.0, 1.0]])
"""Two groups of clips."""
SURE = np.array([[9.0, 0.0], [0.2, 0.0], [0.0, 0.1], [0.0, 9.0], [0.1, 0.0]])
"""Scores: the first and the fourth clip are sure, and of different classes."""


def job(method: str, **overrides: str) -> Job:
    return make_job(load_task("zero-shot/utd-mhad[split=22/5]"), METHODS.get(method), 0, overrides=overrides)


def adapting(name: str) -> TransductiveMethod:
    method = METHODS.get(name)(**settings(METHODS.get(name)))
    assert isinstance(method, TransductiveMethod)
    return method


def test_of_the_clips_predicted_as_a_class_those_of_lowest_entropy_come_first() -> None:
    by_class = BaseClips(SURE, PLACES).most_confident()
    assert [of_class.tolist() for of_class in by_class] == [[0, 1, 4], [3, 2]]


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_prototypes_and_their_scores_are_those_of_the_release(share: float, parity_dir: Path) -> None:
    given = load_file(parity_dir / "zoo_pgfa.safetensors")
    name = f"factor_0_{round(10 * share)}"
    vectors = given["output.test_embedding_unit"]
    texts = given["input.text_raw"][-given["output.class_scores"].shape[1] :]
    found = prototypes(BaseClips(given["output.class_scores"], vectors), texts, share)
    np.testing.assert_allclose(found, given[f"output.prototypes_{name}"], atol=1e-6)
    np.testing.assert_allclose(vectors @ unit(found).T, given[f"output.prototype_scores_{name}"], atol=1e-5)


def test_a_class_with_less_than_one_clip_keeps_its_text() -> None:
    texts = np.array([[3.0, 4.0], [5.0, 6.0]])
    found = prototypes(BaseClips(SURE, PLACES), texts, 0.4)  # of three clips one, of two none
    np.testing.assert_array_equal(found, [[0.0, 0.0], [5.0, 6.0]])


def test_descriptors_are_means_over_parts_thirds_and_all() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    found = descriptors(torch.from_numpy(maps), [[0], [1, 3], [2], [0, 1]]).numpy()
    expected = [
        *(maps[:, :, :, part].mean((2, 3)) for part in ([0], [1, 3], [2], [0, 1])),
        *(maps[:, :, third].mean((2, 3)) for third in ([0, 1], [2, 3], [4, 5])),
        maps.mean((2, 3)),
    ]
    for at, vector in enumerate(expected):
        norm = np.linalg.norm(vector, axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, at], vector / norm, atol=1e-5)


def test_cached_clips_vote_by_how_alike_they_are() -> None:
    clip = np.array([[[1.0, 0.0], [0.0, 1.0]]])  # two descriptors
    cached = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
    found = votes_by_class(clip, cached, np.array([0, 0, 2]), 3, beta=2.0)
    same, orthogonal, opposite = 1.0, math.exp(-2), math.exp(-4)
    np.testing.assert_allclose(found, [[same + (orthogonal + same) / 2, 0, opposite]])


def test_the_cache_keeps_the_surest_clips_and_adds_their_votes() -> None:
    method = SkeletonCache(size=1)
    vectors = np.array([[[1.0, 0.0]], [[0.6, 0.8]], [[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
    given, choice = BaseClips(SURE, vectors), {"alpha": 0.5, "beta": 1.0}
    kept = method.adapt(given, choice)
    np.testing.assert_array_equal(kept["descriptors"], vectors[[0, 3]])
    found = method.adapted(BaseClips(SURE[1:2], vectors[1:2]), kept, choice)
    spread = np.mean([4.5, 0.1, 0.05, 4.5, 0.05])
    expected = [0.2 / spread + 0.5 * math.exp(-0.4), 0.5 * math.exp(-0.2)]
    np.testing.assert_allclose(found, [expected])


def test_sure_clips_label_their_neighbours() -> None:
    found = propagated(BaseClips(SURE, PLACES), share=0.4, neighbours=3, alpha=0.2)
    assert found.argmax(axis=1).tolist() == [0, 0, 0, 1, 1]  # the base says 0, 0, 1, 1, 0


def test_another_clip_is_labelled_by_its_neighbours() -> None:
    method, choice = LabelPropagation(), {"share": 0.4, "neighbours": 2}
    kept = method.adapt(BaseClips(SURE, PLACES), choice)
    new = BaseClips(np.zeros((2, 2)), np.array([[1.0, 1.5], [8.0, 0.5]]))
    found = method.adapted(new, kept, choice)
    expected = [(kept["distributions"][nearest].mean(axis=0) + 0.5) / 2 for nearest in ([1, 2], [3, 4])]
    np.testing.assert_allclose(found, np.log(expected))


@pytest.mark.parametrize("name", ADAPTING)
def test_clips_are_assigned_after_a_calibration_that_validation_gave(name: str, tmp_path: Path) -> None:
    """The base alone predicts seen classes; the calibration lets the unseen one have clips."""

    class Biased(PGFA):
        def score(self, clips: ClipView) -> np.ndarray:
            return super().score(clips) + 5 * self.seen

        def embed(self, clips: ClipView) -> np.ndarray:
            return super().embed(clips)

    method = adapting(name)
    seen: list[BaseClips] = []
    adapt = method.adapt

    def watched(given: BaseClips, choice: Mapping[str, float]) -> dict[str, np.ndarray]:
        seen.append(given)
        return adapt(given, choice)

    method.adapt = watched  # type: ignore[method-assign]
    given = problem("zero-shot")
    report = method.fit(given, Context(seed=5, folder=tmp_path))
    assert given.validation is not None
    base = METHODS.get(method.settings.base)(**method.settings.base_method.settings)
    base.fit(replace(given, target_unlabelled=None), Context(seed=5, folder=tmp_path / "alone"))
    own = base.score(given.validation.clips).astype(np.float64)
    if name == "prototypes":
        embedded = base.embed(given.validation.clips)
        assert embedded is not None
        own = unit(embedded.astype(np.float64)) @ given.classes.embeddings.T  # type: ignore[union-attr]
    expected = fit_calibration(own, given.validation.labels, given.classes.seen)
    assert report.chosen["calibration"] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    np.testing.assert_allclose(seen[-1].scores, own - expected * given.classes.seen, rtol=1e-5, atol=1e-6)
    assert (seen[-1].scores.argmax(axis=1) == UNSEEN).any()
