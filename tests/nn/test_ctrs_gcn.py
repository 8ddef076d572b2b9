"""CTRS-GCN: the authors' names and sizes, and its static topologies against the plain formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mmcl_bench.nn.ctr_gcn import CTRGCN
from mmcl_bench.nn.ctrs_gcn import CTRSGCN, MultiScaleCTRSGCN, StaticSpatialConv, l2_normalised
from mmcl_bench.skeleton.layouts import KINECT_V2
from released import conv, norm, seeded


def released_shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of zero_shot/model/ctrsgcn.py of liujf69/MMCL-Action, for NTU RGB+D."""
    shapes = norm("data_bn", 150) | conv("fc", n_classes, 256)
    inside = 3
    for at, wide in enumerate([64] * 4 + [128] * 3 + [256] * 3, start=1):
        shapes |= {f"l{at}.gcn1.PA": (3, 25, 25)} | norm(f"l{at}.gcn1.bn", wide)
        for subset in range(3):
            shapes |= conv(f"l{at}.gcn1.conv_d.{subset}", wide, inside, 1, 1)
        shapes |= conv(f"l{at}.tcn1.conv", wide, wide, 5, 1) | norm(f"l{at}.tcn1.bn", wide)
        if inside != wide:
            shapes |= conv(f"l{at}.gcn1.down.0", wide, inside, 1, 1) | norm(f"l{at}.gcn1.down.1", wide)
        if at in (5, 8):
            shapes |= conv(f"l{at}.residual.conv", wide, inside, 1, 1) | norm(f"l{at}.residual.bn", wide)
        inside = wide
    return shapes


def test_names_and_shapes_of_the_released_checkpoints() -> None:
    state = CTRSGCN(KINECT_V2, 60).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == released_shapes(60)


def test_size_of_the_authors_network() -> None:
    # Counted on model/baseline.py of Uason-Chen/CTR-GCN with 60 classes.
    assert sum(parameter.numel() for parameter in CTRSGCN(KINECT_V2, 60).parameters()) == 2_092_902


def test_the_multi_scale_form_has_the_temporal_branches_of_ctr_gcn() -> None:
    def temporal(network: nn.Module) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in network.state_dict().items() if ".tcn1." in name}

    assert temporal(MultiScaleCTRSGCN(KINECT_V2, 5)) == temporal(CTRGCN(KINECT_V2, 5))


def test_columns_of_a_topology_are_divided_by_their_length() -> None:
    found = l2_normalised(torch.tensor([[[3.0, 0.0], [4.0, 2.0]]]))
    np.testing.assert_allclose(found[0], [[3 / 5.0001, 0], [4 / 5.0001, 2 / 2.0001]], rtol=1e-6)
    assert l2_normalised(torch.zeros(1, 2, 2)).abs().max() == 0


def test_topologies_start_as_self_links() -> None:
    assert torch.equal(CTRSGCN(KINECT_V2, 5).l3.gcn1.PA, torch.eye(25).expand(3, 25, 25))


def test_spatial_convolution_equals_its_sum_over_topologies() -> None:
    layer = StaticSpatialConv(4, 6, n_topologies=3, n_joints=5).eval()
    x = torch.randn(2, 4, 5, 7, generator=seeded())
    with torch.no_grad():
        layer.PA.normal_(generator=seeded(1))
        expected = torch.zeros(2, 6, 5, 7)
        for topology, map_of in zip(layer.PA, layer.conv_d, strict=True):
            columns = topology / (topology.norm(dim=0) + 1e-4)
            for joint in range(5):
                gathered = sum(columns[other, joint] * x[:, :, other] for other in range(5))
                expected[:, :, joint] += map_of(gathered.unsqueeze(2)).squeeze(2)
        torch.testing.assert_close(layer(x), torch.relu(layer.bn(expected) + layer.down(x)))
