"""DeViSE on features against the normal equations of ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from methods.test_methods import clips, problem, settings
from mmcl_bench.inference.cost import complexity
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.zero_shot.devise import DeViSE
from mmcl_bench.protocols.problem import Context


@pytest.fixture
def fitted(tmp_path: Path) -> DeViSE:
    method = DeViSE(**settings(DeViSE, penalties=[0.5, 5.0, 50.0]))
    report = method.fit(problem("zero-shot"), Context(seed=5, folder=tmp_path))
    figures = {float(penalty): figure for penalty, figure in report.notes["validation by penalty"].items()}
    assert report.chosen["penalty"] == max(figures, key=lambda penalty: figures[penalty])
    return method


def test_the_map_solves_the_normal_equations(fitted: DeViSE, tmp_path: Path) -> None:
    given = problem("zero-shot")
    assert given.classes.embeddings is not None
    fitted = DeViSE(**fitted.settings.as_json())
    context = Context(seed=5, folder=tmp_path / "final", chosen={"penalty": 5.0, "extractor": {"epoch": 1, "of": 1}})
    assert fitted.fit(given, context).chosen == context.chosen
    train, other = (fitted._extractor.features(view).pooled.astype(float) for view in (given.train.clips, clips(4, 3)))
    mean, spread = train.mean(0), train.std(0)
    scale = np.where(spread > 0, spread, 1)  # a feature that no training clip differs in says nothing
    x, y = (train - mean) / scale, given.classes.embeddings[given.train.labels].astype(float)
    weights = np.linalg.solve(x.T @ x + 5.0 * np.eye(x.shape[1]), x.T @ (y - y.mean(0)))
    mapped = (other - mean) / scale @ weights + y.mean(0)
    found = fitted.embed(clips(4, 3))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mapped, rtol=1e-4, atol=1e-5)
    cosines = mapped / np.linalg.norm(mapped, axis=1, keepdims=True) @ given.classes.embeddings.T
    np.testing.assert_allclose(fitted.score(clips(4, 3)), cosines, rtol=1e-4, atol=1e-5)


def test_scoring_a_clip_costs_what_the_extractor_costs(fitted: DeViSE) -> None:
    network = fitted._extractor.network
    cost = complexity(fitted.fitted_network())
    assert cost.parameters == sum(weights.numel() for weights in network.parameters())
    assert cost.flops > 0


def test_results_of_version_1_are_not_those_of_the_name_now() -> None:
    assert DeViSE.version == 2
    assert METHODS.get("devise-joints").version == 1
