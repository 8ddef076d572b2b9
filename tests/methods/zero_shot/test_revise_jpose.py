"""ReViSE and JPoSE against numbers of SynSE's authors' code, and where they differ from that on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.jpose import PARTS, JPoSE, JPoSEHead, triplet_loss
from mmcl_bench.methods.zero_shot.revise import ReViSE, ReViSEHead, discrepancy
from mmcl_bench.nn.losses import class_hinge_loss

Given = dict[str, Tensor]


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    found, expected = found.detach().double(), expected.detach().double()
    assert float((found - expected).norm() / expected.norm().clamp(min=1e-12)) < tolerance


@pytest.fixture
def of_revise(parity_dir: Path) -> Given:
    return load_file(parity_dir / "zoo_revise.safetensors")


@pytest.fixture
def of_jpose(parity_dir: Path) -> Given:
    return load_file(parity_dir / "zoo_jpose.safetensors")


def revise(given: Given) -> ReViSEHead:
    head = ReViSEHead(ReViSE.Settings(code=24, text_hidden=40, embedding=12, as_released=True), 256, 48)
    head.load_state_dict({name: given[f"weights.{theirs(name)}"] for name in head.state_dict()})
    return head


def jpose(given: Given) -> JPoSEHead:
    head = JPoSEHead(JPoSE.Settings(part=10, joint=8, text_hidden=36, as_released=True), 256, 48)
    head.load_state_dict({name: given[f"weights.{theirs(name)}"] for name in head.state_dict()})
    return head


def theirs(name: str) -> str:
    """The release's name of a parameter."""
    if name.startswith(("visual.", "text.")):
        return name.replace("head", "transformation")
    return name.removeprefix("parts.").replace("visual", "VisArch").replace("text", "TextArch")


def same_gradients(head: torch.nn.Module, given: Given) -> None:
    for name, weights in head.named_parameters():
        assert weights.grad is not None
        close(weights.grad, given[f"grad.{theirs(name)}"], 1e-4)


def test_revise_is_that_of_the_release(of_revise: Given) -> None:
    head, seen = revise(of_revise), of_revise["output.seen_class_embeddings"].shape[0]
    losses = head.losses_of(of_revise["input.skeleton"], of_revise["input.text_unit"][:seen], of_revise["input.labels"])
    names = {
        "loss": "total",
        "hinge": "hinge",
        "discrepancy": "mmd",
        "visual": "visual_reconstruction",
        "text": "text_reconstruction",
    }
    for own, name in names.items():
        close(losses[own], of_revise[f"loss.{name}"], 1e-5)
    close(losses["contractive"] / 1e-4, of_revise["loss.contractive_norm"], 1e-5)
    losses["loss"].backward()
    same_gradients(head, of_revise)
    unseen = {"text": of_revise["input.text_unit"][seen:]}
    close(head.scores(of_revise["input.test_skeleton"], None, unseen), of_revise["output.class_scores"], 1e-5)


def test_jpose_is_that_of_the_release(of_jpose: Given) -> None:
    head, seen = jpose(of_jpose), of_jpose["output.seen_joint_text"].shape[0]
    texts = {part: of_jpose[f"input.{part}_unit"] for part in PARTS}
    known = {part: rows[:seen] for part, rows in texts.items()}
    losses = head.losses_of(of_jpose["input.skeleton"], known, of_jpose["input.labels"])
    for own, loss in losses.items():
        close(loss, of_jpose[f"loss.{'total' if own == 'loss' else own}"], 1e-5)
    losses["loss"].backward()
    same_gradients(head, of_jpose)
    unseen = {part: rows[seen:] for part, rows in texts.items()}
    close(head.scores(of_jpose["input.test_skeleton"], None, unseen), of_jpose["output.class_scores"], 1e-5)


def test_the_hinge_counts_wrong_classes_alone_and_moves_their_texts() -> None:
    """Clip (1, 0) of class 0; above it by the margin of 1: class 1 by 0.6 - 0.8 + 1; class 2 is like class 0."""
    classes = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.9, 0.1]], requires_grad=True)
    alike = torch.eye(3, dtype=torch.bool)
    alike[0, 2] = alike[2, 0] = True
    loss = class_hinge_loss(torch.tensor([[1.0, 0.0]]), classes, torch.tensor([0]), alike, margin=1.0)
    close(loss, torch.tensor(0.8), 1e-6)
    loss.backward()
    assert classes.grad is not None
    assert classes.grad.tolist() == [[-1, 0], [1, 0], [0, 0]]


def test_a_clip_s_triplet_has_its_nearest_clip_of_another_verb() -> None:
    """At 0, 60 and 90 degrees, the first two of one verb: s is 1/2 between them, and 0 and .87 to the third."""
    angles = torch.deg2rad(torch.tensor([0.0, 60.0, 90.0]))
    clips = torch.stack([angles.cos(), angles.sin()], dim=1)
    alike = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    expected = ((0 - 0.5 + 0.3) * 0 + (0.75**0.5 - 0.5 + 0.3) + (0.75**0.5 - 1 + 0.3)) / 3
    close(triplet_loss(clips, alike, 0.3), torch.tensor(expected), 1e-5)
    assert float(triplet_loss(clips, torch.ones(3, 3, dtype=torch.bool), 0.3)) == 0, "no other verb"


def test_the_contraction_is_the_mean_squared_jacobian() -> None:
    torch.manual_seed(0)
    head, clips = ReViSEHead(ReViSE.Settings(code=6), 5, 8), torch.randn(4, 5)
    jacobians = [torch.autograd.functional.jacobian(head.visual.encoder, clip) for clip in clips]
    expected = torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean()
    contraction = head.contraction(head.visual.encoder(clips))
    close(contraction, expected, 1e-5)
    contraction.backward()
    assert head.visual.encoder[0].weight.grad is not None


def test_equal_samples_have_no_discrepancy() -> None:
    codes = torch.rand(5, 3)
    assert float(discrepancy(codes, codes.flip(0))) == pytest.approx(0, abs=1e-6)
    assert float(discrepancy(codes, codes + 9)) == pytest.approx(2 * discrepancy_of_itself(codes), rel=1e-5)


def discrepancy_of_itself(codes: Tensor) -> float:
    """The mean of exp(-32 d^2) over all pairs of a sample."""
    return float((-32 * (codes[:, None] - codes[None]).square().sum(2)).exp().mean())
