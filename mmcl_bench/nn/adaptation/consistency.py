"""Predictions of target clips that agree or are not confused: MCD, MCC, FixMatch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_bench.nn.adaptation.entropy import prediction_entropy


def classifier_discrepancy(one: Tensor, other: Tensor) -> Tensor:
    """MCD's: mean absolute difference of the predictions of two classifiers, from logits (N, K).

    Saito et al., "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation", CVPR 2018, arXiv 1712.02560.
    """
    return (one.softmax(1) - other.softmax(1)).abs().mean()


def balance_loss(logits: Tensor) -> Tensor:
    """MCD's term against empty classes: minus the mean over classes of the log of the mean prediction, (N, K)."""
    return -(logits.softmax(1).mean(0) + 1e-6).log().mean()


def class_confusion(logits: Tensor, temperature: float = 2.5) -> Tensor:
    """MCC's: the share of the correlation of predictions (N, K) that lies between different classes.

    Jin et al., "Minimum Class Confusion for Versatile Domain Adaptation", ECCV 2020, arXiv 1912.03699. Clips weigh 1 +
    e^(-entropy); the weights have no gradient.
    """
    scaled = logits / temperature
    predictions = scaled.softmax(1)
    weights = (1 + torch.exp(-prediction_entropy(scaled))).detach()
    weights = weights / weights.mean()
    confusion = predictions.T @ (weights.unsqueeze(1) * predictions)
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / logits.shape[1]


def confident_label_loss(weak: Tensor, strong: Tensor, threshold: float = 0.9) -> Tensor:
    """FixMatch's: cross-entropy of strongly augmented clips (N, K) with what the weakly augmented are predicted to be.

    Sohn et al., NeurIPS 2020, arXiv 2001.07685. A clip whose highest probability is below ``threshold`` counts 0.
    """
    probability, label = weak.detach().softmax(1).max(1)
    return (F.cross_entropy(strong, label, reduction="none") * (probability >= threshold)).mean()
