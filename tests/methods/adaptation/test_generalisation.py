"""What generalisation methods make of the groups in a batch, against DomainBed's sums."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, DomainBatch
from mmcl_bench.nn.adaptation.generalisation import invariance_penalty
from mmcl_bench.nn.adaptation.moments import coral_loss

GROUPS = torch.tensor([2, 0, 2, 0, 2, 0, 2, 0])


@pytest.fixture
def batch(request: pytest.FixtureRequest) -> AdaptationBatch:
    """Four clips of group 0 and four of group 2, at a share of the training that the test names."""
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(8, 5, generator=draw), torch.arange(8) % 3
    logits = torch.randn(8, 3, generator=draw, requires_grad=True)
    side = DomainBatch(features, logits, torch.arange(8))
    progress = getattr(request, "param", 0.5)
    return AdaptationBatch(side, labels, GROUPS, None, lambda: logits, progress, step=1)


def total(method: AdaptationMethod, batch: AdaptationBatch) -> float:
    added = method.added_losses(batch).values()
    return float((method.classification_loss(batch) + sum(weight * loss for weight, loss in added)).detach())


def made(name: str) -> AdaptationMethod:
    method = METHODS.get(name)()
    assert isinstance(method, AdaptationMethod)
    return method


@pytest.mark.parametrize(("batch", "weight"), [(0.05, 1.0), (0.5, 100.0)], indirect=["batch"])
def test_irm_s_penalty_grows_and_the_whole_is_divided(batch: AdaptationBatch, weight: float) -> None:
    of_groups = [(batch.source.logits[group == GROUPS], batch.labels[group == GROUPS]) for group in (0, 2)]
    risk = torch.stack([F.cross_entropy(*each) for each in of_groups]).mean()
    penalty = torch.stack([invariance_penalty(*each) for each in of_groups]).mean()
    expected = float((risk + weight * penalty).detach()) / max(1.0, weight)
    assert total(made("irm"), batch) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("batch", "weight"), [(0.05, 1.0), (0.5, 10.0)], indirect=["batch"])
def test_vrex_s_penalty_grows_and_the_whole_is_divided(batch: AdaptationBatch, weight: float) -> None:
    one, other = (F.cross_entropy(batch.source.logits[g == GROUPS], batch.labels[g == GROUPS]).item() for g in (0, 2))
    expected = ((one + other) / 2 + weight * ((one - other) / 2) ** 2) / weight
    assert total(made("vrex"), batch) == pytest.approx(expected, rel=1e-5)


def test_group_dro_weighs_the_harder_of_the_groups_that_are_there(batch: AdaptationBatch) -> None:
    method = made("group-dro")
    method.parts = method.build_parts(5, 3, 3)
    one, other = (F.cross_entropy(batch.source.logits[g == GROUPS], batch.labels[g == GROUPS]).detach() for g in (0, 2))
    harder = torch.stack([(0.01 * one).exp(), (0.01 * other).exp()])
    expected = (harder[0] * one + harder[1] * other) / harder.sum()
    assert total(method, batch) == pytest.approx(float(expected), rel=1e-5)


def test_coral_over_groups_is_the_distance_of_the_two(batch: AdaptationBatch) -> None:
    features = batch.source.features
    expected = F.cross_entropy(batch.source.logits, batch.labels) + coral_loss(
        features[GROUPS == 0], features[GROUPS == 2]
    )
    assert total(made("coral-over-groups"), batch) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_shares_of_a_mix_add_up(batch: AdaptationBatch) -> None:
    method = made("mixup")
    # Logits that do not depend on features: whatever the shares, the loss is log 3.
    method.logits_of = lambda features: features.new_zeros(len(features), 3)  # type: ignore[method-assign]
    assert total(method, batch) == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-5)
    assert isinstance(method.build_parts(5, 3, 3), nn.Identity)
