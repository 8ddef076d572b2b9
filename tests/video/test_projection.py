"""Where ``.skeleton`` files say that bodies are in the colour image."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.writers.ntu_skeleton import skeleton_text
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.video.projection import ProjectedSkeletons, colour_places


def body(start: int, n_frames: int, x: float = 0.0) -> BodyTrack:
    """A synthetic column of joints two metres away, ``x`` metres to the camera's side."""
    positions = np.zeros((n_frames, 25, 3), dtype=np.float32)
    positions[..., 0] = x
    positions[..., 1] = np.linspace(-0.5, 0.5, 25)
    positions[..., 2] = 2
    return BodyTrack(start, positions)


def test_places_are_those_of_the_camera_s_geometry() -> None:
    places = colour_places(skeleton_text(3, [body(1, 2, x=0.5)]))
    assert [len(frame) for frame in places] == [0, 25, 25]
    # Kinect v2's colour camera sees 84.1 degrees across: 0.5 m aside in 2 m is tan = 0.25 of half the width.
    across = 0.5 + 0.25 / np.tan(np.radians(84.1 / 2)) / 2
    np.testing.assert_allclose(places[1][:, 0], across, atol=1e-4)
    upright = 0.5 - np.linspace(-0.25, 0.25, 25) / np.tan(np.radians(53.8 / 2)) / 2
    np.testing.assert_allclose(places[1][:, 1], upright, atol=1e-4)


def test_a_body_that_is_seen_for_a_moment_is_taken_for_furniture() -> None:
    places = colour_places(skeleton_text(10, [body(0, 10), body(4, 2, x=0.8)]))
    assert [len(frame) for frame in places] == [25] * 10
    both = colour_places(skeleton_text(10, [body(0, 10), body(2, 8, x=0.8)]))
    assert [len(frame) for frame in both] == [25] * 2 + [50] * 8


def test_joints_without_a_place_are_left_out() -> None:
    unseen = body(0, 1)
    unseen.positions[0, 3:, 2] = 0.01  # nearer than any camera sees; the files then say 0 0
    text = skeleton_text(1, [unseen])
    assert len(colour_places(text)[0]) == 3
    words = text.split()
    words[2 + 10 + 1 + 5] = b"nan"
    assert len(colour_places(b" ".join(words))[0]) == 2


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"2\n1\n", skeleton_text(2, [body(0, 2)])[:-200], b"1\n1\n" + b"0 " * 10 + b"-5"]
)
def test_text_of_another_form_is_refused(content: bytes) -> None:
    with pytest.raises(BadFile):
        colour_places(content)


def test_files_are_found_in_a_zip_by_sample_id(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "skeletons.zip", "w") as zipped:
        zipped.writestr("nturgb+d_skeletons/S001C001P001R001A001.skeleton", skeleton_text(4, [body(0, 4)]))
    with ProjectedSkeletons.open(tmp_path / "skeletons.zip") as skeletons:
        assert len(skeletons.places("S001C001P001R001A001") or []) == 4
        assert skeletons.places("S001C001P001R001A002") is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no \.skeleton file"), ProjectedSkeletons.open(tmp_path / "empty"):
        pass
