"""Videos in zips that nobody vouches for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.video import files
from mmcl_bench.video.files import VideoFiles


def zip_with(path: Path, content: bytes, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as zipped:
        zipped.writestr("wave.mp4", content)
        zipped.writestr("readme.txt", "how they were recorded", zipfile.ZIP_STORED)
    return path


def test_a_zipped_video_comes_back_whole(tmp_path: Path) -> None:
    with VideoFiles(zip_with(tmp_path / "set.zip", b"video" * 100, zipfile.ZIP_DEFLATED)) as videos:
        assert videos.open("wave.mp4").read() == b"video" * 100


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zipped_video_is_never_inflated_without_a_bound(tmp_path: Path, compression: int) -> None:
    with (
        VideoFiles(zip_with(tmp_path / "set.zip", bytes(1 << 20), compression)) as videos,
        pytest.raises(BadFile, match="another method than deflate"),
    ):
        videos.open("wave.mp4")


def test_a_zipped_video_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_ZIPPED", 1 << 20)
    with (
        VideoFiles(zip_with(tmp_path / "set.zip", bytes(2 << 20), zipfile.ZIP_DEFLATED)) as videos,
        pytest.raises(BadFile, match="is 2 MiB large; more than 1 MiB is refused"),
    ):
        videos.open("wave.mp4")
