"""FAM, the feature alignment module of MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706)."""

from __future__ import annotations

from torch import Tensor, nn

from mmcl_bench.nn.losses import contrastive_loss


class FeatureAlignment(nn.Module):
    """Brings frozen RGB features beside the skeleton's global feature; a part of training alone."""

    def __init__(self, rgb_dim: int, skeleton_dim: int, temperature: float = 0.4) -> None:
        super().__init__()
        self.temperature = temperature
        self.align = nn.Sequential(nn.Linear(rgb_dim, skeleton_dim), nn.ReLU(), nn.Linear(skeleton_dim, skeleton_dim))

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, rgb_dim) frozen features of the person crops -> F_c (N, skeleton_dim)."""
        return self.align(rgb)  # type: ignore[no-any-return]

    def loss(self, skeleton: Tensor, rgb: Tensor) -> Tensor:
        """L_c of the global features F_g (N, skeleton_dim) and the RGB features (N, rgb_dim) of the same clips."""
        return contrastive_loss(skeleton, self(rgb), self.temperature)
