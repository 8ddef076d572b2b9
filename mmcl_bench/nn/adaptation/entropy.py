"""Losses of unlabelled target clips alone: entropy, SHOT's and NRC's; and what TENT adapts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-5


def prediction_entropy(logits: Tensor) -> Tensor:
    """(N,) entropies of predictions, in nats, from logits (N, K)."""
    predictions = logits.softmax(1)
    return -(predictions * (predictions + _EPSILON).log()).sum(1)


def batch_entropy(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction of a batch, from logits (N, K): high where all classes are predicted."""
    mean = logits.softmax(1).mean(0)
    return -(mean * (mean + _EPSILON).log()).sum()


def information_maximisation(logits: Tensor) -> Tensor:
    """SHOT's: mean entropy of the predictions minus entropy of their mean, from logits (N, K).

    Liang, Hu, Feng, "Do We Really Need to Access the Source Data?", ICML 2020, arXiv 2002.08546.
    """
    return prediction_entropy(logits).mean() - batch_entropy(logits)


@torch.no_grad()
def centroid_labels(features: Tensor, logits: Tensor, cosine: bool = True, least: int = 0) -> Tensor:
    """SHOT's pseudo-labels (N,) int64 of features (N, D) with logits (N, K): the nearest class centroid, twice.

    Centroids are means of the features weighed by predictions, then of those of each pseudo-label. Each time only
    classes of more than ``least`` clips count, so a class that no clip is predicted to be in is no pseudo-label. Raises
    :class:`IndexError` where no class has so many.
    """
    if cosine:
        # The constant stands for the classifier's bias.
        features = F.normalize(torch.cat([features, features.new_ones(len(features), 1)], dim=1), dim=1)
    weights, labels = logits.softmax(1), logits.argmax(1)
    for _ in range(2):
        centroids = weights.T @ features / (1e-8 + weights.sum(0).unsqueeze(1))
        classes = (labels.bincount(minlength=logits.shape[1]) > least).nonzero().squeeze(1)
        labels = classes[_distances(features, centroids[classes], cosine).argmin(1)]
        weights = F.one_hot(labels, logits.shape[1]).to(features.dtype)
    return labels


def _distances(features: Tensor, centroids: Tensor, cosine: bool) -> Tensor:
    if cosine:
        return 1 - F.normalize(features, dim=1) @ F.normalize(centroids, dim=1).T
    return torch.cdist(features, centroids)


def neighbour_loss(
    logits: Tensor,
    features: Tensor,
    places: Tensor,
    feature_bank: Tensor,
    prediction_bank: Tensor,
    n_neighbours: int = 5,
    n_expanded: int = 5,
    as_released: bool = False,
) -> Tensor:
    """NRC's: predictions of a clip agree with those of its neighbours and of theirs, and all classes are predicted.

    Yang et al., "Exploiting the Intrinsic Neighborhood Structure for Source-free Domain Adaptation", NeurIPS 2021,
    arXiv 2110.04202. ``places`` (B,) are those of the batch in the banks of all target clips, unit features (N, D) and
    predictions (N, K), which are brought up to date for it first. A neighbour that has the clip among its own weighs
    1 (and neighbours of neighbours 0.1), another one 0.1. ``as_released``: every one weighs 0.1, as the published code
    overwrites its weights.
    """
    predictions = logits.softmax(1)
    with torch.no_grad():
        feature_bank[places], prediction_bank[places] = F.normalize(features, dim=1), predictions
        near = _nearest(feature_bank[places], feature_bank, n_neighbours)
        further = _nearest(feature_bank[near.flatten()], feature_bank, n_expanded).view(*near.shape, n_expanded)
        mutual = (further == places.view(-1, 1, 1)).any(2)
        weights = torch.where(mutual & (not as_released), 1.0, 0.1)
    of_near = torch.einsum("bk,bnk->bn", predictions, prediction_bank[near])
    of_further = torch.einsum("bk,bnk->bn", predictions, prediction_bank[further.flatten(1)])
    return -(weights * of_near).sum(1).mean() - 0.1 * of_further.sum(1).mean() - batch_entropy(logits)


def _nearest(features: Tensor, bank: Tensor, n: int) -> Tensor:
    """(B, n) places in the bank of those with the highest products, without the first, the clip itself."""
    return (features @ bank.T).topk(n + 1, dim=1).indices[:, 1:]


def batch_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """All batch normalisations in a module, of vectors and of maps."""
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
