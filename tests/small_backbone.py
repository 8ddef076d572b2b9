"""A network for tests of what is built upon one: made, trained and stored in a third of the time of the smallest."""

from __future__ import annotations

from mmcl_bench.nn.blocks import Block
from mmcl_bench.nn.ctr_gcn import CTRGCN

SMALL = "ctr-gcn-small"
"""Its name in settings of methods, known where the fixture of that name is used."""


class SmallCTRGCN(CTRGCN):
    """CTR-GCN with two blocks."""

    name = SMALL
    summary = "for tests"
    blocks = (Block(16, stride=2), Block(16))
    topologies = 4
