"""Networks, and nothing else: they know no data set.

A backbone is one file with a :class:`BackboneFamily` in it. Listing the names imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmcl_bench.core.registry import Registry

if TYPE_CHECKING:
    import torch

    from mmcl_bench.nn.backbone import Backbone
    from mmcl_bench.skeleton.layouts import Layout


class BuildBackbone(Protocol):
    """Makes a network for clips (N, C, T, V, M) whose initial weights are drawn from ``generator``."""

    def __call__(
        self,
        layout: Layout,
        n_classes: int,
        n_bodies: int = 2,
        in_channels: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Backbone: ...


@dataclass(frozen=True)
class BackboneFamily:
    """What a file of this package offers: a published network with settings of its own."""

    summary: str
    """One line: what sets it apart."""
    citation: str
    """Authors, title, where it was published, and its arXiv number."""
    build: BuildBackbone


BACKBONES: Registry[BackboneFamily] = Registry(
    "backbone",
    "mmcl_bench.backbones",
    {
        "ctr-gcn": "mmcl_bench.nn.ctr_gcn:CTR_GCN",
        "ctr-gcn-tiny": "mmcl_bench.nn.ctr_gcn:CTR_GCN_TINY",
        "ctrs-gcn": "mmcl_bench.nn.ctrs_gcn:CTRS_GCN",
        "ctrs-gcn-ms": "mmcl_bench.nn.ctrs_gcn:CTRS_GCN_MS",
        "hd-gcn": "mmcl_bench.nn.hd_gcn:HD_GCN",
        "hd-gcn-com1": "mmcl_bench.nn.hd_gcn:HD_GCN_COM1",
        "hd-gcn-com2": "mmcl_bench.nn.hd_gcn:HD_GCN_COM2",
        "shift-gcn": "mmcl_bench.nn.shift_gcn:SHIFT_GCN",
        "st-gcn": "mmcl_bench.nn.st_gcn:ST_GCN",
    },
)
