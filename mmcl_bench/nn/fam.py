"""FAM, the feature alignment module of MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.losses import UNLABELLED, contrastive_loss


class FeatureAlignment(nn.Module):
    """Brings frozen RGB features beside the skeleton's global feature; a part of training alone.

    The paper compares with the global feature itself and has one positive for each clip. Two variants of ours: a
    ``projection`` head of that width, as in SimCLR, between the global feature and the contrast; and ``by_class``, all
    clips of a class as positives of each other.
    """

    def __init__(
        self,
        rgb_dim: int,
        skeleton_dim: int,
        temperature: float = 0.4,
        projection: int = 0,
        by_class: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.by_class = by_class
        width = projection or skeleton_dim
        self.align = nn.Sequential(nn.Linear(rgb_dim, skeleton_dim), nn.ReLU(), nn.Linear(skeleton_dim, width))
        self.project: nn.Module = nn.Identity()
        if projection:
            self.project = nn.Sequential(
                nn.Linear(skeleton_dim, skeleton_dim), nn.ReLU(), nn.Linear(skeleton_dim, width)
            )

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, rgb_dim) frozen features of the person crops -> F_c (N, skeleton_dim), or (N, projection)."""
        return self.align(rgb)  # type: ignore[no-any-return]

    def loss(self, skeleton: Tensor, rgb: Tensor, labels: Tensor | None = None) -> Tensor:
        """L_c of the global features F_g (N, skeleton_dim) and the RGB features (N, rgb_dim) of the same clips.

        ``labels`` are those of the first clips; what follows has none. Only ``by_class`` reads them.
        """
        known = None
        if self.by_class and labels is not None:
            known = F.pad(labels, (0, len(skeleton) - len(labels)), value=UNLABELLED)
        return contrastive_loss(self.project(skeleton), self(rgb), self.temperature, known)
