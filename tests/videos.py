"""Synthetic videos for the tests: a bright person-sized block that walks over a dark ground."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
BLOCK = (10, 24)
"""Width and height of the walker."""


def walker_left(frame: int, n_frames: int) -> int:
    """Where the left side of the walker is in a frame, in pixels."""
    return 8 + round(frame * (WIDTH - 30) / max(n_frames - 1, 1))


def walk(n_frames: int, colour: tuple[int, int, int] = (255, 40, 40)) -> list[np.ndarray]:
    """uint8 (64, 96, 3) frames."""
    frames = []
    for number in range(n_frames):
        frame = np.full((HEIGHT, WIDTH, 3), 20, dtype=np.uint8)
        left = walker_left(number, n_frames)
        frame[20 : 20 + BLOCK[1], left : left + BLOCK[0]] = colour
        frames.append(frame)
    return frames


def write_video(path: Path, frames: list[np.ndarray], codec: str = "mpeg4") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
