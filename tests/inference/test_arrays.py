"""Arrays of skeletons become clips of the layout that is named, or one line that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.inference.arrays import clips

JOINTS = 20
SOME = np.random.default_rng(0).normal(size=(4, 2, 9, JOINTS, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "bodies", "frames"),
    [
        (SOME[0, 0], [1], [9]),
        (SOME[:, 0], [1, 1, 1, 1], [9] * 4),
        (SOME, [2, 2, 2, 2], [9] * 4),
        ([SOME[0, 0], SOME[1, 0, :5], SOME[2]], [1, 1, 2], [9, 5, 9]),
        ([SOME[0, 0].tolist()], [1], [9]),
    ],
)
def test_every_shape_is_clips(given: Any, bodies: list[int], frames: list[int]) -> None:
    view = clips(given, "kinect-v1")
    assert [len(view.bodies(at)) for at in range(len(view))] == bodies
    assert view.n_frames.tolist() == frames
    np.testing.assert_array_equal(view.bodies(0)[0].positions, SOME[0, 0])


def test_an_absent_body_is_none_and_a_joint_that_was_not_seen_gets_a_place() -> None:
    positions = SOME[:1].copy()
    positions[0, 1] = 0
    positions[0, 0, 3, 7] = np.nan
    (body,) = clips(positions, "kinect-v1").bodies(0)
    # Between the frames before and after.
    np.testing.assert_allclose(body.positions[3, 7], (SOME[0, 0, 2, 7] + SOME[0, 0, 4, 7]) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SOME[0, 0, 0], r"an array of shape \(20, 3\); give \(frames, 20, 3\) or \(bodies, frames, 20, 3\)"),
        (SOME[..., :2], r"clip 0 has shape \(2, 9, 20, 2\)"),
        (SOME[:, :, :, :17], r"clip 0 has shape \(2, 9, 17, 3\)"),
        (SOME[:, :, :0], "clip 0 has shape"),
        (SOME[:0], "there is no clip"),
        ([SOME[0, 0], [[1.0], [2.0, 3.0]]], "clip 1 is no array of numbers"),
        ([SOME[0, 0], "walk"], "clip 1 is no array of numbers"),
        (SOME[0] * np.inf, "clip 0 has infinite numbers"),
        ([SOME[0, 0], SOME[0, 0] * 0], "clip 1 shows nobody"),
        (SOME[0] * np.nan, "clip 0 shows nobody"),
    ],
)
def test_what_is_no_clip_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        clips(given, "kinect-v1")
    assert "\n" not in str(error.value)


def test_an_unknown_layout_is_one_line_with_the_nearest_names() -> None:
    with pytest.raises(UserError, match=r"unknown layout 'kinect-v3'\. Did you mean kinect-v"):
        clips(SOME, "kinect-v3")
