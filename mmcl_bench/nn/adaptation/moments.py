"""Distances of two sets of features, and norms of features: CORAL, DAN, JAN, BSP, AFN."""

from __future__ import annotations

import torch
from torch import Tensor

BANDWIDTHS = tuple(2.0**power for power in range(-3, 2))
"""Of DAN's Gaussian kernels, in mean squared distances of the batch."""
_PREDICTION_SIGMA = 0.92
"""Of JAN's kernel of predictions."""


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Mean squared differences of the means and of the covariances of features (N, D) and (M, D).

    Sun and Saenko, "Deep CORAL", ECCV workshops 2016, arXiv 1607.01719, has a quarter of the second term; this is the
    form of DomainBed and of the Transfer-Learning-Library.
    """
    means = source.mean(0), target.mean(0)
    return (means[0] - means[1]).square().mean() + (source.T.cov() - target.T.cov()).square().mean()


def class_moments_loss(source: Tensor, source_labels: Tensor, target: Tensor, target_labels: Tensor) -> Tensor:
    """The mean over the classes in both of the :func:`coral_loss` of their features, (N, D) and (M, D).

    Labels are (N,) and (M,) int64, at least one in both. A class with one clip in either has its means compared alone.
    """
    losses = []
    for label in source_labels.unique():
        one, other = source[source_labels == label], target[target_labels == label]
        if min(len(one), len(other)) > 1:
            losses.append(coral_loss(one, other))
        elif len(other):
            losses.append((one.mean(0) - other.mean(0)).square().mean())
    return torch.stack(losses).mean()


def mmd_loss(source: Tensor, target: Tensor, linear: bool = False) -> Tensor:
    """DAN's squared maximum mean discrepancy of features (N, D) and (M, D), an estimate that may be below 0.

    Long et al., "Learning Transferable Features with Deep Adaptation Networks", ICML 2015, arXiv 1502.02791: the sum of
    five Gaussian kernels. ``linear`` compares each clip with the next one alone; it needs N = M. The
    Transfer-Learning-Library adds a constant, 2 / (N - 1).
    """
    return _mmd(_gaussian_kernels(torch.cat([source, target])), len(source), linear)


def joint_mmd_loss(source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], linear: bool = False) -> Tensor:
    """JAN's: as DAN's, the kernel being the product of those of features (N, D) and of predictions (N, K).

    Long et al., "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017, arXiv 1605.06636. Each side is
    (features, predictions), the latter softmax.
    """
    of_features = _gaussian_kernels(torch.cat([source[0], target[0]]))
    distances = _squared_distances(torch.cat([source[1], target[1]]))
    return _mmd(of_features * torch.exp(-distances / (2 * _PREDICTION_SIGMA**2)), len(source[0]), linear)


def _squared_distances(x: Tensor) -> Tensor:
    # Not of torch.cdist: the gradient of a distance of zero is not a number.
    return (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(2)


def _gaussian_kernels(x: Tensor) -> Tensor:
    """(N, N), summed over the bandwidths; the mean distance counts that of a clip to itself, and has no gradient."""
    distances = _squared_distances(x)
    scale = 2 * distances.detach().mean().clamp(min=1e-12)
    return torch.stack([torch.exp(-distances / (width * scale)) for width in BANDWIDTHS]).sum(0)


def _mmd(kernel: Tensor, n: int, linear: bool) -> Tensor:
    """The discrepancy of the first ``n`` clips and the others."""
    of_source, of_target, across = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    m = len(of_target)
    if linear:
        if n != m:
            raise ValueError(f"the linear estimate needs as many target clips as source clips, not {m} and {n}")
        next_one = torch.arange(n, device=kernel.device).roll(-1)
        here = next_one.roll(1)
        same = of_source[here, next_one] + of_target[here, next_one]
        return (same - across[here, next_one] - across[next_one, here]).mean()
    within = (of_source.sum() - of_source.trace()) / (n * (n - 1)) + (of_target.sum() - of_target.trace()) / (
        m * (m - 1)
    )
    return within - 2 * across.mean()


def largest_singular_values(source: Tensor, target: Tensor) -> Tensor:
    """BSP's: the sum of the squared largest singular values of features (N, D) and (M, D).

    Chen et al., "Transferability vs. Discriminability: Batch Spectral Penalization for Adversarial Domain Adaptation",
    ICML 2019; their weight of it is 1e-4, and 2e-4 in the Transfer-Learning-Library.
    """
    largest: Tensor = torch.linalg.matrix_norm(source, 2).square() + torch.linalg.matrix_norm(target, 2).square()
    return largest


def norm_growth_loss(features: Tensor, step: float = 1.0) -> Tensor:
    """AFN's: mean squared difference of the norms of features (N, D) from themselves, constant, plus ``step``.

    Xu et al., "Larger Norm More Transferable", ICCV 2019, arXiv 1811.07456. Its value is always ``step`` squared; its
    gradient makes the norms grow.
    """
    norms: Tensor = features.norm(dim=1)
    return (norms - (norms.detach() + step)).square().mean()
