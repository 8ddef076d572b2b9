"""CORAL: source features are whitened and given the target's covariance (Sun, Feng, Saenko, AAAI 2016)."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.preprocessing import StandardScaler

from mmcl_bench.methods.shared.shallow_adaptation import DrawnClips, ShallowAdaptation


class Coral(ShallowAdaptation):
    """skada's, which centres both domains as well."""

    name: ClassVar[str] = "coral"
    summary: ClassVar[str] = "source features are given the mean and the covariance of the target's"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "AAAI 2016"

    def adapter(self, drawn: DrawnClips) -> Any:
        from skada import CORALAdapter

        return CORALAdapter()

    def target_step(self, adapter: Any) -> StandardScaler:
        step = StandardScaler(with_std=False)
        if adapter is not None:
            step.fit(adapter.mean_target_[None])
        return step
