"""DVTA against numbers of its authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.dvta import DVTAHead, DVTASettings

RELEASED = {
    "direct_alignment.visual_projector": "projector",
    "direct_alignment.text_projector": "text_projector",
    "augmented_alignment.net.0": "metric.l0",
    "augmented_alignment.net.2": "metric.l1",
    "augmented_alignment.net.4": "metric.l2",
    "scaling_factors": "temperatures",
}


@pytest.fixture
def given(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "zoo_dvta.safetensors")


def own_name(name: str) -> str:
    (prefix,) = (prefix for prefix in RELEASED if name.startswith(prefix))
    return RELEASED[prefix] + name.removeprefix(prefix)


def head(given: dict[str, Tensor], as_released: bool = True) -> DVTAHead:
    n_text, n_features = given["input.text_pairs"].shape[1], given["input.skeleton"].shape[1]
    hidden = tuple(len(given[f"weights.augmented_alignment.net.{layer}.bias"]) for layer in (0, 2))
    settings = DVTASettings(as_released=as_released, metric_hidden=hidden)
    made = DVTAHead(settings, ("label", "global"), n_features, n_text)
    weights = {name.removeprefix("weights."): value for name, value in given.items() if name.startswith("weights.")}
    made.load_state_dict({own_name(name): value for name, value in weights.items()})
    return made


def texts(given: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = given["input.text_pairs"]
    return {"label": pairs[:, :, 0], "global": pairs[:, :, 1]}


def test_losses_and_gradients_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    made = head(given)
    losses = made.losses_of(given["input.skeleton"], made.stacked(texts(given)), given["input.labels"])
    for name in ("total", "skeleton_to_text", "text_to_skeleton"):
        found = losses["loss" if name == "total" else name]
        torch.testing.assert_close(found, given[f"loss.{name}"], rtol=1e-5, atol=1e-6)
    losses["loss"].backward()
    gradients = [name.removeprefix("grad.") for name in given if name.startswith("grad.")]
    assert len(gradients) == 4
    for name in gradients:
        torch.testing.assert_close(made.get_parameter(own_name(name)).grad, given[f"grad.{name}"], rtol=1e-4, atol=1e-6)


def test_scores_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    unseen = given["output.class_scores"].shape[1]
    of_unseen = {slot: rows[-unseen:] for slot, rows in texts(given).items()}
    scores = head(given).scores(given["input.test_skeleton"], None, of_unseen)
    torch.testing.assert_close(scores, given["output.class_scores"], rtol=1e-5, atol=1e-5)


def test_training_compares_what_scoring_compares(given: dict[str, Tensor]) -> None:
    made, labels = head(given, as_released=False), given["input.labels"]
    scores = made.scores(given["input.skeleton"], None, texts(given))[:, labels]
    targets = (10.0 * (labels[:, None] == labels)).softmax(1)
    expected = (targets * (targets.log() - scores.log_softmax(1))).sum(1).mean()
    losses = made.losses_of(given["input.skeleton"], made.stacked(texts(given)), labels)
    torch.testing.assert_close(losses["skeleton_to_text"], expected, rtol=1e-5, atol=1e-6)


def test_the_learned_metric_neither_jumps_nor_is_flat() -> None:
    metric = torch.tensor([-100.0, -1e-4, 1e-4, 2.0], requires_grad=True)
    activated = DVTAHead(DVTASettings(), ("label", "global"), 4, 3).activated(metric)
    expected = torch.tensor([-1.0, 0.5, 0.5, 0.880797])
    torch.testing.assert_close(activated, expected, rtol=1e-4, atol=1e-4)
    (slope,) = torch.autograd.grad(activated.sum(), metric)
    assert float(slope.min()) == pytest.approx(0.01)
