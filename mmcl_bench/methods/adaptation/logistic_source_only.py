"""What shallow adaptation is compared with: logistic regression on the same features of the source alone."""

from __future__ import annotations

from typing import ClassVar

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.shallow_adaptation import ShallowAdaptation


class LogisticSourceOnly(ShallowAdaptation):
    """No adapter."""

    name: ClassVar[str] = "logistic-source-only"
    summary: ClassVar[str] = "the shallow methods' logistic regression, fitted on the source alone"
    kind: ClassVar[str] = "baseline"
    setting: ClassVar[Setting] = Setting.INDUCTIVE
