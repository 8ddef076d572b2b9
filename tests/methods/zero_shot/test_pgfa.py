"""PGFA's aligner against numbers of its authors' code, on frozen features and end to end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcl_bench.methods.zero_shot.pgfa import PGFAHead, PGFASettings
from mmcl_bench.methods.zero_shot.pgfa_end_to_end import ContrastedNetwork, PGFAEndToEndSettings
from mmcl_bench.protocols.problem import ClassTable
from mmcl_bench.skeleton.layouts import HDM05


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


def network(texts: np.ndarray, seen: np.ndarray, as_released: bool) -> ContrastedNetwork:
    settings = PGFAEndToEndSettings(backbone="ctr-gcn-tiny", n_bodies=1, as_released=as_released)
    classes = ClassTable(tuple(map(str, range(len(seen)))), seen)
    made = ContrastedNetwork(settings, HDM05, classes, torch.Generator().manual_seed(0))
    made.align_with_texts(texts, seen)
    return made


def test_end_to_end_the_losses_are_the_same(given: dict[str, Tensor]) -> None:
    texts, labels = given["input.text_raw"], given["input.labels"]
    seen = np.arange(len(texts)) <= int(labels.max())
    made = network(texts.numpy(), seen, as_released=True)
    made.text_head = nn.Linear(*given["weights.adapter.weight"].shape[::-1])
    made.text_head.load_state_dict({part: given[f"weights.adapter.{part}"] for part in ("weight", "bias")})
    losses = made.training_losses(given["input.skeleton"], labels, {})
    for name in ("loss", "skeleton_to_text", "text_to_skeleton"):
        expected = given[f"loss.{'total' if name == 'loss' else name}"]
        torch.testing.assert_close(losses[name], expected, rtol=1e-5, atol=1e-6)
    assert set(made.loss_names()) < set(losses)


@pytest.mark.parametrize("as_released", [True, False])
def test_end_to_end_everything_that_is_trained_has_a_gradient(as_released: bool) -> None:
    texts = np.eye(3, 8, dtype=np.float32)
    made = network(texts, np.array([True, True, False]), as_released)
    tracks = torch.randn(6, 3, 16, len(HDM05), generator=torch.Generator().manual_seed(1))
    made(tracks, torch.arange(6), torch.arange(6) % 2, {})["loss"].backward()
    trained = {name for name, weights in made.named_parameters() if weights.requires_grad}
    assert trained == {name for name, weights in made.named_parameters() if weights.grad is not None}
    assert ("log_scale" in trained) is not as_released
    assert not any(name.startswith("backbone.fc") for name in trained)
