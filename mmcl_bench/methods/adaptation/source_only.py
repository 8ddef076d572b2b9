"""What adaptation is compared with: the same network, trained on the source alone."""

from __future__ import annotations

from typing import ClassVar

from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod


class SourceOnly(AdaptationMethod):
    """The last block, bottleneck and classifier of the adaptation methods without any adaptation."""

    name: ClassVar[str] = "source-only"
    summary: ClassVar[str] = "the adaptation methods' network, trained on the source alone"
    kind: ClassVar[str] = "baseline"
