"""Strips: what is cut out of the frames, and how it is joined."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.video.decode import Sampled, middles
from mmcl_bench.video.projection import ProjectedSkeletons
from mmcl_bench.video.strips import (
    AroundDetected,
    AroundSkeleton,
    FirstThatCan,
    StripForm,
    WholeFrame,
    box_around,
    filled,
    make_strip,
    of_shape,
)
from videos import BLOCK, HEIGHT, WIDTH, walk, walker_left

FORM = StripForm(width=40, height=80)
N_FRAMES = 20


def sampled() -> Sampled:
    frames, numbers = walk(N_FRAMES), middles(N_FRAMES, 5)
    return Sampled([frames[number] for number in numbers], numbers, N_FRAMES)


def corners(number: int) -> np.ndarray:
    """Left top and right bottom of the walker."""
    left = walker_left(number, N_FRAMES)
    return np.array([[left, 20], [left + BLOCK[0], 20 + BLOCK[1]]], dtype=float)


class WalkerSkeletons(ProjectedSkeletons):
    """Places of the walker, of a sensor that saw every second frame, and him only for a while."""

    def __init__(self, seen: range) -> None:
        self.seen = seen

    def places(self, sample_id: str) -> list[np.ndarray] | None:
        if sample_id == "unknown":
            return None
        size = [WIDTH, HEIGHT]
        frames = [number * (N_FRAMES - 1) / 9 for number in range(10)]
        return [
            corners(round(number)) / size if at in self.seen else np.zeros((0, 2)) for at, number in enumerate(frames)
        ]


@dataclass(frozen=True)
class WalkerDetector:
    blind: frozenset[int] = frozenset()
    name: str = "walker"
    weight_hash: str = ""

    def detect(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        numbers = middles(N_FRAMES, len(frames)).tolist()
        return [
            np.zeros((0, 4)) if at in self.blind else corners(number).reshape(1, 4) for at, number in enumerate(numbers)
        ]


def crops(strip: bytes) -> np.ndarray:
    """(5, H, W, 3)"""
    pixels = np.asarray(Image.open(io.BytesIO(strip), formats=("JPEG",)))
    assert pixels.shape == (FORM.height, 5 * FORM.width, 3)
    return np.stack(np.split(pixels, 5, axis=1))


@pytest.mark.parametrize(
    ("cropper", "off"),
    # The walker takes 9 pixels of a crop a frame, and the sensor sees every second frame.
    [(AroundSkeleton(WalkerSkeletons(range(10))), 10), (AroundDetected(WalkerDetector()), 1)],
)
def test_the_person_is_in_the_middle_of_every_crop(cropper: AroundSkeleton, off: float) -> None:
    for crop in crops(make_strip("a", sampled(), cropper, FORM)):
        person = crop[..., 0] > 130
        rows, columns = np.flatnonzero(person.any(axis=1)), np.flatnonzero(person.any(axis=0))
        assert abs(columns.mean() - FORM.width / 2) <= off
        assert abs(rows.mean() - FORM.height / 2) < 3
        # The crop keeps the proportions of what it shows.
        assert abs(len(rows) / len(columns) - BLOCK[1] / BLOCK[0]) < 0.5
        assert len(rows) > FORM.height * 0.6


def test_a_frame_without_a_body_is_cut_where_the_nearest_one_was() -> None:
    frames = crops(make_strip("a", sampled(), AroundDetected(WalkerDetector(frozenset({2, 3, 4}))), FORM))
    assert (frames[1][..., 0] > 130).any()
    assert not (frames[4][..., 0] > 130).any(), "the walker has left the place where he was last seen"
    assert len(crops(make_strip("a", sampled(), AroundSkeleton(WalkerSkeletons(range(3))), FORM))) == 5


def test_a_clip_in_which_nobody_is_found_is_refused() -> None:
    for cropper in (AroundDetected(WalkerDetector(frozenset(range(5)))), AroundSkeleton(WalkerSkeletons(range(0)))):
        with pytest.raises(BadFile, match="shows nobody"):
            make_strip("a", sampled(), cropper, FORM)


def test_the_detector_is_asked_where_skeletons_cannot_say() -> None:
    both = FirstThatCan([AroundSkeleton(WalkerSkeletons(range(10))), AroundDetected(WalkerDetector())])
    alone = make_strip("a", sampled(), AroundSkeleton(WalkerSkeletons(range(10))), FORM)
    detected = make_strip("a", sampled(), AroundDetected(WalkerDetector()), FORM)
    assert make_strip("known", sampled(), both, FORM) == alone
    assert make_strip("unknown", sampled(), both, FORM) == detected != alone


def test_whole_frames_are_not_distorted() -> None:
    form = StripForm(width=48, height=64)
    strip = Image.open(io.BytesIO(make_strip("a", sampled(), WholeFrame(), form)))
    crop = np.asarray(strip)[:, :48]
    ground = np.flatnonzero(crop[:, :4].mean(axis=(1, 2)) > 10)
    assert len(ground) == 32, "96 x 64 pixels in a width of 48"
    assert abs(ground.mean() - 31.5) < 0.6


finite = st.floats(-500, 500)


@given(st.tuples(finite, finite), st.tuples(st.floats(0, 300), st.floats(0, 300)), st.floats(0.2, 5))
def test_a_box_of_a_shape_holds_the_box_and_has_its_middle(
    corner: tuple[float, float], size: tuple[float, float], ratio: float
) -> None:
    points = np.array([corner, (corner[0] + size[0], corner[1] + size[1])])
    box = box_around(points, 0.1)
    left, top, right, bottom = of_shape(box, ratio)
    assert (right - left) / (bottom - top) == pytest.approx(ratio)
    assert left <= box[0] + 1e-6
    assert top <= box[1] + 1e-6
    assert right >= box[2] - 1e-6
    assert bottom >= box[3] - 1e-6
    assert left + right == pytest.approx(box[0] + box[2], abs=1e-6)


def test_gaps_are_filled_by_the_nearest() -> None:
    one, other = (0.0, 0.0, 1.0, 1.0), (5.0, 5.0, 6.0, 6.0)
    assert filled([None, one, None, None, other]) == [one, one, one, other, other]
    assert filled([None, None]) is None
