"""Variation follows its generator, treats the bodies of a clip alike, and keeps what it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mmcl_bench.skeleton import augmentation
from mmcl_bench.skeleton.augmentation import (
    Compose,
    CropResize,
    Jitter,
    RandomFlip,
    RandomRotation,
    RandomScale,
    Transform,
)
from mmcl_bench.skeleton.layouts import KINECT_V1, Layout

CLIP = torch.tensor([5, 5, 6, 9])
"""Four tracks of three clips; the numbers of clips are arbitrary."""


def named(piece: Transform) -> str:
    return type(piece).__name__


PIECES: list[Transform] = [
    CropResize(8),
    RandomRotation(0.3, yaw=1.0),
    RandomScale(0.8, 1.2),
    RandomFlip(0.5, KINECT_V1),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tracks() -> Tensor:
    """(4, 3, 16, 20): smooth random motion; the two bodies of the first clip are equal."""
    positions = torch.randn(4, 3, 16, 20, generator=seeded(1)).cumsum(2)
    positions[1] = positions[0]
    return positions


def bone_lengths(tracks: Tensor, layout: Layout = KINECT_V1) -> Tensor:
    return (tracks - tracks[..., torch.from_numpy(layout.parents)]).norm(dim=1)


@pytest.mark.parametrize("piece", [*PIECES, Jitter(0.1), Compose(tuple(PIECES))], ids=named)
def test_a_piece_repeats_itself_for_a_seed_and_leaves_its_input_alone(piece: Transform, tracks: Tensor) -> None:
    before = tracks.clone()
    one, again, other = (piece(tracks, CLIP, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(tracks, before)


@pytest.mark.parametrize("piece", [*PIECES, Compose(tuple(PIECES))], ids=named)
def test_bodies_of_one_clip_are_varied_alike(piece: Transform, tracks: Tensor) -> None:
    varied = piece(tracks, CLIP, seeded(2))
    torch.testing.assert_close(varied[0], varied[1])


def test_jitter_is_of_its_own_for_every_body_and_has_its_deviation(tracks: Tensor) -> None:
    noise = Jitter(0.05)(torch.zeros(50, 3, 16, 20), torch.zeros(50, dtype=torch.int64), seeded())
    assert float(noise.std()) == pytest.approx(0.05, rel=0.02)
    assert not torch.equal(noise[0], noise[1])


def test_a_composition_is_one_piece_after_the_other_on_one_generator(tracks: Tensor) -> None:
    generator = seeded(7)
    expected = RandomScale(0.5, 2)(RandomRotation(0.3)(tracks, CLIP, generator), CLIP, generator)
    assert torch.equal(Compose((RandomRotation(0.3), RandomScale(0.5, 2)))(tracks, CLIP, seeded(7)), expected)
    assert Compose(())(tracks, CLIP, seeded()) is tracks


def test_rotation_keeps_bone_lengths(tracks: Tensor) -> None:
    turned = RandomRotation(0.3, yaw=3.0)(tracks, CLIP, seeded())
    assert not torch.allclose(turned, tracks, atol=0.01)
    torch.testing.assert_close(bone_lengths(turned), bone_lengths(tracks))


def test_tilt_stays_within_its_range() -> None:
    up = torch.zeros(200, 3, 1, 20)
    up[:, 1] = 1
    turned = RandomRotation(0.3)(up, torch.arange(200), seeded())
    # Two turns, about x and z, move the vertical by 0.3 rad each at most.
    assert 0.3 < float(torch.acos(turned[:, 1].clamp(-1, 1)).max()) <= 0.6


def test_scaling_stays_within_its_range(tracks: Tensor) -> None:
    ratio = (bone_lengths(RandomScale(0.5, 0.6)(tracks, CLIP, seeded())) / bone_lengths(tracks)).nan_to_num(0.55)
    assert 0.5 - 1e-4 <= float(ratio.min()) <= float(ratio.max()) <= 0.6 + 1e-4


def test_flipping_twice_is_the_identity_and_once_exchanges_sides(tracks: Tensor) -> None:
    flipped = augmentation.flip(tracks, KINECT_V1)
    left, right = KINECT_V1.index("left_hand"), KINECT_V1.index("right_hand")
    torch.testing.assert_close(flipped[:, 0, :, left], -tracks[:, 0, :, right])
    torch.testing.assert_close(flipped[:, 1:, :, left], tracks[:, 1:, :, right])
    torch.testing.assert_close(augmentation.flip(flipped, KINECT_V1), tracks)


def test_a_flip_has_its_probability() -> None:
    ones = torch.ones(2000, 3, 1, 20)
    flipped = RandomFlip(0.25, KINECT_V1)(ones, torch.arange(2000), seeded())
    assert float((flipped[:, 0, 0, 0] < 0).float().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (0.25, 0.8)])
def test_crops_equal_interpolation_by_numpy(tracks: Tensor, start: float, stop: float) -> None:
    found = augmentation.crop_resize(tracks[:1], torch.tensor([start]), torch.tensor([stop]), 9)
    expected = np.interp(np.linspace(15 * start, 15 * stop, 9), np.arange(16), tracks[0, 1, :, 4].numpy())
    np.testing.assert_allclose(found[0, 1, :, 4].numpy(), expected, atol=1e-5)


def test_a_crop_keeps_at_least_its_shortest_share() -> None:
    ramp = torch.linspace(0, 1, 101).view(1, 1, 101, 1).expand(400, 1, 101, 1)
    crops = CropResize(9, 0.5, 1.0)(ramp, torch.arange(400), seeded())[:, 0, :, 0]
    kept = crops[:, -1] - crops[:, 0]
    assert 0.5 - 1e-4 <= float(kept.min()) < 0.55
    assert 0.95 < float(kept.max()) <= 1 + 1e-4


def test_the_centre_crop_drops_as_much_on_either_side() -> None:
    ramp = torch.arange(11.0).view(1, 1, 11, 1)
    assert augmentation.centre_crop(ramp, 3, share=0.8).flatten().tolist() == pytest.approx([1, 5, 9], abs=1e-5)


def test_rotation_matrices_equal_scipys() -> None:
    angles = torch.randn(5, 3, generator=seeded())
    expected = Rotation.from_euler("xyz", angles.numpy()).as_matrix()
    np.testing.assert_allclose(augmentation.rotation_matrices(angles).numpy(), expected, atol=1e-6)
