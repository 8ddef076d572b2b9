"""The gate against numbers of SynSE's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import softmax

from mmcl_bench.methods.shared.gates import Gate, fit_gate, gate_inputs, gated
from mmcl_bench.methods.shared.gates import _model as model


@pytest.fixture
def given(parity_dir: Path) -> dict[str, np.ndarray]:
    return load_file(parity_dir / "zoo_gate.safetensors")


def test_inputs_and_probabilities_are_those_of_the_release(given: dict[str, np.ndarray]) -> None:
    best, top = int(given["output.best_temperature"]), int(given["coefficient.top_k"])
    inputs = gate_inputs(given["input.gzsl_zs"], given["input.gtest_out"], best, top)
    np.testing.assert_allclose(inputs, given["output.test_features"], rtol=1e-4, atol=1e-6)
    fitted = model().fit(given["output.fit_features"], given["output.fit_target_seen"])
    seen = fitted.predict_proba(inputs)[:, 1]
    np.testing.assert_allclose(seen, given["output.test_probability"][:, 1], atol=1e-4)


def test_the_margin_between_both_sides_is_the_gates() -> None:
    generator = np.random.default_rng(0)
    unseen, seen, margin = generator.normal(size=(30, 3)), generator.normal(size=(30, 5)), generator.normal(size=30)
    is_seen = np.array([True, False, True, True, False, True, True, False])
    scores = gated(unseen, seen, margin, is_seen)
    np.testing.assert_allclose(scores[:, is_seen].max(1) - scores[:, ~is_seen].max(1), margin)
    np.testing.assert_array_equal(scores[:, ~is_seen].argmax(1), unseen.argmax(1))
    np.testing.assert_array_equal(scores[:, is_seen].argmax(1), seen.argmax(1))


def test_a_gate_tells_sides_that_differ_and_survives_json() -> None:
    generator = np.random.default_rng(0)
    is_seen = np.arange(80) % 2 == 0
    # A classifier is sure of clips of its own side.
    seen = generator.normal(size=(80, 6)) + 6 * np.eye(6)[np.arange(80) % 6] * is_seen[:, None]
    unseen = generator.normal(size=(80, 3)) + 6 * np.eye(3)[np.arange(80) % 3] * ~is_seen[:, None]
    gate = fit_gate([(unseen, seen, is_seen)])
    assert gate is not None
    assert ((gate.margin(unseen, seen) > 0) == is_seen).mean() > 0.95
    assert Gate.from_json(gate.as_json()) == gate
    probability = softmax(unseen, axis=1)
    assert gate.top == 3
    assert gate_inputs(probability, seen, 1, 3).shape == (80, 6)


def test_without_clips_of_a_side_there_is_no_gate() -> None:
    assert fit_gate([(np.zeros((4, 2)), np.zeros((4, 3)), np.array([True, True, True, False]))]) is None
