"""PGFA's aligner against numbers of its authors' code."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.pgfa import PGFAHead, PGFASettings


@pytest.fixture
def given(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "zoo_pgfa.safetensors")


def head(given: dict[str, Tensor]) -> PGFAHead:
    n_text, n_features = given["weights.adapter.weight"].shape
    made = PGFAHead(PGFASettings(as_released=True), n_features, n_text)
    made.adapter.load_state_dict({part: given[f"weights.adapter.{part}"] for part in ("weight", "bias")})
    return made


def test_losses_and_gradients_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    made, labels = head(given), given["input.labels"]
    assert float(made.log_scale) == pytest.approx(float(given["weights.logit_scale_fixed"]))
    losses = made.losses_of(given["input.skeleton"], given["input.text_raw"][labels], labels)
    for name in ("total", "skeleton_to_text", "text_to_skeleton"):
        found = losses["loss" if name == "total" else name]
        torch.testing.assert_close(found, given[f"loss.{name}"], rtol=1e-5, atol=1e-6)
    losses["loss"].backward()
    for part in ("weight", "bias"):
        torch.testing.assert_close(
            made.adapter.get_parameter(part).grad, given[f"grad.adapter.{part}"], rtol=1e-4, atol=1e-6
        )
    assert made.log_scale.grad is None


def test_scores_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    texts = given["input.text_raw"][-given["output.class_scores"].shape[1] :]
    scores = head(given).scores(given["input.test_skeleton"], None, {"text": texts})
    torch.testing.assert_close(scores, given["output.class_scores"], rtol=1e-5, atol=1e-5)


def test_the_scale_is_learned_unless_as_released() -> None:
    made = PGFAHead(PGFASettings(), 2, 2)
    made.adapter.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    # Cosines are the unit matrix; targets are 1 on its diagonal but for 1 / (1 + e^10), at any scale.
    losses = made.losses_of(torch.eye(2), torch.eye(2), torch.arange(2))
    target, found = 1 / (1 + math.exp(-10)), 1 / (1 + math.exp(-1 / 0.07))
    expected = target * math.log(target / found) + (1 - target) * math.log((1 - target) / (1 - found))
    assert float(losses["loss"].detach()) == pytest.approx(expected, rel=1e-2)
    losses["loss"].backward()
    assert made.log_scale.grad is not None
    assert float(made.log_scale.grad) == pytest.approx((found - target) / 0.07, rel=1e-2)
