"""A network that says how well a skeleton and a text go together, and a loss of all pairs in a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PairScorer(nn.Module):
    """Three linear layers on a skeleton vector and a text vector, joined."""

    def __init__(self, n_inputs: int, first: int, second: int) -> None:
        super().__init__()
        self.l0 = nn.Linear(n_inputs, first)
        self.l1 = nn.Linear(first, second)
        self.l2 = nn.Linear(second, 1)

    def forward(self, skeleton: Tensor, text: Tensor) -> Tensor:
        """Skeletons (N, S) and as many texts (N, T), or one (T,) for all of them -> (N,)."""
        joined = torch.cat([skeleton, text.expand(len(skeleton), -1)], dim=1)
        return self.l2(self.l1(self.l0(joined).relu()).relu()).squeeze(1)  # type: ignore[no-any-return]


def by_class(scorer: nn.Module, skeleton: Tensor, texts: Tensor) -> Tensor:
    """(N, K), what a scorer of pairs says of skeletons (N, S) and class texts (K, T), or (N, K, T), a clip its own."""
    return torch.stack([scorer(skeleton, text) for text in texts.unbind(-2)], dim=1)


def same_class_divergence(similarity: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Losses of the logits (B, B) between clips and the texts of the clips' classes (B,), from clips to texts and back,
    and ``loss``, the mean of both.

    Each is the KL divergence of the softmax of a row from targets that clips of its class share: the softmax of 10 for
    one of the same class and 0 for another, as in ActionCLIP (Wang et al., 2021).
    """
    targets = (10.0 * (labels[:, None] == labels).to(similarity)).softmax(1)
    to_text, to_skeleton = (
        F.kl_div(logits.log_softmax(1), targets, reduction="batchmean") for logits in (similarity, similarity.T)
    )
    return {"loss": (to_text + to_skeleton) / 2, "skeleton_to_text": to_text, "text_to_skeleton": to_skeleton}
