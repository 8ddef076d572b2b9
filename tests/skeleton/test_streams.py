"""Streams equal loops over joints and frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcl_bench.core.errors import UserError
from mmcl_bench.skeleton.layouts import KINECT_V1, KINECT_V2, Layout
from mmcl_bench.skeleton.streams import STREAMS, stack

CTR_GCN_PAIRS = """
1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 22-23 21-21 23-8
24-25 25-12
"""
"""Joint and neighbour of each of the 25 bones, counted from 1: ``feeders/bone_pairs.py`` of Uason-Chen/CTR-GCN."""


def loops(joints: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    bones = np.zeros_like(joints)
    for child, parent in layout.bones:
        a, b = layout.joints.index(child), layout.joints.index(parent)
        bones[:, :, :, a] = joints[:, :, :, a] - joints[:, :, :, b]
    motions = {}
    for name, stream in {"joint": joints, "bone": bones}.items():
        motions[name] = np.zeros_like(stream)
        for t in range(stream.shape[2] - 1):
            motions[name][:, :, t] = stream[:, :, t + 1] - stream[:, :, t]
    return {"joint": joints, "bone": bones, "joint-motion": motions["joint"], "bone-motion": motions["bone"]}


def some_tracks(layout: Layout, *bodies: int) -> Tensor:
    return torch.randn(2, 3, 5, len(layout), *bodies, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bodies", [(), (2,)], ids=["tracks", "bodies last"])
@pytest.mark.parametrize("layout", [KINECT_V1, KINECT_V2], ids=lambda layout: layout.name)
def test_streams_equal_loops(layout: Layout, bodies: tuple[int, ...]) -> None:
    tracks = some_tracks(layout, *bodies)
    expected = loops(tracks.numpy(), layout)
    assert set(expected) == set(STREAMS)
    for name, stream in expected.items():
        np.testing.assert_array_equal(STREAMS[name](tracks, layout).numpy(), stream)


def test_bones_of_ntu_are_those_of_ctr_gcn() -> None:
    tracks = some_tracks(KINECT_V2)
    bones = STREAMS["bone"](tracks, KINECT_V2)
    pairs = [[int(number) - 1 for number in pair.split("-")] for pair in CTR_GCN_PAIRS.split()]
    assert sorted(joint for joint, _ in pairs) == list(range(25))
    for joint, neighbour in pairs:
        assert torch.equal(bones[..., joint], tracks[..., joint] - tracks[..., neighbour])


def test_stacked_streams_follow_each_other_as_channels() -> None:
    tracks = some_tracks(KINECT_V2)
    stacked = stack(tracks, ["bone", "joint-motion"], KINECT_V2)
    expected = loops(tracks.numpy(), KINECT_V2)
    np.testing.assert_array_equal(stacked[:, :3].numpy(), expected["bone"])
    np.testing.assert_array_equal(stacked[:, 3:].numpy(), expected["joint-motion"])


def test_bones_do_not_see_where_the_body_stands() -> None:
    tracks = some_tracks(KINECT_V1)
    moved = tracks + torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    torch.testing.assert_close(stack(tracks, ["bone"], KINECT_V1), stack(moved, ["bone"], KINECT_V1))


def test_an_unknown_stream_is_a_user_error_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="joint-motion"):
        stack(some_tracks(KINECT_V1), ["joint-motoin"], KINECT_V1)
