"""The VAE family against numbers of its authors' code, and where it differs from that on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcl_bench.methods.shared.vae import LossWeights, VaePair, VaeSettings, sampled, weights_at
from mmcl_bench.methods.zero_shot.fs_vae import FrequencyVae, FSVae, FSVaePair
from mmcl_bench.methods.zero_shot.msf import MSFPair
from mmcl_bench.methods.zero_shot.sa_dvae import SADVae, SADVaePair
from mmcl_bench.methods.zero_shot.synse import SynSEPair

Given = dict[str, Tensor]
LINEAR = ("weight", "bias")


def names_of(own: str, released: str, layer: str = "_transformation.0") -> dict[str, str]:
    """The release's names of an encoder's and a decoder's parameters by ours."""
    layers = {"mean": f"encoder.mu{layer}", "log_variance": f"encoder.logvar{layer}", "decoder": "decoder.model.0"}
    return {f"{own}.{ours}.{part}": f"{released}_{theirs}.{part}" for ours, theirs in layers.items() for part in LINEAR}


def expanded(given: Given, *parts: tuple[str, int]) -> Tensor:
    """Noise for latents of several parts, from one number a sample for each."""
    return torch.cat([given[f"input.eps_{name}"].expand(-1, width) for name, width in parts], dim=1)


@dataclass(frozen=True)
class Case:
    """A method of the family and how its vectors call things."""

    pair: type[VaePair]
    names: dict[str, str]
    settings: Callable[..., VaeSettings] = VaeSettings
    texts: tuple[str, ...] = ("text",)
    draws: Callable[[Given], tuple[Tensor, ...]] = lambda given: (given["input.eps_skeleton"], given["input.eps_text"])
    k2: str = "k2"
    losses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The release's names, to be added, of further losses."""
    classifier_noise: Callable[[Given], Tensor] = lambda given: given["input.classifier_eps"]
    lengths: dict[int, dict[str, int]] = field(
        default_factory=lambda: {1700: {}, 1900: {"cycle_steps": 1900, "cross_from": 1500}}
    )
    """Settings by the length of a cycle."""


PAIR = {**names_of("skeleton", "sequence"), **names_of("text", "text")}
CASES = {
    "zoo_cada_vae": Case(VaePair, PAIR),
    "zoo_msf": Case(MSFPair, PAIR),
    "zoo_synse": Case(
        SynSEPair,
        {
            **names_of("skeleton", "sequence"),
            **names_of("text.noun", "n_text"),
            **names_of("text.verb", "v_text"),
        },
        texts=("noun", "verb"),
        draws=lambda given: (given["input.eps_skeleton"], expanded(given, ("noun", 10), ("verb", 10))),
        k2="k2_noun",
        losses={"skeleton_from_text": ("skeleton_cross",), "text_from_skeleton": ("noun_cross", "verb_cross")},
        classifier_noise=lambda given: torch.cat(
            [given[f"input.classifier_eps_{text}"].expand(-1, 10) for text in ("noun", "verb")], dim=1
        ),
    ),
    "zoo_fsvae": Case(
        FSVaePair,
        {
            **names_of("skeleton", "sequence", "_transformation"),
            **names_of("text", "text", "_transformation"),
            **{
                f"{own}.{ours}": f"{name}_encoder.{theirs}"
                for own, name in (("skeleton", "sequence"), ("text", "text"))
                for ours, theirs in (("strength", "k"), ("band_weights", "freq_weights"))
            },
        },
        settings=FSVae.Settings,
        draws=lambda given: (given["input.eps_skeleton"], given["input.eps_text"], given["input.permutation_text"]),
    ),
    "zoo_sadvae": Case(
        SADVaePair,
        {
            **names_of("skeleton", "sequence", ".0"),
            **names_of("text", "text", ".0"),
            **{
                f"discriminator.{at}.{part}": f"discriminator_after_its_step.net.{at}.{part}"
                for at in (0, 2)
                for part in LINEAR
            },
        },
        settings=lambda **changes: SADVae.Settings(instance=6, rate=1e-4, **changes),
        draws=lambda given: (
            expanded(given, ("skeleton_semantic", 20), ("skeleton_instance", 6)),
            given["input.eps_text"],
        ),
        losses={
            "skeleton_kl": ("skeleton_kl", "instance_kl"),
            "skeleton_from_text": ("skeleton_cross",),
            "text_from_skeleton": ("text_cross",),
            "independence": ("independence",),
        },
        lengths={
            1700: {"cycle_steps": 1700, "kl_from": 1000, "kl_rise": 3000, "cross_from": 1360},
            850: {"cycle_steps": 850, "kl_from": 500, "kl_rise": 1500, "cross_from": 680},
        },
    ),
}


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    found, expected = found.detach().double(), expected.detach().double()
    assert float((found - expected).norm() / expected.norm().clamp(min=1e-12)) < tolerance


@pytest.fixture(params=CASES)
def vectors(request: pytest.FixtureRequest, parity_dir: Path) -> tuple[Case, Given]:
    return CASES[request.param], load_file(parity_dir / f"{request.param}.safetensors")


@pytest.fixture
def of_sa_dvae(parity_dir: Path) -> Given:
    return load_file(parity_dir / "zoo_sadvae.safetensors")


def released(case: Case, given: Given) -> VaePair:
    n_features = given["input.skeleton"].shape[1]
    slots = {text: given[f"input.{text}_unit"].shape[1] for text in case.texts}
    pair = case.pair(case.settings(latent=20, as_released=True), n_features, slots)
    pair.load_state_dict({own: given[f"weights.{name}"] for own, name in case.names.items()})
    return pair


def classes(case: Case, given: Given) -> dict[str, Tensor]:
    return {text: given[f"input.{text}_unit"] for text in case.texts}


def test_losses_and_gradients_are_those_of_the_release(vectors: tuple[Case, Given]) -> None:
    case, given = vectors
    pair = released(case, given)
    weights = LossWeights(*(float(given[f"coefficient.{name}"]) for name in ("k", case.k2, "c")))
    text = pair.inputs(classes(case, given))[given["input.labels"]]
    losses = pair.losses_of(given["input.skeleton"], text, case.draws(given), weights)
    names: dict[str, tuple[str, ...]] = {
        "loss": ("total",),
        "skeleton": ("skeleton_reconstruction",),
        "text": tuple(f"{text}_reconstruction" for text in case.texts),
        "skeleton_kl": ("skeleton_kl",),
        "text_kl": tuple(f"{text}_kl" for text in case.texts),
        **case.losses,
    }
    for own, parts in names.items():
        close(losses[own], torch.stack([given[f"loss.{name}"] for name in parts]).sum(), 1e-5)
    losses["loss"].backward()
    for own, name in case.names.items():
        grad = pair.get_parameter(own).grad
        if own.startswith("discriminator"):
            assert grad is None
        else:
            assert grad is not None
            close(grad, given[f"grad.{name}"], 1e-4)


def test_weights_of_the_losses_are_those_of_the_release(vectors: tuple[Case, Given]) -> None:
    case, given = vectors
    for length, changes in case.lengths.items():
        for cycle, step, *expected in given[f"coefficient.schedule_{length}"].tolist():
            at = int(cycle * length + step)
            found = weights_at(at, case.settings(**changes), case.pair.text_kl_from_third_cycle)
            assert [found.skeleton_kl, found.text_kl, found.cross] == pytest.approx(expected, abs=1e-7)


def test_the_classifier_is_that_of_the_release(vectors: tuple[Case, Given]) -> None:
    case, given = vectors
    pair = released(case, given)
    unseen, noise = given["weights.classifier_initial.model.0.weight"].shape[0], case.classifier_noise(given)
    with torch.no_grad():
        mean, log_variance = pair.text.encode(pair.inputs(classes(case, given))[-unseen:])
        n = len(noise) // unseen
        latents = sampled(mean.repeat(n, 1), log_variance.repeat(n, 1), noise)
    classifier = linear(given, "weights.classifier_initial.model.0")
    curve = pair.train_classifier(classifier, latents, torch.arange(unseen).repeat(n))
    close(torch.tensor(curve), given["loss.classifier_ce_per_step"], 1e-3)
    close(classifier.weight, given["weights.classifier_trained.model.0.weight"], 2e-2)
    pair._classifiers = (linear(given, "weights.classifier_trained.model.0"),)
    close(pair.scores(given["input.test_skeleton"], None, {}), given["output.class_scores"], 1e-5)


def test_the_discriminator_s_step_is_that_of_the_release(of_sa_dvae: Given) -> None:
    given, case = of_sa_dvae, CASES["zoo_sadvae"]
    pair = released(case, given)
    state = {f"{at}.{part}": given[f"weights.discriminator.net.{at}.{part}"] for at in (0, 2) for part in LINEAR}
    pair.discriminator.load_state_dict(state)
    draws = (
        expanded(given, ("discriminator_skeleton_semantic", 20), ("discriminator_skeleton_instance_1", 6)),
        given["input.eps_discriminator_text"],
        given["input.eps_discriminator_skeleton_instance_2"],
        *(
            given[f"input.permutation_{name}"]
            for name in ("skeleton_semantic", "skeleton_instance", "text_semantic", "text_instance")
        ),
    )
    text = given["input.text_unit"][given["input.labels"]]
    found = pair.discriminate(given["input.skeleton"], text, draws, float(given["coefficient.k2"]))
    for loss, name in zip(found, ("skeleton", "text"), strict=True):
        close(loss, given[f"loss.discriminator_{name}"], 1e-5)
    for own, name in case.names.items():
        assert pair.get_parameter(own).grad is None, "its step leaves no gradient in the VAEs"
        if own.startswith("discriminator"):
            close(pair.get_parameter(own), given[f"weights.{name}"], 1e-5)


@pytest.mark.parametrize("side", ["skeleton", "text"])
def test_the_frequency_layer_is_that_of_the_release(side: str, parity_dir: Path) -> None:
    given, case = load_file(parity_dir / "zoo_fsvae.safetensors"), CASES["zoo_fsvae"]
    vae = released(case, given).get_submodule(side)
    assert isinstance(vae, FrequencyVae)
    assert [0, *vae.lengths.cumsum(0).tolist()] == given[f"output.split_points_{side}"].tolist()
    x = given["input.skeleton"] if side == "skeleton" else given["input.text_unit"][given["input.labels"]]
    close(vae.reweighed(x), given[f"output.frequency_layer_{side}"], 1e-5)


def test_every_frequency_is_in_a_band() -> None:
    """The highest one, of which the signs change from number to number, in the last band: 1 - 0.3 * (2 - 29/30)."""
    n = 40
    highest = torch.tensor([math.cos(math.pi * (n - 1) * (2 * at + 1) / (2 * n)) for at in range(n)])[None]
    close(FrequencyVae(n, 4, rectified=False).reweighed(highest), highest * 0.69, 1e-5)
    close(FrequencyVae(n, 4, rectified=True).reweighed(highest), highest, 1e-5)


def test_texts_and_noise_are_whole_unless_as_released() -> None:
    """A text has a mean square of one, and each dimension of a latent its own noise; decoded texts have a sign."""
    texts = {slot: torch.eye(8)[:3] for slot in ("noun", "verb")}
    pair = SynSEPair(VaeSettings(latent=6), 5, {"noun": 8, "verb": 8})
    assert pair.inputs(texts).square().mean(1).tolist() == pytest.approx([1, 1, 1])
    assert len(pair.noise(2, pair.text_parts, torch.zeros(1))[0].unique()) == 6
    assert (pair.text.decode(torch.randn(9, 6)) < 0).any()
    as_released = SynSEPair(VaeSettings(latent=6, as_released=True), 5, {"noun": 8, "verb": 8})
    assert as_released.inputs(texts).square().sum(1).tolist() == pytest.approx([2, 2, 2]), "two texts of length one"
    assert len(as_released.noise(2, as_released.text_parts, torch.zeros(1))[0].unique()) == 2
    joined = MSFPair(VaeSettings(latent=6, as_released=True), 5, {"noun": 8, "verb": 8})
    assert joined.inputs(texts).square().sum(1).tolist() == pytest.approx([1, 1, 1]), "one text of length one"


def test_the_classifier_reads_the_semantic_latent_alone() -> None:
    torch.manual_seed(0)
    pair = SADVaePair(SADVae.Settings(latent=4, instance=2, samples=3, classifier_steps=2), 5, {"text": 8})
    pair.prepare({"text": torch.eye(8)[:3]})
    clips = torch.randn(6, 5)
    before = pair.scores(clips, None, {})
    with torch.no_grad():
        pair.skeleton.mean.weight[4:] += 1
    close(pair.scores(clips, None, {}), before, 1e-7)


def linear(given: Given, name: str) -> nn.Linear:
    weight, bias = given[f"{name}.weight"], given[f"{name}.bias"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
