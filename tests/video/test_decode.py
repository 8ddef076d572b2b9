"""Frames of videos: which ones, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.video.decode import middles, sample_evenly
from videos import BLOCK, walk, walker_left, write_video


def walker_seen_at(frame: np.ndarray) -> float:
    """The middle of the columns that are red."""
    return float(np.flatnonzero(frame[32, :, 0] > 130).mean())


@pytest.mark.parametrize("name", ["walk.avi", "walk.mp4", "walk.mkv"])
def test_frames_are_those_in_the_middles_of_five_equal_parts(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, walk(23))
    with path.open("rb") as video:
        sampled = sample_evenly(video, 5)
    assert sampled.n_frames == 23
    assert sampled.numbers.tolist() == [2, 6, 11, 16, 20]
    for number, frame in zip(sampled.numbers.tolist(), sampled.frames, strict=True):
        assert frame.shape == (64, 96, 3)
        assert frame.dtype == np.uint8
        assert abs(walker_seen_at(frame) - (walker_left(number, 23) + (BLOCK[0] - 1) / 2)) < 1.5


def test_a_video_shorter_than_the_strip_gives_some_frames_twice(tmp_path: Path) -> None:
    sampled = sample_evenly(write_video(tmp_path / "short.avi", walk(2)).open("rb"), 5)
    assert sampled.numbers.tolist() == [0, 0, 1, 1, 1]
    assert len(sampled.frames) == 5


def test_middles_are_spread_evenly() -> None:
    assert middles(100, 5).tolist() == [10, 30, 50, 70, 90]
    assert middles(1, 5).tolist() == [0] * 5


def sound_alone() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_pictures_in_an_unknown_form_are_refused(tmp_path: Path) -> None:
    content = write_video(tmp_path / "walk.avi", walk(3)).read_bytes()
    assert content.count(b"FMP4") == 2
    with pytest.raises(BadFile, match="in a form that is not known here"):
        sample_evenly(io.BytesIO(content.replace(b"FMP4", b"ZZZZ")), 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no video"),
        (b"these are words, and no video at all" * 100, "is no video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/secret.ts\n#EXT-X-ENDLIST\n", "is no video"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "is no video"),
        (sound_alone(), "has no pictures"),
    ],
)
def test_what_is_no_video_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadFile, match=message) as caught:
        sample_evenly(io.BytesIO(content), 5)
    assert "\n" not in str(caught.value)


def test_a_video_that_is_cut_short_before_its_first_frame_is_refused(tmp_path: Path) -> None:
    content = write_video(tmp_path / "walk.avi", walk(20)).read_bytes()
    with pytest.raises(BadFile):
        sample_evenly(io.BytesIO(content[: content.index(b"movi") + 4]), 5)
