"""A discriminator tells the domains apart, and the features are trained against it: DANN and CDAN.

Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, arXiv 1505.07818; Long et al., "Conditional
Adversarial Domain Adaptation", NeurIPS 2018, arXiv 1705.10667.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.adaptation.entropy import prediction_entropy


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * grad, None


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself, whose gradient is multiplied by minus ``factor`` on the way back."""
    reversed_: Tensor = _Reversal.apply(x, factor)
    return reversed_


def reversal_factor(progress: float, slope: float = 10.0) -> float:
    """The factor at a share ``progress`` of the training: from 0 towards 1, 2 / (1 + e^(-slope * progress)) - 1.

    The slope is Ganin et al.'s. The Transfer-Learning-Library counts progress in thousands of steps, with slope 1.
    """
    return 2 / (1 + math.exp(-slope * progress)) - 1


class DomainDiscriminator(nn.Sequential):
    """Features (N, D) -> logits (N, 1), high for the source; batch statistics are those of both domains together."""

    def __init__(self, n_features: int, width: int = 1024) -> None:
        super().__init__(
            nn.Linear(n_features, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )


def domain_adversarial_loss(
    discriminator: nn.Module,
    source: Tensor,
    target: Tensor,
    factor: float,
    weights: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """DANN's: binary cross-entropy of the domain, the mean of both domains, its gradient reversed for the features.

    ``source`` (N, D) and ``target`` (M, D) are features, ``weights`` (N,) and (M,) those of the clips.
    """
    logits = discriminator(reverse_gradient(torch.cat([source, target]), factor)).squeeze(1)
    sides = logits.split([len(source), len(target)])
    truth = torch.ones_like(sides[0]), torch.zeros_like(sides[1])
    losses = [
        F.binary_cross_entropy_with_logits(side, domain, None if weights is None else weights[at])
        for at, (side, domain) in enumerate(zip(sides, truth, strict=True))
    ]
    return (losses[0] + losses[1]) / 2


class RandomisedProduct(nn.Module):
    """Features (N, D) and predictions (N, K) -> (N, width): the product of a fixed random map of each."""

    def __init__(self, n_features: int, n_classes: int, width: int = 1024) -> None:
        super().__init__()
        self.of_features: Tensor
        self.of_predictions: Tensor
        self.register_buffer("of_features", torch.randn(n_features, width))
        self.register_buffer("of_predictions", torch.randn(n_classes, width))

    def forward(self, features: Tensor, predictions: Tensor) -> Tensor:
        width = self.of_features.shape[1]
        return (features @ self.of_features) * (predictions @ self.of_predictions) / math.sqrt(width)


def outer_product(features: Tensor, predictions: Tensor) -> Tensor:
    """(N, D) and (N, K) -> (N, K * D), every product of the two."""
    return (predictions.unsqueeze(2) * features.unsqueeze(1)).flatten(1)


def conditional_adversarial_loss(
    discriminator: nn.Module,
    product: Any,
    source: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
    factor: float,
    by_entropy: bool = True,
) -> Tensor:
    """CDAN's: as DANN's, of a ``product`` of features and predictions; each side is (features, logits).

    With ``by_entropy`` (CDAN+E) a clip weighs 1 + e^(-entropy), normalised over both domains together. Predictions
    carry no gradient.
    """
    features = torch.cat([source[0], target[0]])
    logits = torch.cat([source[1], target[1]]).detach()
    found = discriminator(reverse_gradient(product(features, logits.softmax(1)), factor)).squeeze(1)
    truth = torch.zeros_like(found)
    truth[: len(source[0])] = 1
    weights = None
    if by_entropy:
        weights = 1 + torch.exp(-prediction_entropy(logits))
        weights = weights / weights.mean()
    return F.binary_cross_entropy_with_logits(found, truth, weights)
