"""Optimal transport: source clips move to where target clips are, at least cost (Courty et al., IEEE TPAMI 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

from mmcl_bench.methods.shared.shallow_adaptation import DrawnClips, ShallowAdaptation


class OTDA(ShallowAdaptation):
    """Exact transport of squared distances; each source clip moves to the mean of the target clips that it goes to."""

    name: ClassVar[str] = "otda"
    summary: ClassVar[str] = "optimal transport of source features to the target's, clip by clip"
    kind: ClassVar[str] = "optimal-transport"
    published: ClassVar[str] = "IEEE TPAMI 2017"

    def adapter(self, drawn: DrawnClips) -> Any:
        from skada import OTMappingAdapter

        return OTMappingAdapter(norm="median")
