"""The losses of MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706), of text alignment and of ranking."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

UNLABELLED = -1
"""Label of a clip whose class is not known."""


def contrastive_loss(skeleton: Tensor, rgb: Tensor, temperature: float = 0.4, labels: Tensor | None = None) -> Tensor:
    """L_c between the features g and c, both (N, D), of the same N clips; the mean of both directions.

    For clip i, -log(e^{s(g_i,c_i)/tau} / (sum_k e^{s(g_i,c_k)/tau} + sum_{k!=i} e^{s(g_i,g_k)/tau})) and the same
    with g and c exchanged; s is the cosine.

    With ``labels`` (N,) int64, all features of clips of its class are positives of clip i, in both modalities, and the
    logarithms are averaged over them: the supervised contrastive loss of Khosla et al. (NeurIPS 2020, arXiv
    2004.11362, eq. 2). A clip labelled :data:`UNLABELLED` has no positive but its own.
    """
    skeleton, rgb = F.normalize(skeleton, dim=1), F.normalize(rgb, dim=1)
    across = skeleton @ rgb.T
    directions = (across, skeleton), (across.T, rgb)
    one, other = (_one_direction(*direction, temperature, labels) for direction in directions)
    return (one + other) / 2


def _one_direction(across: Tensor, anchors: Tensor, temperature: float, labels: Tensor | None) -> Tensor:
    itself = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
    within = (anchors @ anchors.T).masked_fill(itself, -torch.inf)
    candidates = torch.cat([across, within], dim=1) / temperature
    if labels is None:
        return F.cross_entropy(candidates, torch.arange(len(anchors), device=anchors.device))
    alike = (labels[:, None] == labels) & (labels != UNLABELLED)
    positive = torch.cat([alike | itself, alike & ~itself], dim=1)
    log_shares = F.log_softmax(candidates, dim=1).masked_fill(~positive, 0)
    return -(log_shares.sum(1) / positive.sum(1)).mean()


def text_similarity(features: Tensor, class_embeddings: Tensor) -> Tensor:
    """Cosines (N, K) of features (N, D) and class embeddings (K, D)."""
    return F.normalize(features, dim=1) @ F.normalize(class_embeddings, dim=1).T


def text_alignment_loss(features: Tensor, class_embeddings: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy over cosines to class texts divided by ``temperature``.

    ``features`` are (N, D), already projected to the text space; ``class_embeddings`` are (S, D), one row for each
    *seen* class and none other; ``labels`` (N,) int64 are rows of it.
    """
    return F.cross_entropy(text_similarity(features, class_embeddings) / temperature, labels)


def class_hinge_loss(
    clips: Tensor, classes: Tensor, labels: Tensor, alike: Tensor, margin: float = 0.3, as_released: bool = False
) -> Tensor:
    """The sum over wrong classes c of max(0, v.a_c - v.a_y + margin), averaged over the clips v (N, D) of classes y.

    ``classes`` are a (S, D), ``labels`` (N,) int64 are rows of it, ``alike`` (S, S) bool says which classes are not
    wrong for each other, such as each for itself. As released by Gupta et al. (ICIP 2021) for ReViSE and JPoSE, all
    classes count as wrong, the own one too, and a_c carries no gradient.
    """
    others = classes.detach() if as_released else classes
    above = clips @ others.T - (clips * classes[labels]).sum(1, keepdim=True) + margin
    if not as_released:
        above = above.masked_fill(alike[labels], 0)
    return above.clamp(min=0).sum(1).mean()
