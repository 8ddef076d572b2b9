"""What is benchmarked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcl_bench.core.registry import Registry

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method

METHODS: Registry[type[Method]] = Registry(
    "method",
    "mmcl_bench.methods",
    {
        "mmcl": "mmcl_bench.methods.mmcl:MMCL",
        "skeleton-only": "mmcl_bench.methods.mmcl:SkeletonOnly",
        "devise": "mmcl_bench.methods.zero_shot.devise:DeViSE",
        "logistic": "mmcl_bench.methods.logistic:Logistic",
        "chance": "mmcl_bench.methods.chance:Chance",
    },
)
