"""FRM, the feature refinement module of MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureRefinement(nn.Module):
    """Reweighs class scores by the answer of a multimodal LLM to an instruction; a part of training alone.

    The vectors P and N start at one, where the refined scores equal the scores.
    """

    def __init__(self, instruct_dim: int, n_classes: int, hidden_dim: int = 64) -> None:
        super().__init__()
        self.instruct = nn.Sequential(nn.Linear(instruct_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 2))
        self.positive = nn.Parameter(torch.ones(n_classes))
        self.negative = nn.Parameter(torch.ones(n_classes))

    def forward(self, scores: Tensor, instruct: Tensor) -> Tensor:
        """Scores S (N, K) and answer features (N, instruct_dim) -> S_R = (w_p * P + w_n * N) * S, (N, K)."""
        weights: Tensor = self.instruct(instruct).softmax(dim=1)
        return (weights[:, :1] * self.positive + weights[:, 1:] * self.negative) * scores
