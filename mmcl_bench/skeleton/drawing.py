"""Skeletons drawn with matplotlib, and a picture of every joint layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.core.plotting import drawable, own_style, picture_of
from mmcl_bench.skeleton.joint_maps import HUB, joint_maps, joint_matrix, map_joints
from mmcl_bench.skeleton.layouts import Layout, get_layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT, MIDDLE = "#0072B2", "#D55E00", "#595959"
"""Colours of Okabe and Ito that everyone tells apart, and a grey."""
BODY_COLOURS = ((LEFT, RIGHT, MIDDLE), ("#009E73", "#CC79A7", "#8C8C8C"), ("#56B4E9", "#E69F00", "#BDBDBD"))
"""(left, right, middle) of the first, second and third body of a clip."""

_STANDING: Mapping[str, tuple[float, float, float]] = {
    "spine_base": (0.00, 0.98, 0.00),
    "spine_mid": (0.00, 1.20, 0.00),
    "spine_shoulder": (0.00, 1.42, 0.00),
    "neck": (0.00, 1.52, 0.00),
    "head": (0.00, 1.66, -0.02),
    "right_shoulder": (0.18, 1.40, 0.00),
    "right_elbow": (0.38, 1.22, 0.00),
    "right_wrist": (0.56, 1.05, -0.02),
    "right_hand": (0.62, 0.99, -0.03),
    "right_hand_tip": (0.69, 0.93, -0.04),
    "right_thumb": (0.58, 0.93, -0.06),
    "right_hip": (0.09, 0.94, 0.00),
    "right_knee": (0.13, 0.52, -0.02),
    "right_ankle": (0.16, 0.10, 0.02),
    "right_foot": (0.21, 0.03, -0.12),
}
"""Joints of kinect-v2 in metres, by hand: someone of 1.75 m who stands with the arms spread, seen from behind."""


_BESIDE: Mapping[str, tuple[float, float, float]] = {
    "nose": (0.00, 1.65, -0.12),
    "right_eye": (0.035, 1.69, -0.10),
    "right_eye_inner": (0.018, 1.69, -0.10),
    "right_eye_outer": (0.052, 1.69, -0.09),
    "right_ear": (0.08, 1.67, -0.02),
    "right_mouth": (0.025, 1.60, -0.10),
    "spine1": (0.00, 1.07, 0.00),
    "spine3": (0.00, 1.32, 0.00),
    "spine_chest": (0.00, 1.32, 0.00),
    "right_collar": (0.07, 1.40, 0.00),
    "right_clavicle": (0.07, 1.40, 0.00),
    "right_pinky": (0.63, 0.97, 0.00),
    "right_index": (0.66, 0.96, -0.05),
    "right_heel": (0.15, 0.04, 0.06),
    "right_big_toe": (0.20, 0.03, -0.13),
    "right_small_toe": (0.25, 0.03, -0.10),
}
"""Joints of the same person that kinect-v2 has no name for."""


def draw_pose(
    axes: Axes,
    positions: np.ndarray,
    layout: Layout,
    *,
    joint_size: float = 14.0,
    bone_width: float = 2.0,
    alpha: float = 1.0,
    colours: tuple[str, str, str] = BODY_COLOURS[0],
) -> None:
    """Adds one pose (V, 3) to ``axes``, x to the right and y up. Joints that were not seen are left out.

    ``colours`` are of the left side, the right side and what lies between: by default blue, vermilion and grey. The
    axes' limits are the caller's. ``joint_size`` is in square points, ``bone_width`` in points.
    """
    from matplotlib.collections import LineCollection

    seen = layout.seen(positions)
    flat = positions[:, :2]
    of_joints = np.array([_colour(joint, colours) for joint in layout.joints])
    pairs = [(child, parent) for child, parent in layout.bone_pairs if seen[child] and seen[parent]]
    bones = LineCollection(
        [flat[list(pair)] for pair in pairs],
        colors=[_bone_colour(layout.joints[child], layout.joints[parent], colours) for child, parent in pairs],
        linewidths=bone_width,
        alpha=alpha,
        capstyle="round",
        zorder=1,
    )
    axes.add_collection(bones, autolim=True)
    axes.scatter(
        flat[seen, 0], flat[seen, 1], s=joint_size, c=list(of_joints[seen]), alpha=alpha, linewidths=0, zorder=2
    )


def standing_pose(layout: Layout) -> np.ndarray:
    """(V, 3) metres: the same person standing, as every layout would record it."""
    hub, places = get_layout(HUB), _on_both_sides(_STANDING)
    pose = map_joints(np.array([places[joint] for joint in hub.joints]), joint_matrix(HUB, layout))
    if f"{HUB}--{layout.name}" not in joint_maps():
        for joint, place in _on_both_sides(_BESIDE).items():
            if joint in layout.joints:
                pose[layout.index(joint)] = place
    return pose


def _on_both_sides(places: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[float, float, float]]:
    lefts = {joint.replace("right_", "left_"): (-x, y, z) for joint, (x, y, z) in places.items() if "right_" in joint}
    return {**places, **lefts}


@own_style()
def draw_layout(layout: Layout, path: Path) -> None:
    """Writes a picture of a layout, with its joints numbered and named, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), dpi=100)
    body, names = figure.add_axes((0.0, 0.0, 0.72, 0.95)), figure.add_axes((0.72, 0.0, 0.28, 0.95))
    title, families = drawable(f"{layout.name}: {len(layout)} joints")
    figure.suptitle(title, fontsize=11, y=0.97, fontfamily=families)
    pose = standing_pose(layout)
    draw_pose(body, pose, layout, joint_size=26)
    _number(body, pose, layout)
    body.set(xlim=(-0.84, 0.84), ylim=(-0.08, 1.86), aspect="equal")
    _list_names(names, layout)
    for axes in (body, names):
        axes.set_axis_off()
    # Few colours make a picture small enough to be kept with the pages that show it.
    picture_of(figure).quantize(64).save(path, format="PNG", optimize=True)


def _colour(joint: str, colours: tuple[str, str, str] = BODY_COLOURS[0]) -> str:
    left, right, middle = colours
    return {"left": left, "right": right}.get(joint.partition("_")[0], middle)


def _bone_colour(child: str, parent: str, colours: tuple[str, str, str]) -> str:
    """A bone has its outer end's side, as one from the hip to the middle has the hip's."""
    middle = colours[2]
    return next((colour for colour in (_colour(child, colours), _colour(parent, colours)) if colour != middle), middle)


def _number(axes: Axes, pose: np.ndarray, layout: Layout) -> None:
    """Writes each joint's number beside it, where most room is."""
    flat = pose[:, :2]
    along = np.linspace(0, 1, 12)[:, None]
    taken = [along * flat[child] + (1 - along) * flat[parent] for child, parent in layout.bone_pairs]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    around = 0.062 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    digit = np.array([[-0.015, 0.0], [0.0, 0.02], [0.0, -0.02], [0.015, 0.0]])
    for number, joint in enumerate(layout.joints):
        places = (flat[number] + around)[:, None] + digit * [len(str(number)), 1]
        room = np.linalg.norm(places[:, :, None] - np.concatenate(taken), axis=-1).min((1, 2))
        place = places[room.argmax()]
        taken.append(place)
        x, y = place.mean(0)
        axes.text(x, y, str(number), ha="center", va="center", fontsize=9, color=_colour(joint))


def _list_names(axes: Axes, layout: Layout) -> None:
    for number, joint in enumerate(layout.joints):
        height = 1 - (number + 1) / (len(layout) + 1)
        axes.text(0.10, height, str(number), ha="right", va="center", fontsize=9, color=_colour(joint))
        shown, families = drawable(joint)
        axes.text(0.14, height, shown, ha="left", va="center", fontsize=9, color=_colour(joint), fontfamily=families)
