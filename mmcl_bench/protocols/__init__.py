"""The protocols: from a task and its data to what a method may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcl_bench.core.registry import Registry

if TYPE_CHECKING:
    from mmcl_bench.protocols.base import Protocol

PROTOCOLS: Registry[type[Protocol]] = Registry(
    "protocol",
    "mmcl_bench.protocols",
    {
        "supervised": "mmcl_bench.protocols.supervised:Supervised",
        "zero-shot": "mmcl_bench.protocols.zero_shot:ZeroShot",
        "transfer": "mmcl_bench.protocols.transfer:Transfer",
    },
)
"""One protocol a task family."""
