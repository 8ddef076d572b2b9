"""Frames of a video, by PyAV, from bytes that nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import first_line
from mmcl_bench.datasets.formats.archive import BadFile

try:
    import av
    from av.container import InputContainer
except ImportError as error:
    raise UserError("features build needs the extra 'video': pip install 'mmcl-bench[video]'") from error

FORMATS = "avi,mov,mp4,m4v,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv,ogg"
"""Containers that may be opened: none that names other files or addresses, as playlists do."""
MAX_FRAMES = 1 << 17
"""As of skeletons: above an hour."""
LONGEST_SIDE = 8192
"""Pixels."""


@dataclass(frozen=True)
class Sampled:
    """Some frames of a video."""

    frames: list[np.ndarray]
    """uint8 (H, W, 3) each, RGB."""
    numbers: np.ndarray
    """Of these frames in the video, from 0."""
    n_frames: int
    """Of the whole video."""


def sample_evenly(video: BinaryIO, count: int) -> Sampled:
    """The frames in the middles of ``count`` equal parts of a video; one of few frames gives some of them twice.

    Raises :class:`BadFile` for what is no video, has no frame or is damaged.
    """
    n_frames = _count_packets(video)
    sampled = _pick(video, middles(n_frames, count), n_frames)
    if sampled.n_frames != n_frames:  # a packet need not be a frame
        sampled = _pick(video, middles(sampled.n_frames, count), sampled.n_frames)
    return sampled


def middles(n_frames: int, count: int) -> np.ndarray:
    """(count,) frame numbers in the middles of ``count`` equal parts."""
    return ((np.arange(count) + 0.5) * n_frames / count).astype(np.int64)


def _pick(video: BinaryIO, numbers: np.ndarray, expected: int) -> Sampled:
    wanted = set(numbers.tolist())
    kept: dict[int, np.ndarray] = {}
    n_frames = 0
    with _opened(video) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in _checked(container):
            if n_frames in wanted:
                kept[n_frames] = _upright(frame)
            n_frames += 1
    if not n_frames:
        raise BadFile("has no frame that can be decoded")
    if n_frames != expected:
        return Sampled([], numbers, n_frames)
    return Sampled([kept[number] for number in numbers.tolist()], numbers, n_frames)


def _count_packets(video: BinaryIO) -> int:
    with _opened(video) as container:
        stream = container.streams.video[0]
        if max(stream.width, stream.height) > LONGEST_SIDE:
            raise BadFile(f"has frames of {stream.width}x{stream.height}; more than {LONGEST_SIDE} pixels are refused")
        try:
            count = 0
            for packet in container.demux(stream):
                count += packet.size > 0
                if count > MAX_FRAMES:
                    raise BadFile(f"has more than {MAX_FRAMES} frames")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _damaged(error) from error
    if not count:
        raise BadFile("has no frame")
    return count


def _opened(video: BinaryIO) -> InputContainer:
    """The video from its beginning. Raises :class:`BadFile` when it is none."""
    video.seek(0)
    try:
        container = av.open(video, mode="r", options={"format_whitelist": FORMATS}, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadFile(f"is no video ({first_line(error)})") from error
    if not container.streams.video:
        container.close()
        raise BadFile("has no pictures in it")
    if getattr(container.streams.video[0], "codec_context", None) is None:
        container.close()
        raise BadFile("has pictures in a form that is not known here; convert it, for example to H.264")
    return container


def _checked(container: InputContainer) -> Iterator[av.VideoFrame]:
    """All frames, those of a size that is not absurd."""
    try:
        for frame in container.decode(video=0):
            if max(frame.width, frame.height) > LONGEST_SIDE:
                raise BadFile(f"has a frame of {frame.width}x{frame.height}")
            yield frame
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _damaged(error) from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """uint8 (H, W, 3), turned as the camera says that it was held."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90)))


def _damaged(error: BaseException) -> BadFile:
    return BadFile(f"is damaged ({first_line(error)})")
