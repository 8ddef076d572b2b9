"""ST-GCN: the authors' graph, names and sizes, and a hand calculation of its graph convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmcl_bench.nn.blocks import PAPER_BLOCKS, Block
from mmcl_bench.nn.checkpoints import restore
from mmcl_bench.nn.st_gcn import STGCN, GraphConv, spatial_partition
from mmcl_bench.skeleton.layouts import KINECT_V2, LAYOUTS, Layout
from released import conv, norm, seeded


class SmallSTGCN(STGCN):
    blocks = (Block(8), Block(16, stride=2))


def released_shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of net/st_gcn.py and net/utils/tgcn.py of the authors' repository, for NTU RGB+D."""
    shapes = {"A": (3, 25, 25), **norm("data_bn", 75), **conv("fcn", n_classes, 256, 1, 1)}
    inside = 3
    for at, wide in enumerate([64] * 4 + [128] * 3 + [256] * 3):
        block = f"st_gcn_networks.{at}"
        shapes |= {f"edge_importance.{at}": (3, 25, 25), **conv(f"{block}.gcn.conv", 3 * wide, inside, 1, 1)}
        shapes |= norm(f"{block}.tcn.0", wide) | conv(f"{block}.tcn.2", wide, wide, 9, 1) | norm(f"{block}.tcn.3", wide)
        if at in (4, 7):
            shapes |= conv(f"{block}.residual.0", wide, inside, 1, 1) | norm(f"{block}.residual.1", wide)
        inside = wide
    return shapes


def test_names_and_shapes_of_the_released_checkpoints() -> None:
    state = STGCN(KINECT_V2, 60).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == released_shapes(60)


def test_size_of_the_authors_network() -> None:
    # Counted on net/st_gcn.py; the literature rounds it to 3.10 M.
    assert sum(parameter.numel() for parameter in STGCN(KINECT_V2, 60).parameters()) == 3_098_832


def test_a_checkpoint_brings_its_own_graph(tmp_path: Path) -> None:
    saved, loaded = SmallSTGCN(KINECT_V2, 5), SmallSTGCN(KINECT_V2, 5)
    saved.A.fill_(0.25)
    torch.save(saved.state_dict(), tmp_path / "released.pt")
    restore(loaded, tmp_path / "released.pt")
    assert (loaded.A == 0.25).all()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_joint_shares_itself_equally_among_those_it_touches(layout: Layout) -> None:
    graph = spatial_partition(layout)
    np.testing.assert_allclose(graph.sum((0, 1)), 1, rtol=1e-6)
    degree = np.bincount(np.array(layout.bone_pairs).flatten(), minlength=len(layout))
    np.testing.assert_allclose(np.diag(graph[0]), 1 / (degree + 1), rtol=1e-6)
    assert ((graph > 0).sum(0) <= 1).all()


def test_the_spatial_subsets_of_kinect_v2() -> None:
    own, further, nearer = spatial_partition(KINECT_V2)
    centre, neck, head = (KINECT_V2.index(joint) for joint in ("spine_shoulder", "neck", "head"))
    # The centre has four bones, the neck two.
    assert own[centre, centre] == pytest.approx(1 / 5)
    assert further[neck, centre] == pytest.approx(1 / 5)
    assert nearer[centre, neck] == pytest.approx(1 / 3)
    # The head lies beyond one bone of the centre and so counts as further than the neck.
    assert further[head, neck] == pytest.approx(1 / 3)
    assert nearer[neck, head] == pytest.approx(1 / 2)
    # Beyond that distances are not told apart.
    elbow, wrist = KINECT_V2.index("left_elbow"), KINECT_V2.index("left_wrist")
    assert further[wrist, elbow] == further[elbow, wrist] == pytest.approx(1 / 3)
    assert set(np.flatnonzero(nearer.sum(0))) == {
        at for at, _ in KINECT_V2.bone_pairs if _bones_from_the_centre(at) <= 2
    }


def _bones_from_the_centre(joint: int) -> int:
    bones = 0
    while KINECT_V2.joints[joint] != KINECT_V2.centre:
        joint, bones = int(KINECT_V2.parents[joint]), bones + 1
    return bones


def test_graph_convolution_by_hand() -> None:
    layer = GraphConv(1, 1, n_subsets=2)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([2.0, 10.0]).view(2, 1, 1, 1))
        layer.conv.bias.copy_(torch.tensor([0.0, 1.0]))
        x = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
        graph = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.5], [0.0, 0.0]]])
        # Joint 0 keeps 2 * 1; joint 1 has 2 * 3 and half of the second map of joint 0, 10 * 1 + 1.
        assert layer(x, graph).flatten().tolist() == [2.0, 11.5]


def test_bodies_share_the_normalisation_of_the_input() -> None:
    network = SmallSTGCN(KINECT_V2, 5, generator=seeded()).eval()
    with torch.no_grad():
        network.data_bn.running_mean.normal_(generator=seeded(1))
        x = torch.randn(2, 3, 8, 25, 2, generator=seeded(2))
        torch.testing.assert_close(network(x), network(x.flip(-1)))


def test_scores_are_the_pooled_feature_through_the_released_classifier() -> None:
    network = SmallSTGCN(KINECT_V2, 5, generator=seeded()).eval()
    feature = torch.randn(4, 16, generator=seeded(1))
    with torch.no_grad():
        expected = feature @ network.fcn.weight.flatten(1).T + network.fcn.bias
        torch.testing.assert_close(network.classify(feature), expected)


def test_dropout_acts_in_every_block_but_the_first() -> None:
    rates = [block.tcn[4].p for block in STGCN(KINECT_V2, 5, dropout=0.5).st_gcn_networks]
    assert rates == [0.0] + [0.5] * (len(PAPER_BLOCKS) - 1)
