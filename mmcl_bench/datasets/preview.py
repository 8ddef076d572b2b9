"""Clips as people see them: an animated GIF and a strip of poses of one, and a contact sheet of several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor
from PIL.Image import Dither

from mmcl_bench.core.plotting import drawable, own_style, picture_of
from mmcl_bench.core.text import columns
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.drawing import BODY_COLOURS, MIDDLE, draw_pose
from mmcl_bench.skeleton.layouts import Layout, get_layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

YAW = math.radians(15)
"""By which depth shows a little; a view from straight ahead hides it."""
USUAL_RATE = 15.0
"""Frames a second, for sets that name none."""
FASTEST_GIF = 50.0
"""Pictures a second; viewers slow down what is faster."""
MOST_PICTURES = 150
"""Of a GIF; of a longer clip every second or third frame is shown."""
REACH = 3.0
"""Metres, or image heights, from the middle that are shown at most: a joint that jumps leaves the rest in sight."""
_DPI = 100
_SHADES = 6
_TITLE, _KEY = 0.55, 0.40
"""Inches above and below the picture."""
_WIDEST = 16.0
"""Inches of a strip."""
_LONGEST_LINE = 46
_SHEET_COLUMNS, _SHEET_POSES, _SHEET_CELL, _SHEET_GAP = 4, 3, (3.4, 1.4), 0.4
"""Of a contact sheet: clips side by side, poses of each, and the width and height of a clip in inches."""
_SYNTHETIC = " (synthetic)"


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

    title: tuple[str, str]
    layout: Layout
    frame_rate: float
    poses: list[list[tuple[int, np.ndarray]]]
    """For every frame, (number of the body, positions (V, 3)) of those who are seen, the farthest first."""
    n_bodies: int
    extent: Extent


def preview(dataset: SkeletonDataset, row: int) -> Preview:
    """The clip in ``row`` of the index, from ahead and a little to the side; key points of images as they are."""
    card, clip = dataset.card, dataset.index.iloc[row]
    in_metres = card.unit == "metres"
    layout = get_layout(card.layout)
    bodies = [BodyTrack(body.start, _turned(body.positions, layout, in_metres)) for body in dataset.bodies(row)]
    synthetic = _SYNTHETIC if card.synthetic else ""
    return Preview(
        title=(_line(card.classes[clip.label]) + synthetic, _line(f"{card.name} {clip.sample_id}")),
        layout=layout,
        frame_rate=card.frame_rate or USUAL_RATE,
        poses=[_seen(bodies, frame) for frame in range(int(clip.n_frames))],
        n_bodies=len(bodies),
        extent=_extent(bodies),
    )


@own_style()
def write_gif(clip: Preview, path: Path) -> None:
    """Writes the clip as a GIF that plays at the speed of the recording, again and again."""
    step = max(math.ceil(len(clip.poses) / MOST_PICTURES), math.ceil(clip.frame_rate / FASTEST_GIF))
    palette = _palette()
    pictures = _pictures(clip, range(0, len(clip.poses), step))
    first, *others = [picture.quantize(palette=palette, dither=Dither.NONE) for picture in pictures]
    hundredths = max(2, round(100 * step / clip.frame_rate))
    first.save(path, "GIF", save_all=True, append_images=others, duration=10 * hundredths, loop=0)


@own_style()
def write_strip(clip: Preview, n_poses: int, path: Path) -> None:
    """Writes ``n_poses`` poses, evenly over the frames in which somebody is seen, side by side as PNG."""
    frames = _spread([frame for frame, pose in enumerate(clip.poses) if pose], n_poses)
    high = min(2.6, _WIDEST / (clip.extent.aspect * len(frames)))
    wide = high * clip.extent.aspect
    figure = _figure(clip, wide * len(frames), high)
    margin = (figure.get_figwidth() - wide * len(frames)) / 2
    for place, frame in enumerate(frames):
        axes = _axes(figure, clip, margin + wide * place, wide, high)
        _draw(axes, clip, frame)
        _write(axes, 0.5, 0.0, f"frame {frame}", transform=axes.transAxes, ha="center", va="bottom", color=MIDDLE)
    picture_of(figure).quantize(palette=_palette(), dither=Dither.NONE).save(path, "PNG", optimize=True)


@own_style()
def write_sheet(title: str, clips: Sequence[Preview], path: Path) -> None:
    """Writes a contact sheet as PNG: for each clip its class and a few poses, from its beginning to its end."""
    from matplotlib.figure import Figure

    across = min(_SHEET_COLUMNS, len(clips))
    down = math.ceil(len(clips) / across)
    wide, high = _SHEET_CELL
    size = across * wide, down * (high + _KEY) + _TITLE
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    _write(figure, 0.12 / size[0], 1 - 0.12 / size[1], title, fontsize=11, weight="bold", va="top")
    for place, clip in enumerate(clips):
        left, top = (place % across) * wide, size[1] - _TITLE - (place // across) * (high + _KEY)
        _write(figure, (left + 0.12) / size[0], (top - 0.06) / size[1], clip.title[0], va="top")
        frames = _spread([frame for frame, pose in enumerate(clip.poses) if pose], _SHEET_POSES)
        each = (wide - _SHEET_GAP) / _SHEET_POSES
        for at, frame in enumerate(frames):
            box = (left + at * each) / size[0], (top - 0.24 - high) / size[1], each / size[0], high / size[1]
            axes = figure.add_axes(box)
            extent = clip.extent
            axes.set(xlim=(extent.left, extent.right), ylim=(extent.bottom, extent.top), aspect="equal")
            axes.set_axis_off()
            _draw(axes, clip, frame, joint_size=3, bone_width=1.0)
    picture_of(figure).quantize(palette=_palette(), dither=Dither.NONE).save(path, "PNG", optimize=True)


def file_stem(dataset_name: str, sample_id: str) -> str:
    """A file name without suffix, of plain characters, so that no sample id leads out of its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", f"{dataset_name}-{sample_id}")[:120]


def _turned(positions: np.ndarray, layout: Layout, in_metres: bool) -> np.ndarray:
    """Positions turned by :data:`YAW` about the vertical; NaN for joints that were not seen."""
    turned = np.where(layout.seen(positions)[..., None], positions, np.nan)
    if not in_metres:
        return turned
    cos, sin = math.cos(YAW), math.sin(YAW)
    turned @= np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]], np.float32)
    return turned


def _seen(bodies: Sequence[BodyTrack], frame: int) -> list[tuple[int, np.ndarray]]:
    poses = [
        (number, body.positions[frame - body.start])
        for number, body in enumerate(bodies)
        if body.start <= frame < body.start + len(body.positions)
    ]
    seen = [pose for pose in poses if not np.isnan(pose[1]).all()]
    return sorted(seen, key=lambda pose: -float(np.nanmean(pose[1][:, 2])))


def _extent(bodies: Sequence[BodyTrack]) -> Extent:
    """What holds all bodies in all frames, with room around them."""
    joints = np.concatenate([body.positions.reshape(-1, 3) for body in bodies])
    plane = joints[~np.isnan(joints).any(1), :2]
    if not len(plane):
        return Extent(-1, 1, -1, 1)
    middle = np.median(plane, axis=0)
    low = np.maximum(plane.min(0), middle - REACH)
    high = np.minimum(plane.max(0), middle + REACH)
    centre, size = (low + high) / 2, high - low
    tall = max(size[1], size[0] / 3, 0.2) * 1.14
    wide = max(size[0] + 0.14 * size[1], 0.55 * tall)
    (left, bottom), (right, top) = centre - np.array([wide, tall]) / 2, centre + np.array([wide, tall]) / 2
    return Extent(float(left), float(right), float(bottom), float(top))


def _spread(frames: Sequence[int], n_poses: int) -> list[int]:
    """At most ``n_poses`` of the frames, from the first to the last, evenly."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(n_poses, len(frames))).round().astype(int))
    return [frames[place] for place in places] or [0]


def _pictures(clip: Preview, frames: Sequence[int]) -> Iterator[Image.Image]:
    high = 3.8
    wide = high * clip.extent.aspect
    figure = _figure(clip, wide, high)
    axes = _axes(figure, clip, (figure.get_figwidth() - wide) / 2, wide, high)
    right = 1 - 0.12 / figure.get_figwidth()
    counter = figure.text(right, 0.14 / figure.get_figheight(), "", ha="right", fontsize=8, color=MIDDLE)
    for frame in frames:
        for artist in list(axes.collections):
            artist.remove()
        _draw(axes, clip, frame)
        counter.set_text(f"frame {frame} of {len(clip.poses)}")
        yield picture_of(figure)


def _figure(clip: Preview, wide: float, high: float) -> Figure:
    """A figure with room for a picture of that size in inches, the title above it and the key of colours below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(wide, 3.6), high + _TITLE + _KEY), dpi=_DPI, facecolor="white")
    across, up = figure.get_figwidth(), figure.get_figheight()
    name, sample = clip.title
    _write(figure, 0.12 / across, 1 - 0.10 / up, name, fontsize=11, weight="bold", va="top")
    _write(figure, 0.12 / across, 1 - 0.31 / up, sample, color=MIDDLE, va="top")
    for number in range(min(clip.n_bodies, len(BODY_COLOURS))):
        at = 0.12 + 1.0 * number
        for word, colour in zip(("left", "right"), BODY_COLOURS[number], strict=False):
            _write(figure, at / across, 0.14 / up, word, color=colour, weight="bold")
            at += 0.32
    return figure


def _axes(figure: Figure, clip: Preview, left: float, wide: float, high: float) -> Axes:
    """Axes of a size and place in inches, on which a metre is as long up as across."""
    across, up = figure.get_figwidth(), figure.get_figheight()
    axes = figure.add_axes((left / across, _KEY / up, wide / across, high / up))
    extent = clip.extent
    axes.set(xlim=(extent.left, extent.right), ylim=(extent.bottom, extent.top))
    axes.set_axis_off()
    return axes


def _draw(axes: Axes, clip: Preview, frame: int, joint_size: float = 10, bone_width: float = 1.8) -> None:
    for number, positions in clip.poses[frame]:
        colours = BODY_COLOURS[number % len(BODY_COLOURS)]
        draw_pose(axes, positions, clip.layout, joint_size=joint_size, bone_width=bone_width, colours=colours)


def _write(place: Axes | Figure, x: float, y: float, text: str, fontsize: float = 8, **style: Any) -> None:
    shown, families = drawable(text)
    if len(shown) > _LONGEST_LINE + len(_SYNTHETIC):
        # Escapes are longer than what they stand for.
        shown = f"{shown[: _LONGEST_LINE - 1]}…{_SYNTHETIC if text.endswith(_SYNTHETIC) else ''}"
    place.text(x, y, shown, fontsize=fontsize, fontfamily=families, **style)


def _line(text: str) -> str:
    """A name as one short line that can be drawn."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    while columns(shown) > _LONGEST_LINE:
        shown = shown[:-2] + "…"
    return shown


def _palette() -> Image.Image:
    """White, and every colour that is drawn with, in shades towards white for smooth edges."""
    drawn = [np.array(ImageColor.getrgb(colour)) / 255 for colour in ("black", *chain(*BODY_COLOURS))]
    shades = [1 - (1 - colour) * shade / _SHADES for colour in drawn for shade in range(1, _SHADES + 1)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.round(255 * np.array([np.ones(3), *shades])).astype(np.uint8).tobytes())
    return palette
