"""Networks, and nothing else: they know no data set.

A backbone is a class with a ``name`` in a file of this folder. Listing the names imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcl_bench.core.registry import Registry, declared_in

if TYPE_CHECKING:
    from mmcl_bench.nn.backbone import Backbone

BACKBONES: Registry[type[Backbone]] = Registry("backbone", "mmcl_bench.backbones", declared_in(__name__, __path__[0]))
