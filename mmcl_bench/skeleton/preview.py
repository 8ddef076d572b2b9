"""A clip as people see it: an animated GIF and a strip of poses."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.skeleton.drawing import BODY_COLOURS, draw_pose
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.store import BodyTrack, SkeletonDataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

YAW = math.radians(15)
"""By which depth shows a little; a view from straight ahead hides it."""
USUAL_RATE = 15.0
"""Frames a second, for sets that name none."""
FASTEST_GIF = 50.0
"""Pictures a second; what is faster is shown slower by most viewers."""
MOST_PICTURES = 150
"""Of a GIF; of longer clips, every second or third frame is shown."""
WIDEST = 6.0
"""Metres to each side that are shown; what jumps beyond is cut off, so that the person stays in sight."""
_DPI = 100
_COLOURS = 64


@dataclass(frozen=True)
class Extent:
    """The part of the plane that is shown."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def aspect(self) -> float:
        """Width over height."""
        return (self.right - self.left) / (self.top - self.bottom)


@dataclass(frozen=True)
class Preview:
    """A clip, ready to be drawn."""

    title: str
    layout: Layout
    frame_rate: float
    poses: list[list[tuple[int, np.ndarray]]]
    """For every frame, (number of the body, positions (V, 3)) of those who are seen."""
    extent: Extent
    in_metres: bool

    @property
    def body_numbers(self) -> list[int]:
        return sorted({number for pose in self.poses for number, _ in pose})


def preview(dataset: SkeletonDataset, row: int) -> Preview:
    """The clip in ``row`` of the index, seen from ahead and a little to the side; key points of images as they are."""
    card, clip = dataset.card, dataset.index.iloc[row]
    in_metres = card.unit == "metres"
    bodies = [_turned(body, YAW if in_metres else 0.0) for body in dataset.bodies(row)]
    made = " (synthetic)" if card.synthetic else ""
    return Preview(
        title=f"{card.classes[clip.label]}{made}\n{card.name} {clip.sample_id}",
        layout=get_layout(card.layout),
        frame_rate=card.frame_rate or USUAL_RATE,
        poses=[_seen(bodies, frame) for frame in range(int(clip.n_frames))],
        extent=_extent(bodies),
        in_metres=in_metres,
    )


def write_gif(clip: Preview, path: Path) -> None:
    """Writes the clip as an animated GIF that loops, at its own speed."""
    step = max(math.ceil(len(clip.poses) / MOST_PICTURES), math.ceil(clip.frame_rate / FASTEST_GIF))
    pictures = list(_pictures(clip, range(0, len(clip.poses), step)))
    # All pictures share the colours of one that has them all, so that nothing flickers.
    palette = max(pictures, key=lambda picture: len(picture.getcolors(1 << 24) or ())).quantize(_COLOURS)
    first, *others = [picture.quantize(palette=palette, dither=0) for picture in pictures]
    duration = round(1000 * step / clip.frame_rate, -1)
    first.save(path, "GIF", save_all=True, append_images=others, duration=duration, loop=0, disposal=1)


def write_strip(clip: Preview, n_poses: int, path: Path) -> None:
    """Writes ``n_poses`` poses, evenly over the frames in which somebody is seen, side by side as PNG."""
    frames = _spread([frame for frame, pose in enumerate(clip.poses) if pose], n_poses)
    height = 2.4
    width = height * min(clip.extent.aspect, 2.0)
    figure = _figure(max(width * len(frames), 3.6), height + 0.95)
    across = max(width * len(frames), 3.6)
    for place, frame in enumerate(frames):
        left = (across - width * len(frames)) / 2 + width * place
        axes = figure.add_axes((left / across, 0.30 / (height + 0.95), width / across, height / (height + 0.95)))
        _draw(axes, clip, frame)
        axes.text(0.5, -0.02, f"frame {frame}", transform=axes.transAxes, ha="center", va="top", fontsize=8, color="#595959")
    _write_title(figure, clip)
    picture = _picture(figure)
    picture.quantize(_COLOURS, dither=0).save(path, "PNG", optimize=True)


def file_stem(dataset_name: str, sample_id: str) -> str:
    """A file name, without suffix, that no sample id can lead out of its folder."""
    return re.sub(r"[^A-Za-z0-9_.-]+|^\.+", "_", f"{dataset_name}-{sample_id}")[:120]
