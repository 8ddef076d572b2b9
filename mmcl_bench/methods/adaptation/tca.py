"""Transfer component analysis: components in which the domains have one mean (Pan et al., IEEE TNN 2011).

Its Gaussian kernel has the width of scikit-learn, the number of features. Not through skada, whose version 0.6 takes
the eigenvectors of a matrix that is not symmetric as if it were, so that the means stay apart.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy.linalg import eigh
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import rbf_kernel

from mmcl_bench.methods.shared.shallow_adaptation import SOURCE, DrawnClips, ShallowAdaptation, ShallowSettings


class TCASettings(ShallowSettings):
    """The size of the subspace."""

    n_components: int = Field(default=50, ge=1)
    """As many as there are features, or clips, where these are fewer."""
    most_clips: int = Field(default=1500, ge=2)
    mu: float = Field(default=0.1, gt=0)
    """Weight of the size of the components, against the distance of the means."""


class TransferComponents:
    """Components w that maximise w'KHKw where w'(KLK + mu)w is 1: K is the kernel, H centres, L gives the distance."""

    def __init__(self, n_components: int, mu: float) -> None:
        self.n_components = n_components
        self.mu = mu

    def fit(self, rows: np.ndarray, sample_domain: np.ndarray) -> TransferComponents:
        """Learns from the clips (N, D) of both domains."""
        kernel, n = rbf_kernel(rows), len(rows)
        source = sample_domain == SOURCE
        apart = kernel @ np.where(source, 1 / source.sum(), -1 / (~source).sum())
        spread = kernel @ (kernel - kernel.mean(0))
        size = np.outer(apart, apart) + self.mu * np.eye(n)
        _, components = eigh(spread, size, subset_by_index=[n - self.n_components, n - 1])
        self.step = Nystroem(kernel="rbf")
        # The product of a kernel and a matrix, under scikit-learn's names.
        self.step.components_, self.step.normalization_ = rows, np.ascontiguousarray(components.T)
        return self

    def transform(self, rows: np.ndarray, **_: object) -> np.ndarray:
        """(N, n_components) of clips of either domain."""
        found: np.ndarray = self.step.transform(rows)
        return found


class TCA(ShallowAdaptation):
    """Clips are described by a Gaussian kernel with the clips that it learned from."""

    name: ClassVar[str] = "tca"
    summary: ClassVar[str] = "transfer component analysis: components in which source and target have one mean"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "IEEE TNN 2011"
    Settings: ClassVar[type[TCASettings]] = TCASettings
    settings: TCASettings

    def adapter(self, drawn: DrawnClips) -> TransferComponents:
        return TransferComponents(min(self.settings.n_components, *drawn.rows.shape), self.settings.mu)

    def target_step(self, adapter: Any) -> Nystroem:
        return Nystroem(kernel="rbf") if adapter is None else adapter.step
