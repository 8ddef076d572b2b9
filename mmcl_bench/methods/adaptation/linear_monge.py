"""Linear Monge mapping: the linear optimal transport between two Gaussians (Flamary, Lounici, Ferrari, 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from mmcl_bench.methods.shared.shallow_adaptation import DrawnClips, ShallowAdaptation, ShallowSettings


class MongeSettings(ShallowSettings):
    """The regularisation."""

    covariance: float = Field(default=1e-2, ge=0)
    """Added to the variances of the scaled features, as clips may be fewer than features."""


class LinearMonge(ShallowAdaptation):
    """One linear map of the source's features."""

    name: ClassVar[str] = "linear-monge"
    summary: ClassVar[str] = "the linear optimal transport of source features to the target's"
    kind: ClassVar[str] = "optimal-transport"
    published: ClassVar[str] = "arXiv 2019"
    Settings: ClassVar[type[MongeSettings]] = MongeSettings
    settings: MongeSettings

    def adapter(self, drawn: DrawnClips) -> Any:
        from skada import LinearOTMappingAdapter

        return LinearOTMappingAdapter(reg=self.settings.covariance)
