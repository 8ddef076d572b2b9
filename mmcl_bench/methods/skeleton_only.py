"""The skeleton network alone: what co-learning is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch

from mmcl_bench.methods.mmcl import TeacherSettings
from mmcl_bench.methods.shared.network_method import NetworkMethod
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.protocols.problem import ClassTable
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout


class SkeletonOnlySettings(TeacherSettings, NetworkSettings):
    """MMCL's with its teachers off; the teachers' settings remain, as they are part of the hashes of stored jobs."""

    fam: Literal[False] = False
    frm: Literal[False] = False


class SkeletonOnly(NetworkMethod):
    """MMCL's network and schedule without its teachers."""

    name: ClassVar[str] = "skeleton-only"
    summary: ClassVar[str] = "CTR-GCN alone: MMCL without FAM and FRM"
    cost: ClassVar[str] = "minutes"
    version: ClassVar[int] = 3
    Settings = SkeletonOnlySettings

    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> SkeletonNetwork:
        return SkeletonNetwork(self.settings, layout, classes, generator)
