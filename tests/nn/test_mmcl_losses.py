"""FAM, FRM and the losses: parity with the authors' code, and hand calculations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.mmcl import CoLearningNetwork, MMCLSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.methods.skeleton_only import SkeletonOnlySettings
from mmcl_bench.nn.fam import FeatureAlignment
from mmcl_bench.nn.frm import FeatureRefinement
from mmcl_bench.nn.losses import contrastive_loss, text_alignment_loss
from mmcl_bench.protocols.problem import ClassTable
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import HDM05


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "mmcl_losses.safetensors")


def agree(found: Tensor, expected: Tensor) -> bool:
    return ((found - expected).abs().max() / expected.abs().max()).item() < 1e-5


@pytest.fixture(scope="module")
def alignment(vectors: dict[str, Tensor]) -> FeatureAlignment:
    module = FeatureAlignment(rgb_dim=1000, skeleton_dim=256)
    module.load_state_dict({name: vectors[name] for name in module.state_dict()})
    return module


@pytest.fixture(scope="module")
def refinement(vectors: dict[str, Tensor]) -> FeatureRefinement:
    module = FeatureRefinement(instruct_dim=3, n_classes=120)
    module.load_state_dict({name: vectors[name] for name in module.state_dict()})
    return module


def test_alignment_equals_the_authors_code(alignment: FeatureAlignment, vectors: dict[str, Tensor]) -> None:
    global_feature = vectors["skeleton_features"].unflatten(0, (-1, 2)).mean((1, 3, 4))
    assert agree(alignment(vectors["rgb_features"]), vectors["aligned_rgb"])
    assert agree(alignment.loss(global_feature, vectors["rgb_features"]), vectors["contrastive_loss"])


def test_refinement_equals_the_authors_code(refinement: FeatureRefinement, vectors: dict[str, Tensor]) -> None:
    assert agree(refinement(vectors["logits"], vectors["instruct_features"]), vectors["refined_logits"])


def test_the_total_loss_equals_the_authors_code(refinement: FeatureRefinement, vectors: dict[str, Tensor]) -> None:
    classification = F.cross_entropy(vectors["logits"], vectors["labels"])
    refined = refinement(vectors["logits"], vectors["instruct_features"])
    refined_loss = F.cross_entropy(refined, vectors["labels"])
    assert agree(classification, vectors["loss_classification"])
    assert agree(refined_loss, vectors["loss_refinement"])
    paper = MMCLSettings()
    total = classification + paper.contrastive_weight * vectors["contrastive_loss"]
    assert agree(total + paper.refinement_weight * refined_loss, vectors["loss_total"])


def contrastive_by_hand(g: np.ndarray, c: np.ndarray, tau: float) -> float:
    def s(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    total = 0.0
    for one, other in ((g, c), (c, g)):
        for i in range(len(g)):
            match = math.exp(s(one[i], other[i]) / tau)
            rest = [k for k in range(len(g)) if k != i]
            across = sum(math.exp(s(one[i], other[k]) / tau) for k in rest)
            within = sum(math.exp(s(one[i], one[k]) / tau) for k in rest)
            total -= math.log(match / (match + across + within))
    return total / (2 * len(g))


@pytest.mark.parametrize("tau", [0.1, 0.4])
def test_the_contrastive_loss_equals_a_hand_calculation(tau: float) -> None:
    rng = np.random.default_rng(0)
    g, c = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    found = contrastive_loss(torch.from_numpy(g), torch.from_numpy(c), tau)
    assert found.item() == pytest.approx(contrastive_by_hand(g, c, tau), rel=1e-9)


def test_the_contrastive_loss_treats_both_modalities_alike() -> None:
    g, c = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()
    torch.testing.assert_close(contrastive_loss(g, c), contrastive_loss(c, g))


def supervised_contrast_by_hand(g: np.ndarray, c: np.ndarray, labels: list[int], tau: float) -> float:
    """Khosla et al., eq. 2, with the clip's own other feature among the positives; -1 is like nothing but itself."""

    def s(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    total = 0.0
    for one, other in ((g, c), (c, g)):
        for i in range(len(g)):
            candidates = [(k, math.exp(s(one[i], other[k]) / tau)) for k in range(len(g))]
            candidates += [(k, math.exp(s(one[i], one[k]) / tau)) for k in range(len(g)) if k != i]
            whole = sum(value for _, value in candidates)
            alike = [k for k in range(len(g)) if labels[k] == labels[i] != -1]
            positives = [value for at, (k, value) in enumerate(candidates) if k in alike or (k == i and at < len(g))]
            total -= sum(math.log(value / whole) for value in positives) / len(positives)
    return total / (2 * len(g))


@pytest.mark.parametrize("labels", [[0, 1, 0, -1, -1], [2, 2, 2, 2, 2]], ids=str)
def test_the_contrast_of_classes_equals_a_hand_calculation(labels: list[int]) -> None:
    rng = np.random.default_rng(0)
    g, c = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    tensors = torch.from_numpy(g).requires_grad_(), torch.from_numpy(c)
    found = contrastive_loss(*tensors, 0.3, torch.tensor(labels))
    assert found.item() == pytest.approx(supervised_contrast_by_hand(g, c, labels, 0.3), rel=1e-9)
    found.backward()
    assert torch.isfinite(tensors[0].grad).all()


def test_the_contrast_of_classes_without_two_clips_of_one_is_the_paper_s() -> None:
    g, c = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()
    for labels in (torch.arange(6), torch.full((6,), -1)):
        torch.testing.assert_close(contrastive_loss(g, c, 0.4, labels), contrastive_loss(g, c, 0.4))


def test_a_projection_stands_between_both_features_and_the_contrast() -> None:
    module = FeatureAlignment(10, 8, projection=3)
    skeleton, rgb = torch.randn(4, 8), torch.randn(4, 10)
    assert module(rgb).shape == module.project(skeleton).shape == (4, 3)
    expected = contrastive_loss(module.project(skeleton), module.align(rgb), 0.4)
    torch.testing.assert_close(module.loss(skeleton, rgb), expected)
    assert not list(FeatureAlignment(10, 8).project.parameters())


def test_fresh_refinement_leaves_the_scores_as_they_are() -> None:
    scores = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FeatureRefinement(3, 7)(scores, torch.rand(4, 3)), scores)


def test_gradients_reach_the_skeleton_and_both_modules() -> None:
    generator = torch.Generator().manual_seed(0)
    skeleton = torch.randn(4, 8, generator=generator, requires_grad=True)
    fam, frm = FeatureAlignment(10, 8), FeatureRefinement(3, 8)
    refined = frm(skeleton, torch.randn(4, 3, generator=generator))
    contrast = fam.loss(skeleton, torch.randn(4, 10, generator=generator))
    (contrast + F.cross_entropy(refined, torch.arange(4))).backward()
    assert skeleton.grad is not None
    assert skeleton.grad.abs().sum() > 0
    for parameter in (frm.positive, frm.negative, *fam.align[0].parameters()):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_text_alignment_equals_a_hand_calculation() -> None:
    rng = np.random.default_rng(0)
    features, texts, labels = rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), np.array([1, 0, 1])
    cosines = (features / np.linalg.norm(features, axis=1, keepdims=True)) @ (
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    ).T
    chances = np.exp(cosines / 0.2) / np.exp(cosines / 0.2).sum(1, keepdims=True)
    expected = -np.log(chances[np.arange(3), labels]).mean()
    found = text_alignment_loss(torch.from_numpy(features), torch.from_numpy(texts), torch.from_numpy(labels), 0.2)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_where_all_clips_have_labels_gradients_have_the_bits_that_they_had_before_unlabelled_clips() -> None:
    """Gradients of the global feature are added in the order of what reads it, which a slice would change."""
    settings = MMCLSettings(backbone="ctr-gcn-tiny", n_bodies=1)
    classes = ClassTable(("a", "b", "c"), seen=np.ones(3, dtype=bool))
    network = CoLearningNetwork(settings, HDM05, classes, {Modality.RGB: 8}, torch.Generator().manual_seed(0)).eval()
    read: list[Tensor] = []
    network.backbone.classifier.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    features = torch.randn(4, network.backbone.feature_channels, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    network.training_losses(features, labels, {Modality.RGB: torch.randn(4, 8)})
    network.training_losses(features, labels[:3], {Modality.RGB: torch.randn(4, 8)})
    assert read[0].grad_fn is None, "the very feature, not a view of it"
    assert read[1].shape[0] == 3


def test_smoothed_labels_take_their_share_from_all_classes_alike() -> None:
    classes = ClassTable(("a", "b", "c"), seen=np.ones(3, dtype=bool))
    logits, labels = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0]]), torch.tensor([0, 2])

    def loss(smoothing: float) -> float:
        settings = SkeletonOnlySettings(backbone="ctr-gcn-tiny", n_bodies=1, label_smoothing=smoothing)
        network = SkeletonNetwork(settings, HDM05, classes, torch.Generator().manual_seed(0)).eval()
        network.backbone.classify = lambda features: logits  # type: ignore[method-assign]
        features = torch.zeros(2, network.backbone.feature_channels)
        return float(network.training_losses(features, labels, {})["loss"])

    log_shares = torch.log_softmax(logits, dim=1)
    of_label = -float(log_shares[[0, 1], labels].mean())
    assert loss(0.0) == pytest.approx(of_label)
    assert loss(0.3) == pytest.approx(0.7 * of_label - 0.3 * float(log_shares.mean()))
