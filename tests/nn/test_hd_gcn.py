"""HD-GCN: parity with the authors' network, their hierarchies, and hierarchies of other layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.nn.blocks import Block
from mmcl_bench.nn.checkpoints import restore
from mmcl_bench.nn.hd_gcn import (
    HDGCN,
    MOST_LEVELS,
    CentreOfMass,
    EdgeConv,
    HierarchyAttention,
    centre_joints,
    edge_convolutions,
    hierarchical_graph,
    joint_levels,
)
from mmcl_bench.skeleton.layouts import COCO_17, H36M_17, HDM05, KINECT_V2, LAYOUTS, OPENPOSE_18, Layout

CENTRES: tuple[CentreOfMass, ...] = (1, 2, 21)

# Joints in Kinect-v2 numbers from one on, level by level: graph/tools.py of the authors' repository Jho-Yonsei/HD-GCN.
PUBLISHED_LEVELS = {
    1: [{1}, {2, 13, 17}, {14, 18, 21}, {3, 5, 9, 15, 19}, {4, 6, 10, 16, 20}, {7, 11}, {8, 12, 22, 23, 24, 25}],
    2: [{2}, {1, 21}, {13, 17, 3, 5, 9}, {14, 18, 4, 6, 10}, {15, 19, 7, 11}, {16, 20, 8, 12}, {22, 23, 24, 25}],
    21: [{21}, {2, 3, 5, 9}, {4, 6, 10, 1}, {7, 11, 13, 17}, {8, 12, 14, 18}, {22, 23, 24, 25, 15, 19}, {16, 20}],
}


class SmallHDGCN(HDGCN):
    blocks = (Block(8), Block(16, stride=2))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "hd_gcn_com21_ntu.safetensors")


@pytest.fixture(scope="module")
def released(vectors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix("weights."): v for k, v in vectors.items() if k.startswith("weights.")}


def test_logits_equal_the_authors_network(vectors: dict[str, Tensor], released: dict[str, Tensor]) -> None:
    network = HDGCN(KINECT_V2, 60).eval()
    network.load_state_dict(released)
    with torch.no_grad():
        error = (network(vectors["input"]) - vectors["logits"]).abs().max()
    assert error < 1e-5 * vectors["logits"].abs().max()


def test_a_released_checkpoint_is_restored_and_saved_under_its_own_names(
    released: dict[str, Tensor], tmp_path: Path
) -> None:
    network = HDGCN(KINECT_V2, 60)
    torch.save({f"module.{name}": tensor for name, tensor in released.items()}, tmp_path / "joint_com_21.pt")
    restore(network, tmp_path / "joint_com_21.pt")
    saved = network.state_dict()
    assert saved.keys() == released.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in released.items())


def test_the_branches_that_have_two_names_are_one_module_and_two_tensors_on_disk() -> None:
    network = SmallHDGCN(KINECT_V2, 5)
    assert network.l1.gcn1.conv_d is network.l1.gcn1.conv[5]
    state = network.state_dict()
    twice = "l1.gcn1.conv_d.0.0.weight", "l1.gcn1.conv.5.0.0.weight"
    assert len({state[name].data_ptr() for name in twice}) == 2
    assert [name for name, _ in network.named_parameters() if ".conv_d." in name] == []


def test_size_of_the_authors_network() -> None:
    # Counted on model/HDGCN.py of Jho-Yonsei/HD-GCN with 60 classes; on 120 the paper rounds it to 1.68 M.
    assert sum(parameter.numel() for parameter in HDGCN(KINECT_V2, 60).parameters()) == 1_659_980


@pytest.mark.parametrize("centre", CENTRES)
def test_levels_of_kinect_v2_are_the_published_ones(centre: CentreOfMass) -> None:
    assert [{joint + 1 for joint in level} for level in joint_levels(KINECT_V2, centre)] == PUBLISHED_LEVELS[centre]


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_levels_part_the_joints_of_any_layout(layout: Layout, centre: CentreOfMass) -> None:
    levels = joint_levels(layout, centre)
    assert sorted(joint for level in levels for joint in level) == list(range(len(layout)))
    assert 4 <= len(levels) <= MOST_LEVELS
    assert levels[0] == {layout.index(joint) for joint in centre_joints(layout, centre)}
    depth = {joint: at for at, level in enumerate(levels) for joint in level}
    assert all(depth[left] == depth[right] for left, right in _mirrored(layout))


def _mirrored(layout: Layout) -> list[tuple[int, int]]:
    return [(layout.index(left), layout.index(right)) for left, right in layout.mirrored]


@pytest.mark.parametrize(
    ("layout", "centre", "joints"),
    [
        (KINECT_V2, 2, {"spine_mid"}),
        (H36M_17, 21, {"thorax"}),
        (H36M_17, 2, {"spine"}),
        (H36M_17, 1, {"pelvis"}),
        (COCO_17, 2, {"left_shoulder", "right_shoulder"}),
        (OPENPOSE_18, 2, {"left_hip", "right_hip"}),
        (HDM05, 2, {"lower_back"}),
    ],
)
def test_centres_of_other_layouts(layout: Layout, centre: CentreOfMass, joints: set[str]) -> None:
    assert centre_joints(layout, centre) == joints


def test_other_centres_are_refused() -> None:
    with pytest.raises(ValueError, match=r"centre of mass 3: it is 1 \(hip\), 2 \(belly\) or 21 \(chest\)"):
        joint_levels(KINECT_V2, 3)  # type: ignore[arg-type]


def test_a_hierarchy_links_every_joint_of_two_neighbouring_levels() -> None:
    graph = hierarchical_graph([frozenset({2}), frozenset({0, 1}), frozenset({3})], 4)
    own, outward, inward = graph[0]
    np.testing.assert_array_equal(own, np.diag([1, 1, 1, 0]))
    # Joint 2 is taken by the two outer joints, half each; each outer joint is taken whole by joint 2.
    np.testing.assert_array_equal(outward, [[0, 0, 0.5, 0], [0, 0, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(inward, [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(graph[1][2], [[0, 0, 0, 0.5], [0, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_edge_convolution_takes_the_best_of_the_nearest_points() -> None:
    conv = EdgeConv(1, n_neighbours=2).eval()
    with torch.no_grad():
        # Twice the difference to the neighbour, plus the point itself.
        conv.conv[0].weight.copy_(torch.tensor([2.0, 1.0]).view(1, 2, 1, 1))
        found = edge_convolutions([conv], torch.tensor([0.0, 1.0, 3.0, -9.0]).view(1, 1, 1, 4)).flatten()
    # A point has itself (no difference) and the nearest other: 0 -> 1, 1 -> 0, 3 -> 1, -9 -> 0; leaky below zero.
    expected = np.array([2.0, 1.0, 3.0, 9.0]) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_edge_convolutions_of_several_hierarchies_are_each_its_own() -> None:
    convs = [EdgeConv(4, n_neighbours=3).eval() for _ in range(3)]
    x = torch.randn(2, 3, 4, 7, generator=seeded())
    with torch.no_grad():
        together = edge_convolutions(convs, x)
        for at, conv in enumerate(convs):
            torch.testing.assert_close(together[:, at], edge_convolutions([conv], x[:, at : at + 1])[:, 0])


def test_attention_weighs_hierarchies_between_none_and_all() -> None:
    levels = joint_levels(KINECT_V2)
    attention = HierarchyAttention(16, levels, 25).eval()
    peaks = torch.rand(2, len(levels) - 1, 16, 25, generator=seeded())
    with torch.no_grad():
        weights = attention(peaks)
        attention.aggregate.weight.zero_()
        attention.aggregate.bias.zero_()
        torch.testing.assert_close(attention(peaks), torch.full((2, len(levels) - 1, 16), 0.5))
    assert weights.shape == (2, len(levels) - 1, 16)
    assert ((weights > 0) & (weights < 1)).all()


def test_the_dense_path_exports_for_any_number_of_clips() -> None:
    network = SmallHDGCN(COCO_17, 5, generator=seeded()).eval()
    network.forward = lambda x: network.classify(network.dense_feature(x))  # type: ignore[method-assign]
    x = torch.randn(3, 3, 6, 17, 2, generator=seeded())
    with torch.no_grad():
        program = torch.export.export(network, (x[:2],), dynamic_shapes={"x": {0: torch.export.Dim("clips")}})
        torch.testing.assert_close(program.module()(x), network(x))
