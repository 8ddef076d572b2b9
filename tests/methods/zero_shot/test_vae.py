"""The VAE family against numbers of its authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcl_bench.methods.shared.vae import LossWeights, VaePair, VaeSettings, sampled, weights_at
from mmcl_bench.methods.zero_shot.msf import MSFPair

RELEASED = {
    "skeleton.mean": "sequence_encoder.mu_transformation.0",
    "skeleton.log_variance": "sequence_encoder.logvar_transformation.0",
    "skeleton.decoder": "sequence_decoder.model.0",
    "text.mean": "text_encoder.mu_transformation.0",
    "text.log_variance": "text_encoder.logvar_transformation.0",
    "text.decoder": "text_decoder.model.0",
}
PAIRS = {"zoo_cada_vae": VaePair, "zoo_msf": MSFPair}


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert float((found.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-12)) < tolerance


@pytest.fixture(params=PAIRS)
def vectors(request: pytest.FixtureRequest, parity_dir: Path) -> tuple[type[VaePair], dict[str, Tensor]]:
    return PAIRS[request.param], load_file(parity_dir / f"{request.param}.safetensors")


def released(kind: type[VaePair], given: dict[str, Tensor]) -> VaePair:
    latent, n_features = given["weights.sequence_encoder.mu_transformation.0.weight"].shape
    settings = VaeSettings(latent=latent, as_released=True)
    pair = kind(settings, n_features, {"text": given["input.text_unit"].shape[1]})
    state = {f"{own}.{part}": given[f"weights.{name}.{part}"] for own, name in RELEASED.items() for part in PARTS}
    pair.load_state_dict(state)
    return pair


PARTS = ("weight", "bias")


def test_losses_and_gradients_are_those_of_the_release(vectors: tuple[type[VaePair], dict[str, Tensor]]) -> None:
    kind, given = vectors
    pair = released(kind, given)
    weights = LossWeights(*(float(given[f"coefficient.{name}"]) for name in ("k", "k2", "c")))
    noise = given["input.eps_skeleton"], given["input.eps_text"]
    text = given["input.text_unit"][given["input.labels"]]
    losses = pair.losses_of(given["input.skeleton"], text, noise, weights)
    names = {
        "loss": "total",
        "skeleton": "skeleton_reconstruction",
        "text": "text_reconstruction",
        "skeleton_kl": "skeleton_kl",
        "text_kl": "text_kl",
    }
    for own, name in names.items():
        close(losses[own], given[f"loss.{name}"], 1e-5)
    losses["loss"].backward()
    for own, name in RELEASED.items():
        for part in PARTS:
            grad = pair.get_parameter(f"{own}.{part}").grad
            assert grad is not None
            close(grad, given[f"grad.{name}.{part}"], 1e-4)


def test_weights_of_the_losses_are_those_of_the_release(vectors: tuple[type[VaePair], dict[str, Tensor]]) -> None:
    kind, given = vectors
    for length, settings in {1700: VaeSettings(), 1900: VaeSettings(cycle_steps=1900, cross_from=1500)}.items():
        for cycle, step, *expected in given[f"coefficient.schedule_{length}"].tolist():
            found = weights_at(int(cycle * length + step), settings, kind.text_kl_from_third_cycle)
            assert [found.skeleton_kl, found.text_kl, found.cross] == pytest.approx(expected, abs=1e-7)


def test_the_classifier_is_that_of_the_release(vectors: tuple[type[VaePair], dict[str, Tensor]]) -> None:
    kind, given = vectors
    pair = released(kind, given)
    unseen = given["weights.classifier_initial.model.0.weight"].shape[0]
    with torch.no_grad():
        mean, log_variance = pair.text.encode(given["input.text_unit"][-unseen:])
        n = len(given["input.classifier_eps"]) // unseen
        latents = sampled(mean.repeat(n, 1), log_variance.repeat(n, 1), given["input.classifier_eps"])
    classifier = linear(given, "weights.classifier_initial.model.0")
    curve = pair.train_classifier(classifier, latents, torch.arange(unseen).repeat(n))
    close(torch.tensor(curve), given["loss.classifier_ce_per_step"], 1e-3)
    close(classifier.weight, given["weights.classifier_trained.model.0.weight"], 2e-2)
    pair._classifiers = (linear(given, "weights.classifier_trained.model.0"),)
    close(pair.scores(given["input.test_skeleton"], None, {}), given["output.class_scores"], 1e-5)


def linear(given: dict[str, Tensor], name: str) -> nn.Linear:
    weight, bias = given[f"{name}.weight"], given[f"{name}.bias"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
