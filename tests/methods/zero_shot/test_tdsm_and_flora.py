"""TDSM and Flora against numbers of their authors' code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import FeatureClips
from mmcl_bench.methods.zero_shot.flora import Flora, FloraSettings, FlowHead, attuned, of_another_class, on_path
from mmcl_bench.methods.zero_shot.tdsm import Denoiser, TDSMSettings
from mmcl_bench.protocols.problem import Context
from vectors import Vectors, check_gradients, close, take_weights

DIFFUSION_TRANSFORMER = {
    "embed": "x_embedder",
    "time.layers": "t_embedder.mlp",
    "last_modulation.linear": "final_layer.adaLN_modulation.1",
    "last": "final_layer.linear",
}
ONE_STREAM = {
    "modulation.linear": "adaLN_modulation{c}.1",
    "qkv": "attn.qkv{c}",
    "project": "attn.proj{c}",
    "mlp.0": "mlp{c}.fc1",
    "mlp.2": "mlp{c}.fc2",
}
DENOISER = {"condition": "fc_embedder", "tokens": "fl_embedder", "positions": "fl_pos_embed"}

FLOW = {
    "skeleton.layers": "motion_encoder.backbone",
    "skeleton.mean": "motion_encoder.proj_mu",
    "skeleton.log_variance": "motion_encoder.proj_log_var",
    "text.layers": "semantic_encoder.backbone",
    "text.mean": "semantic_encoder.proj_mu",
    "text.log_variance": "semantic_encoder.proj_log_var",
    "to_skeleton": "motion_decoder.backbone",
    "to_text": "semantic_decoder.backbone",
}


def transformer_names(depth: int, streams: tuple[str, ...]) -> dict[str, str]:
    blocks = {
        f"blocks.{at}.streams.{number}.{own}": f"blocks.{at}.{name.format(c=ending)}"
        for at in range(depth)
        for number, ending in enumerate(streams)
        for own, name in ONE_STREAM.items()
    }
    return {**DIFFUSION_TRANSFORMER, **blocks}


@pytest.fixture
def tdsm(parity_dir: Path) -> tuple[Denoiser, Vectors, dict[str, str]]:
    given = load_file(parity_dir / "zoo_tdsm.safetensors")
    names = {f"network.{own}": f"{name}" for own, name in transformer_names(2, ("", "_c")).items()} | DENOISER
    width, n_features = given["weights.x_embedder.weight"].shape
    _, n_tokens, text_width = given["input.text_embed"].shape
    settings = TDSMSettings(
        width=width,
        depth=2,
        heads=int(given["coefficient.heads"]),
        margin=float(given["coefficient.margin"]),
        inference_step=int(given["coefficient.idx_inference_step"]),
    )
    head = Denoiser(settings, n_features, text_width, text_width, n_tokens - 1)
    take_weights(head, given, names)
    return head, given, names


def test_the_losses_of_tdsm_are_those_of_the_release(tdsm: tuple[Denoiser, Vectors, dict[str, str]]) -> None:
    head, given, names = tdsm
    close(head.kept, given["output.alphas_cumprod"], 1e-6)
    close(head.network.time(given["input.train.timesteps"]), given["output.time_embedding"], 1e-5)
    texts = given["input.text_embed"]
    losses = head.losses_of(
        features=given["input.train.features"],
        own=given["input.train.labels"],
        other=given["input.train.negative_labels"],
        condition=texts[:, -1],
        tokens=texts[:, :-1],
        noise=given["input.train.noise"].squeeze(1),
        time=given["input.train.timesteps"],
    )
    for own, name in {"loss": "total", "diffusion": "diffusion", "triplet": "triplet"}.items():
        close(losses[own], given[f"loss.{name}"], 1e-5)
    losses["loss"].backward()
    check_gradients(head, given, names, "gradient.")


def test_the_errors_of_tdsm_are_those_of_the_release(tdsm: tuple[Denoiser, Vectors, dict[str, str]]) -> None:
    head, given, _ = tdsm
    noises, texts = given["input.test.noise"].flatten(1), given["input.text_embed"][given["input.unseen_classes"]]
    with torch.inference_mode():
        errors = head.errors(given["input.test.features"], texts[:, -1], texts[:, :-1], noises)
    close(errors * len(noises), given["output.test.energy_sum"], 1e-4)
    predicted = given["input.unseen_classes"][errors.argmin(1)]
    assert predicted.tolist() == given["output.test.prediction"].tolist()


@pytest.fixture
def flora(parity_dir: Path) -> tuple[FlowHead, Vectors, dict[str, str]]:
    given = load_file(parity_dir / "zoo_flora.safetensors")
    in_flow = transformer_names(1, ("",)).items()
    names = FLOW | {f"flow.{own}": f"velocity_predictor.{name}" for own, name in in_flow}
    width, n_features = given["weights.motion_encoder.backbone.0.weight"].shape
    settings = FloraSettings(width=width, heads=int(given["coefficient.heads"]))
    head = FlowHead(settings, n_features, given["input.class_texts"], float(given["coefficient.attune_weight"]))
    take_weights(head, given, names)
    return head, given, names


def of_released_neighbours(head: FlowHead, given: Vectors) -> Tensor:
    """The texts moved towards those of all classes, as in the release."""
    texts = given["input.class_texts"]
    return attuned(texts, texts, head.weight, int(given["coefficient.attune_k"]))


def of_seen(given: Vectors, what: str) -> Tensor:
    """The classes of labels, which number the seen ones."""
    return given["input.seen_classes"][given[what]]


def test_the_texts_and_phase_one_of_flora_are_those_of_the_release(
    flora: tuple[FlowHead, Vectors, dict[str, str]],
) -> None:
    head, given, names = flora
    texts = of_released_neighbours(head, given)
    close(texts, given["output.attuned_texts"], 1e-6)
    noise = given["input.phase1.eps_skeleton"], given["input.phase1.eps_text"]
    losses = head.aligning_losses(given["input.features"], texts[of_seen(given, "input.labels")], noise)
    own = {
        "loss": "total",
        "skeleton": "recon_s2s",
        "text": "recon_t2t",
        "text_from_skeleton": "recon_s2t",
        "skeleton_from_text": "recon_t2s",
        "means": "mu",
        "log_variances": "log_var",
    }
    for name, released in own.items():
        close(losses[name], given[f"loss.phase1.{released}"], 1e-5)
    losses["loss"].backward()
    check_gradients(head, given, names, "gradient.phase1.")


def test_phase_two_of_flora_is_that_of_the_release(flora: tuple[FlowHead, Vectors, dict[str, str]]) -> None:
    head, given, names = flora
    texts = of_released_neighbours(head, given)
    both, wrong = (
        head.latents(
            given[f"input.{side}features"],
            texts[of_seen(given, f"input.{side}labels")],
            (given[f"input.phase2.eps_skeleton{ending}"], given[f"input.phase2.eps_text{ending}"]),
        )
        for side, ending in (("", ""), ("contrast.", "_contrast"))
    )
    close(on_path(both[1], both[0], given["input.phase2.time"]), given["output.phase2.z_time"], 1e-5)
    losses = head.flow_losses(both, wrong, given["input.phase2.time"])
    for name, released in {"loss": "total", "flow": "flow", "contrast": "flow_contrast"}.items():
        close(losses[name], given[f"loss.phase2.{released}"], 1e-5)
    losses["loss"].backward()
    check_gradients(head, given, names, "gradient.phase2.")


def test_the_errors_of_flora_are_those_of_the_release_for_its_noise(
    flora: tuple[FlowHead, Vectors, dict[str, str]],
) -> None:
    head, given, _ = flora
    unseen, seen, texts = (
        given["input.unseen_classes"],
        given["input.seen_classes"],
        of_released_neighbours(head, given),
    )
    found = {}
    for setting, classes in {"zsl": unseen, "gzsl": torch.arange(len(texts))}.items():
        noise = given[f"input.{setting}.eps_skeleton"]
        with torch.inference_mode():
            skeleton, _ = head.latents(
                given["input.test.features"], texts[:1].expand(len(noise), -1, -1), (noise, noise)
            )
            _, text = head.latents(
                given["input.features"][:1].expand(len(classes), -1),
                texts[classes],
                (torch.zeros(1), given[f"input.{setting}.eps_text"]),
            )
            found[setting] = head.errors(skeleton, text)
        close(found[setting], given[f"output.{setting}.energy"], 1e-4)
    assert found["zsl"].argmin(1).tolist() == given["output.zsl.prediction"].tolist()
    scores = -found["gzsl"].log()
    margin = scores[:, seen].amax(1) - scores[:, unseen].amax(1)
    close((-margin).exp(), given["output.gzsl.ratio"], 1e-4)
    scores[:, seen] += float(given["coefficient.calibration_factor"].log())
    assert scores.argmax(1).tolist() == given["output.gzsl.prediction"].tolist()


def test_scores_of_flora_come_from_the_means_of_latents() -> None:
    """Before training the velocity is nothing, so its error is the distance of the latents."""
    head = FlowHead(FloraSettings(width=4, heads=1), 3, torch.randn(2, 2, 5), 0.0)
    texts = {"label": torch.randn(3, 5), "text": torch.randn(3, 5)}
    features = torch.randn(6, 3)
    tokens = 5**0.5 * torch.stack([texts["label"], texts["text"]], dim=1)
    text, skeleton = head.text(tokens)[0], head.skeleton(features)[0]
    apart = (skeleton[:, None, None] - (1 - 1e-5) * text).square().mean((2, 3))
    torch.testing.assert_close(head.scores(features, None, texts), -apart.log())


def test_neighbours_are_known_classes_and_never_the_class_itself() -> None:
    known = torch.tensor([[[1.0, 0.0]], [[0.6, 0.8]], [[0.0, 1.0]]])
    unseen = torch.tensor([[[0.8, 0.6]]])
    moved = attuned(torch.cat([known[:1], unseen]), known, 0.5, 1)
    torch.testing.assert_close(moved[0, 0], torch.tensor([1.0 + 0.5 * 0.6 * 0.6, 0.5 * 0.6 * 0.8]))
    torch.testing.assert_close(moved[1, 0], torch.tensor([0.8 + 0.5 * 0.96 * 0.6, 0.6 + 0.5 * 0.96 * 0.8]))


def test_a_contrasted_clip_is_of_another_class_where_the_batch_has_one() -> None:
    labels = torch.tensor([0, 0, 2, 1])
    torch.manual_seed(0)
    assert all(bool((labels[of_another_class(labels)] != labels).all()) for _ in range(20))
    assert of_another_class(torch.tensor([3, 3])).tolist() == [0, 1]


def toy_flora() -> tuple[Flora, FeatureClips]:
    """A method of twelve steps, the first six of which train no flow, and clips to learn from."""
    generator = np.random.default_rng(0)
    flora = Flora(width=4, heads=1, steps=12, aligning=0.5, batch_size=4)
    flora.seen = np.array([True, True, False])
    flora.texts = {slot: generator.normal(size=(3, 5)).astype(np.float32) for slot in ("label", "text")}
    pooled = generator.normal(size=(8, 3)).astype(np.float32)
    return flora, FeatureClips(Features(pooled, pooled[:, :2]), np.arange(8) % 2)


def test_no_step_before_the_flow_is_trained_can_be_chosen(tmp_path: Path) -> None:
    flora, train = toy_flora()
    context = Context(seed=0, folder=tmp_path, chosen={"step": 12, "of": 12, "weight": 0.3})
    report = flora.learn(train, SimpleNamespace(validation=None), context)  # type: ignore[arg-type]
    assert flora.snapshots() == [7, 8, 9, 10, 11, 12]
    assert report.chosen == context.chosen


def test_a_fit_whose_step_is_chosen_keeps_the_later_ones_and_holds_the_chosen(tmp_path: Path) -> None:
    flora, train = toy_flora()
    context = Context(seed=0, folder=tmp_path, chosen={"step": 9, "of": 12, "weight": 0.3})
    report = flora.learn(train, SimpleNamespace(validation=None), context)  # type: ignore[arg-type]
    held = flora.score_features(train.features, flora.texts)
    assert (report.chosen["step"], report.snapshot) == (9, 9)
    assert flora.snapshots() == [7, 8, 9, 10, 11, 12]
    flora.restore(12)
    assert not np.array_equal(flora.score_features(train.features, flora.texts), held)
    flora.restore(9)
    np.testing.assert_array_equal(flora.score_features(train.features, flora.texts), held)
