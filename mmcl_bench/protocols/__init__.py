"""The protocols: from a task and its data to what a method may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcl_bench.core.registry import Registry, declared_in

if TYPE_CHECKING:
    from mmcl_bench.protocols.base import Protocol

PROTOCOLS: Registry[type[Protocol]] = Registry("protocol", "mmcl_bench.protocols", declared_in(__name__, __path__[0]))
"""One protocol a task family."""
