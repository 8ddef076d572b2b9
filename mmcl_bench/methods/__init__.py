"""What is benchmarked. A method is a class with a ``name`` in a file of this folder, or of one in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcl_bench.core.registry import Registry, declared_in

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method

METHODS: Registry[type[Method]] = Registry("method", "mmcl_bench.methods", declared_in(__name__, __path__[0]))
