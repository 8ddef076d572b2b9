"""A network for tests of what is built upon one: made, trained and stored in a fraction of the time of the smallest."""

from __future__ import annotations

from mmcl_bench.nn.blocks import Block
from mmcl_bench.nn.st_gcn import STGCN

SMALL = "st-gcn-small"
"""Its name in settings of methods, known where the fixture of that name is used."""


class SmallSTGCN(STGCN):
    """ST-GCN with two blocks; one of CTR-GCN computes three times as long."""

    name = SMALL
    summary = "for tests"
    blocks = (Block(16, stride=2), Block(16))
