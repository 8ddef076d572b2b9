"""Losses over several source domains: IRM, VREx, GroupDRO, mixup; as DomainBed (Gulrajani, Lopez-Paz, ICLR 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def invariance_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    """IRM's, of one domain, unbiased, so it may be below 0: logits (N, K) and labels (N,) int64.

    Arjovsky et al., "Invariant Risk Minimization", 2019, arXiv 1907.02893: the product of the gradients that every
    other clip and the rest have with respect to a scale of the logits.
    """
    scale = torch.ones((), device=logits.device, requires_grad=True)
    halves = [F.cross_entropy(logits[start::2] * scale, labels[start::2]) for start in (0, 1)]
    one, other = (torch.autograd.grad(half, scale, create_graph=True)[0] for half in halves)
    return one * other


def risk_variance(losses: Tensor) -> Tensor:
    """VREx's: the variance of the domains' losses (E,). Krueger et al., ICML 2021, arXiv 2003.00688."""
    return losses.var(unbiased=False)


class WorstDomain(nn.Module):
    """GroupDRO: losses (E,) weighed by how hard each domain has been. Sagawa et al., ICLR 2020, arXiv 1911.08731."""

    def __init__(self, n_domains: int, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.weights: Tensor
        self.register_buffer("weights", torch.full((n_domains,), 1 / n_domains))

    def forward(self, losses: Tensor, domains: Tensor) -> Tensor:
        """The mean of losses (E,) of some ``domains`` (E,) int64 by their weights, which change first. With all domains
        that is the sum by weights, of which the paper and DomainBed speak."""
        harder = self.weights.clone()
        harder[domains] *= torch.exp(self.rate * losses.detach())
        self.weights = harder / harder.sum()
        weights = self.weights[domains]
        return losses @ (weights / weights.sum())
