"""The gates: SynSE's against numbers of its code, the ratio of probabilities by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import softmax

from methods.test_methods import clips, problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.gated_method import GatedMethod
from mmcl_bench.methods.shared.gates import Gate, fit_gate, gate_inputs, gated, ratio_margin
from mmcl_bench.methods.shared.gates import _model as model
from mmcl_bench.protocols.problem import Context


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
    assert ((gate.margin(unseen, seen) > 0) == is_seen).mean() > 0.95
    assert Gate.from_json(gate.as_json()) == gate
    probability = softmax(unseen, axis=1)
    assert gate.top == 3
    assert gate_inputs(probability, seen, 1, 3).shape == (80, 6)
    # A test may have fewer unseen classes than there were pseudo-unseen ones; those that lack have probability 0.
    without_last = np.where(np.arange(3) < 2, unseen, -np.inf)
    np.testing.assert_allclose(gate.margin(unseen[:, :2], seen), gate.margin(without_last, seen))


def test_the_ratio_of_the_largest_probabilities() -> None:
    """Seen probabilities .8 and .2 in the first clip, unseen ones .6, .3 and .1; in the second a half and a third."""
    seen = np.log([[8.0, 2.0], [1.0, 1.0]])
    unseen = np.log([[6.0, 3.0, 1.0], [5.0, 5.0, 5.0]])
    margin = ratio_margin(unseen, seen)
    np.testing.assert_allclose(margin, [math.log(0.8 / 0.6), math.log((1 / 2) / (1 / 3))])
    scores = gated(unseen, seen, margin, np.array([True, True, False, False, False]))
    # Within a side, classes differ by their log-probabilities.
    expected = np.array([0, math.log(2 / 8)]) + margin[0] / 2
    np.testing.assert_allclose(scores[0, :2], expected)
    np.testing.assert_allclose(scores[0, 2:], np.log([1, 3 / 6, 1 / 6]) - margin[0] / 2)


GATED = [name for name in METHODS.names() if issubclass(METHODS.get(name), GatedMethod)]


@pytest.mark.parametrize("name", GATED)
def test_a_gated_method_takes_either_gate(name: str, tmp_path: Path) -> None:
    method = METHODS.get(name)
    assert method.presets["paper"].as_json()["gate"] == method.presets["quick"].as_json()["gate"] == "logistic"
    by_gate, given = {}, problem("zero-shot")
    for gate in ("logistic", "ratio"):
        fitted = method(**settings(method, gate=gate))
        report = fitted.fit(given, Context(seed=5, folder=tmp_path / gate, shared=tmp_path, shared_seed=1))
        by_gate[gate] = report.chosen["gate"], fitted.score(clips(7, 3))
    assert by_gate["logistic"][0] is not None
    assert by_gate["ratio"][0] is None
    seen = given.classes.seen
    margins = {gate: scores[:, seen].max(1) - scores[:, ~seen].max(1) for gate, (_, scores) in by_gate.items()}
    logits = fitted._extractor.features(clips(7, 3)).logits
    # One class is unseen, so its probability is 1.
    np.testing.assert_allclose(margins["ratio"], np.log(softmax(logits, axis=1).max(1)), rtol=1e-4, atol=1e-5)
    assert np.abs(margins["logistic"] - margins["ratio"]).max() > 1e-3
    with pytest.raises(UserError, match="gate=median"):
        method(gate="median")
