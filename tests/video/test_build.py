"""Making the strips of a data set: where videos are found, what is named, and that a stopped run goes on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from feature_inputs import write_videos
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets import parts, store
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.video import build
from mmcl_bench.video.build import VideoSource, build_strips
from mmcl_bench.video.files import VideoFiles
from mmcl_bench.video.strips import StripForm
from toys import write_toy

SMALL = StripForm(24, 16)
STRETCH = 12


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (build, parts, store):
        monkeypatch.setattr(module, "IMAGES_A_GROUP", STRETCH)


@pytest.fixture
def dataset(tmp_path: Path) -> SkeletonDataset:
    """27 synthetic clips: three stretches."""
    write_toy(tmp_path / "data", "utd-mhad", 27, 1, 1)
    return again(tmp_path)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_videos(folder, [f"a{label:02d}_s01_v01" for label in range(27)])
    return folder


def again(tmp_path: Path) -> SkeletonDataset:
    return SkeletonDataset.open(tmp_path / "data" / "utd-mhad")


def strips(dataset: SkeletonDataset) -> list[bytes | None]:
    return list(dataset.images(range(len(dataset.index))))


def linked(videos: Path, folder: Path) -> Path:
    """A copy of the videos that may be changed."""
    folder.mkdir()
    for path in videos.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def test_strips_are_the_same_for_any_number_of_processes_and_wherever_videos_lie(
    dataset: SkeletonDataset, videos: Path, tmp_path: Path
) -> None:
    zips = tmp_path / "zips"
    zips.mkdir()
    with zipfile.ZipFile(zips / "one.zip", "w") as one, zipfile.ZipFile(zips / "two.zip", "w") as two:
        for at, path in enumerate(sorted(videos.iterdir())):
            (one if at % 2 else two).write(path, f"nturgb+d_rgb/{path.name}")
    build_strips(dataset, VideoSource(videos, form=SMALL), workers=1)
    first = again(tmp_path)
    assert len(set(strips(first))) > 20
    build_strips(first, VideoSource(zips, pattern="{sample_id}_rgb.avi", form=SMALL), workers=2)
    assert again(tmp_path).card.fingerprint == first.card.fingerprint
    assert not list((tmp_path / "data").glob(".utd-mhad.strips"))


def test_the_same_videos_are_not_decoded_twice(
    dataset: SkeletonDataset, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_strips(dataset, VideoSource(videos, form=SMALL), workers=1)
    with monkeypatch.context() as patched:
        patched.setattr(build, "sample_evenly", _never)
        build_strips(again(tmp_path), VideoSource(videos, form=SMALL), workers=1)
        with pytest.raises(AssertionError, match="decoded again"):
            build_strips(again(tmp_path), VideoSource(videos, form=StripForm(16, 16)), workers=1)


def _never(*_: object) -> None:
    raise AssertionError("a video was decoded again")


def test_a_stopped_run_goes_on_and_ends_with_the_same_strips(
    dataset: SkeletonDataset, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = build.make_strip

    def stop_after(count: int) -> None:
        def make(sample_id: str, *rest: object) -> bytes:
            if len(made) == count:
                raise KeyboardInterrupt
            made.append(sample_id)
            return real(sample_id, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(build, "make_strip", make)

    stop_after(20)
    with pytest.raises(KeyboardInterrupt):
        build_strips(dataset, VideoSource(videos, form=SMALL), workers=1)
    assert again(tmp_path).card == dataset.card
    stop_after(-1)
    build_strips(dataset, VideoSource(videos, form=SMALL), workers=1)
    assert len(made) == 20 + 27 - STRETCH, "the first stretch was whole"
    resumed = strips(again(tmp_path))
    write_toy(tmp_path / "other" / "data", "utd-mhad", 27, 1, 1)
    other = again(tmp_path / "other")
    build_strips(other, VideoSource(videos, form=SMALL), workers=1)
    assert strips(again(tmp_path / "other")) == resumed


def test_clips_without_a_video_are_named_before_anything_is_decoded(
    dataset: SkeletonDataset, videos: Path, tmp_path: Path
) -> None:
    some = linked(videos, tmp_path / "some")
    for name in ("a00_s01_v01", "a03_s01_v01"):
        (some / f"{name}_rgb.avi").unlink()
    with pytest.raises(UserError, match=r"2 of 27 clips have no video: a00_s01_v01, a03_s01_v01; .*--skip-bad"):
        build_strips(dataset, VideoSource(some, form=SMALL), workers=1)


def test_bad_videos_are_named_or_left_out_and_a_mended_one_is_the_only_one_made_again(
    dataset: SkeletonDataset, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = linked(videos, tmp_path / "some")
    bad = some / "a26_s01_v01_rgb.avi"
    bad.unlink()
    bad.write_bytes(b"no video")
    (some / "a01_s01_v01_rgb.avi").unlink()
    with pytest.raises(UserError, match="no video: a01_s01_v01"):
        build_strips(dataset, VideoSource(some, form=SMALL), workers=1)
    addition = build_strips(dataset, VideoSource(some, form=SMALL), skip_bad=True, workers=1)
    assert addition.n_clips == 25
    assert addition.lacking["a01_s01_v01"] == "has no video"
    assert addition.lacking["a26_s01_v01"].startswith("is no video")
    assert strips(again(tmp_path)).count(None) == 2
    assert again(tmp_path).card.addition("strips") == addition
    (some / "a01_s01_v01_rgb.avi").hardlink_to(videos / "a01_s01_v01_rgb.avi")
    with pytest.raises(UserError, match="the video of a26_s01_v01 is no video"):
        build_strips(again(tmp_path), VideoSource(some, form=SMALL), workers=1)
    bad.unlink()
    bad.hardlink_to(videos / bad.name)
    decoded: list[object] = []
    real = build.sample_evenly
    monkeypatch.setattr(build, "sample_evenly", lambda *given: decoded.append(given) or real(*given))
    build_strips(again(tmp_path), VideoSource(some, form=SMALL), workers=1)
    assert len(decoded) == 27 - 2 * STRETCH, "the stretches that were whole are kept"
    assert strips(again(tmp_path)).count(None) == 0


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{sample_id}.mp4", "holds no video of a clip such as a00_s01_v01; it holds a00_s01_v01_rgb.avi"),
        ("videos_rgb.avi", "has no {sample_id} in it"),
    ],
)
def test_a_wrong_pattern_is_one_line(dataset: SkeletonDataset, videos: Path, pattern: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_strips(dataset, VideoSource(videos, pattern), workers=1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_videos_of_a_clip_and_links_are_refused(videos: Path, tmp_path: Path) -> None:
    twice = linked(videos, tmp_path / "twice")
    (twice / "more").mkdir()
    (twice / "more" / "a00_s01_v01_rgb.avi").write_bytes(b"")
    with VideoFiles(twice) as files, pytest.raises(UserError, match="have one name"):
        files.of_samples(["a00_s01_v01"], None)
    with pytest.raises(UserError, match="no such file or folder"), VideoFiles(tmp_path / "nowhere"):
        pass
