"""Subspace alignment: the source's principal axes are turned to the target's (Fernando et al., ICCV 2013)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from sklearn.decomposition import PCA

from mmcl_bench.methods.shared.shallow_adaptation import DrawnClips, ShallowAdaptation, ShallowSettings


class SubspaceSettings(ShallowSettings):
    """The size of the subspace."""

    n_components: int = Field(default=50, ge=1)
    """As many as there are features, or clips of a domain, where these are fewer."""


class SubspaceAlignment(ShallowAdaptation):
    """Target clips are described by their own principal components."""

    name: ClassVar[str] = "subspace-alignment"
    summary: ClassVar[str] = "principal components of the source, turned to those of the target"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "ICCV 2013"
    Settings: ClassVar[type[SubspaceSettings]] = SubspaceSettings
    settings: SubspaceSettings

    def adapter(self, drawn: DrawnClips) -> Any:
        from skada import SubspaceAlignmentAdapter

        most = min(*drawn.source.shape, len(drawn.target))
        return SubspaceAlignmentAdapter(n_components=min(self.settings.n_components, most), random_state=0)

    def target_step(self, adapter: Any) -> PCA:
        return PCA() if adapter is None else adapter.pca_target_
