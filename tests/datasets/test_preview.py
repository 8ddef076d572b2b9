"""Pictures of a clip: every frame in the GIF, evenly spaced poses in the strip, names drawn as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from mmcl_bench.datasets import preview as previewing
from mmcl_bench.datasets.preview import Preview, file_stem, preview, write_gif, write_strip
from mmcl_bench.datasets.store import Clip, SkeletonDataset
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.drawing import BODY_COLOURS, standing_pose
from mmcl_bench.skeleton.layouts import KINECT_V1
from prepared import write_dataset
from toys import tiny_card

CARD = tiny_card(name="acted", classes=("walk $\\frac{", "wave\x1b[31m 手"), sides={}, default_side="", frame_rate=25.0)
FIRST, SECOND = BODY_COLOURS[:2]


def walker(n_frames: int, x: float = 0.0, speed: float = 0.02) -> np.ndarray:
    """(T, 20, 3): someone who slides to the right, 3 m away."""
    place = np.tile([x, -1.0, 3.0], (n_frames, 1, 1))
    place[..., 0] += speed * np.arange(n_frames)[:, None]
    return (standing_pose(KINECT_V1) + place).astype(np.float32)


def dataset_of(folder: Path, *bodies: BodyTrack, n_frames: int, label: int = 0, **card: object) -> SkeletonDataset:
    clip = Clip("a/b", label, 1, n_frames, bodies)
    return write_dataset(folder / "acted", [clip], 20, CARD.model_copy(update=card))


def gif_of(clip: Preview, folder: Path) -> Image.Image:
    write_gif(clip, folder / "clip.gif")
    return Image.open(folder / "clip.gif")


def has_colour(picture: Image.Image, colour: str) -> bool:
    wanted = np.round(255 * np.array(to_rgb(colour)))
    return bool((np.abs(np.asarray(picture.convert("RGB")) - wanted).max(-1) < 4).any())


def without_key(picture: Image.Image) -> Image.Image:
    """The picture without the title above and the key of colours below."""
    return picture.convert("RGB").crop((0, 60, picture.width, picture.height - 45))


def test_a_gif_has_every_frame_at_the_speed_of_the_set_and_loops(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, BodyTrack(0, walker(12)), n_frames=12)
    gif = gif_of(preview(dataset, 0), tmp_path)
    assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (12, 40, 0)


@pytest.mark.parametrize(
    ("n_frames", "rate", "pictures", "duration"),
    [(310, 30.0, 104, 100), (24, 120.0, 8, 20), (6, None, 6, 70)],
)
def test_long_and_fast_clips_are_thinned_and_keep_their_time(
    tmp_path: Path, n_frames: int, rate: float | None, pictures: int, duration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previewing, "_DPI", 20)
    dataset = dataset_of(tmp_path, BodyTrack(0, walker(n_frames)), n_frames=n_frames, frame_rate=rate)
    gif = gif_of(preview(dataset, 0), tmp_path)
    assert (gif.n_frames, gif.info["duration"]) == (pictures, duration)


def test_bodies_have_colours_of_their_own_while_they_are_there(tmp_path: Path) -> None:
    bodies = BodyTrack(0, walker(6)), BodyTrack(3, walker(3, x=2.0))
    gif = gif_of(preview(dataset_of(tmp_path, *bodies, n_frames=6), 0), tmp_path)
    gif.seek(0)
    alone = without_key(gif)
    gif.seek(4)
    together = without_key(gif)
    assert all(has_colour(alone, colour) for colour in FIRST[:2])
    assert not any(has_colour(alone, colour) for colour in SECOND[:2])
    assert all(has_colour(together, colour) for colour in (*FIRST[:2], *SECOND[:2]))


def test_a_metre_is_as_long_up_as_across(tmp_path: Path) -> None:
    clip = preview(dataset_of(tmp_path, BodyTrack(0, walker(40, speed=0.05)), n_frames=40), 0)
    figure = previewing._figure(clip, 3.0 * clip.extent.aspect, 3.0)
    axes = previewing._axes(figure, clip, 0.1, 3.0 * clip.extent.aspect, 3.0)
    (x0, y0), (x1, y1) = axes.transData.transform([(0.0, 0.0), (1.0, 1.0)])
    assert x1 - x0 == pytest.approx(y1 - y0)


def test_all_joints_are_in_sight_in_all_frames(tmp_path: Path) -> None:
    clip = preview(dataset_of(tmp_path, BodyTrack(0, walker(40)), n_frames=40), 0)
    joints = np.concatenate([positions for pose in clip.poses for _, positions in pose])
    assert clip.extent.left < joints[:, 0].min() < joints[:, 0].max() < clip.extent.right
    assert clip.extent.bottom < joints[:, 1].min() < joints[:, 1].max() < clip.extent.top


def test_a_joint_that_jumps_away_leaves_the_person_in_sight(tmp_path: Path) -> None:
    positions = walker(10)
    positions[4, 7] = (90.0, -90.0, 90.0)
    extent = preview(dataset_of(tmp_path, BodyTrack(0, positions), n_frames=10), 0).extent
    assert extent.right - extent.left < 8
    assert extent.top - extent.bottom < 8


def test_the_view_is_turned_about_the_vertical(tmp_path: Path) -> None:
    positions = walker(2)
    clip = preview(dataset_of(tmp_path, BodyTrack(0, positions), n_frames=2), 0)
    turn = math.radians(15)
    expected = positions[0, :, 0] * math.cos(turn) + positions[0, :, 2] * math.sin(turn)
    np.testing.assert_allclose(clip.poses[0][0][1][:, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(clip.poses[0][0][1][:, 1], positions[0, :, 1])


def test_key_points_of_images_are_not_turned(tmp_path: Path) -> None:
    positions = walker(2)
    clip = preview(dataset_of(tmp_path, BodyTrack(0, positions), n_frames=2, unit="image"), 0)
    np.testing.assert_array_equal(clip.poses[0][0][1], positions[0])


def test_frames_without_anybody_are_drawn_empty_and_left_out_of_the_strip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = walker(20)
    positions[5:] = 0
    clip = preview(dataset_of(tmp_path, BodyTrack(0, positions), n_frames=20), 0)
    drawn: list[int] = []
    monkeypatch.setattr(previewing, "_draw", lambda axes, clip, frame: drawn.append(frame))
    write_strip(clip, 3, tmp_path / "strip.png")
    assert drawn == [0, 2, 4]
    assert [len(pose) for pose in clip.poses] == [1] * 5 + [0] * 15


@pytest.mark.parametrize(("n_frames", "n_poses", "expected"), [(20, 4, 4), (3, 8, 3), (1, 8, 1)])
def test_a_strip_has_as_many_poses_as_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_frames: int, n_poses: int, expected: int
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(previewing, "_draw", lambda axes, clip, frame: drawn.append(frame))
    clip = preview(dataset_of(tmp_path, BodyTrack(0, walker(n_frames)), n_frames=n_frames), 0)
    write_strip(clip, n_poses, tmp_path / "strip.png")
    assert len(drawn) == expected
    assert (drawn[0], drawn[-1]) == (0, n_frames - 1)
    assert Image.open(tmp_path / "strip.png").width <= 1700


def test_names_are_drawn_as_they_are(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    dataset = dataset_of(tmp_path, BodyTrack(0, walker(2)), n_frames=2, label=1)
    clip = preview(dataset, 0)
    assert clip.title == ("wave?[31m 手 (synthetic)", "acted a/b")
    mathematics = replace(clip, title=("walk $\\frac{", "x" * 46))
    for each in (clip, mathematics):
        write_gif(each, tmp_path / "clip.gif")
        write_strip(each, 2, tmp_path / "strip.png")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, BodyTrack(0, walker(2)), n_frames=2, classes=("long " * 40, "b"))
    assert len(preview(dataset, 0).title[0]) < 60


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    clip = preview(dataset_of(tmp_path, BodyTrack(0, walker(3)), n_frames=3), 0)
    for name in ("one", "two"):
        write_gif(clip, tmp_path / f"{name}.gif")
        write_strip(clip, 2, tmp_path / f"{name}.png")
    for suffix in ("gif", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize("sample_id", ["../../etc/passwd", "a\\b:c", "..", "", "x" * 500, "\0", "手/手", ".hidden"])
def test_no_sample_id_leads_out_of_its_folder(sample_id: str, tmp_path: Path) -> None:
    stem = file_stem("nw-ucla", sample_id)
    assert (tmp_path / stem).resolve().parent == tmp_path.resolve()
    assert stem.startswith("nw-ucla-")
    assert len(stem) <= 120
    (tmp_path / f"{stem}.gif").write_bytes(b"")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("mark", [np.nan, 0.0])
def test_a_joint_that_was_not_seen_is_not_drawn_and_does_not_move_the_view(mark: float, tmp_path: Path) -> None:
    positions = walker(12)
    whole = preview(dataset_of(tmp_path / "whole", BodyTrack(0, positions), n_frames=12), 0)
    positions[:, KINECT_V1.index("spine")] = mark
    positions[4] = mark
    part = preview(dataset_of(tmp_path / "part", BodyTrack(0, positions), n_frames=12), 0)
    assert part.extent == whole.extent
    assert [len(pose) for pose in part.poses] == [int(frame != 4) for frame in range(12)]
    assert np.isnan(part.poses[0][0][1]).any(1).sum() == 1
    assert gif_of(part, tmp_path).n_frames == 12
    write_strip(part, 3, tmp_path / "strip.png")


@pytest.mark.parametrize("speed", [0.02, 0.031, 0.047, 0.083, 0.111])
@pytest.mark.parametrize("n_poses", [3, 7, 8, 11])
def test_a_strip_of_any_width_is_not_sheared(speed: float, n_poses: int, tmp_path: Path) -> None:
    clip = preview(dataset_of(tmp_path, BodyTrack(0, walker(24, speed=speed)), n_frames=24), 0)
    write_strip(clip, n_poses, tmp_path / "clip.png")
    picture = Image.open(tmp_path / "clip.png").convert("RGB")
    # The word "left" stands in the lower left corner and nowhere else in its rows.
    key = np.asarray(picture)[-30:-8]
    assert (key[:, :12] > 250).all()
    assert (key[:, 13:45] < 200).any()
    assert (key[:, 90:] > 250).all()
