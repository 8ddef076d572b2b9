"""AdaBN: the statistics of all batch normalisations become those of the target (Li et al., ICLR workshops 2017)."""

from __future__ import annotations

from typing import ClassVar

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod
from mmcl_bench.protocols.problem import ClipView, Context, FitReport


class AdaBN(AdaptationMethod):
    """Source only, and then the statistics of every layer over target clips; no weight changes."""

    name: ClassVar[str] = "adabn"
    summary: ClassVar[str] = "source only, with the target's statistics in every batch normalisation"
    kind: ClassVar[str] = "source-free"
    published: ClassVar[str] = "ICLR workshops 2017"
    setting: ClassVar[Setting] = Setting.SOURCE_FREE

    def normalise_domain(self, clips: ClipView) -> None:
        self.normalise_all_by(clips)

    def adapt(self, target: ClipView, context: Context) -> FitReport:
        self.normalise_domain(target)
        return FitReport()
