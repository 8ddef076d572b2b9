"""HDM05 as it is passed on: a zip of AMC motions by side and class, with the ASF skeletons beside them."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

ZIP = "hdm05.zip"
TRAIN, TEST = ("bd", "bk", "dg"), ("mm", "tr")
MOTIONS = {1: "depositFloorR", 6: "kickLFront1Reps", 10: "squat1Reps"}
"""By the name of their folder."""


class MadeBone(NamedTuple):
    parent: str
    direction: tuple[float, float, float]
    length: float
    axis: tuple[float, float, float] = (0, 0, 0)
    dofs: str = ""


def _leg(side: str, out: float) -> dict[str, MadeBone]:
    """``out`` is 1 where x points to that side, which is the left."""
    tilt = (0, 0, 20 * out)
    down = (0.34202 * out, -0.939693, 0)
    return {
        f"{side}hipjoint": MadeBone("root", (0.567 * out, -0.783, 0.255), 2.3),
        f"{side}femur": MadeBone(f"{side}hipjoint", down, 7.3, tilt, "rx ry rz"),
        f"{side}tibia": MadeBone(f"{side}femur", down, 7.0, tilt, "rx"),
        f"{side}foot": MadeBone(f"{side}tibia", (0.1365 * out, -0.375, 0.917), 2.3, (-90, 0, 20 * out), "rx rz"),
        f"{side}toes": MadeBone(f"{side}foot", (0, 0, 1), 1.15, (-90, 0, 20 * out), "rx"),
    }


def _arm(side: str, out: float) -> dict[str, MadeBone]:
    along, turned, palm = (out, 0, 0), (180, -30 * out, -90 * out), (0, 90 * out, 90 * out)
    return {
        f"{side}clavicle": MadeBone("thorax", (0.946 * out, 0.242, -0.2156), 3.8, (0, 0, 0), "ry rz"),
        f"{side}humerus": MadeBone(f"{side}clavicle", along, 4.8, turned, "rx ry rz"),
        f"{side}radius": MadeBone(f"{side}humerus", along, 3.0, turned, "rx"),
        f"{side}wrist": MadeBone(f"{side}radius", along, 1.5, palm, "ry"),
        f"{side}hand": MadeBone(f"{side}wrist", along, 1.27, palm, "rx rz"),
        f"{side}fingers": MadeBone(f"{side}hand", along, 1.0, palm, "rx"),
        f"{side}thumb": MadeBone(f"{side}wrist", (0.7071 * out, 0, 0.7071), 1.47, (-90, 45 * out, 0), "rx rz"),
    }


_UP = ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head")
_TRUNK = {
    name: MadeBone(below, (0.02, 0.998, -0.05), 2.2 if at < 3 else 1.75, (0, 0, 0), "rx ry rz")
    for at, (below, name) in enumerate(zip(("root", *_UP), _UP, strict=False))
}
BONES = {**_leg("l", 1), **_leg("r", -1), **_TRUNK, **_arm("l", 1), **_arm("r", -1)}
"""Lengths in the files' unit of 0.0254 m / 0.45; the proportions are made up."""


def skeleton_file() -> bytes:
    """The text of an ASF file of the synthetic person, with comments in the code page of the original ones."""
    blocks, children = [], {"root": []}  # type: tuple[list[str], dict[str, list[str]]]
    for number, (name, bone) in enumerate(BONES.items(), 1):
        children.setdefault(bone.parent, []).append(name)
        limits = "".join(f"    {'limits' if not at else ''} (-180.0 180.0)\n" for at in range(len(bone.dofs.split())))
        blocks.append(
            f"  begin\n     id {number} \n     name {name}\n     direction {_words(bone.direction)} \n"
            f"     length {bone.length:g}  \n     axis {_words(bone.axis)}   XYZ\n"
            + (f"    dof {bone.dofs}\n{limits}" if bone.dofs else "")
            + "  end\n"
        )
    hierarchy = "".join(f"    {parent} {' '.join(names)}\n" for parent, names in children.items())
    text = (
        "# synthetic\n:version 1.10\n:name VICON\n:units\n  mass 1.0\n  length 0.45\n  angle deg\n"
        ":documentation\n   synthetic, für Tests\n:root\n   order TX TY TZ RX RY RZ\n   axis XYZ\n"
        f"   position 0 0 0  \n   orientation 0 0 0 \n:bonedata\n{''.join(blocks)}"
        f":hierarchy\n  begin\n{hierarchy}  end\n"
    )
    return text.encode("latin-1")


def motion_file(angles: dict[str, np.ndarray]) -> bytes:
    """The text of an AMC file from values (T, dofs) by bone, in the files' units."""
    n_frames = len(angles["root"])
    rows = {bone: [f"{bone} {_words(row)}" for row in values.tolist()] for bone, values in angles.items()}
    lines = ["#!OML:ASF synthetic\\für Tests", ":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(n_frames):
        lines += [str(frame + 1), *(of_bone[frame] for of_bone in rows.values())]
    return "".join(f"{line}\n" for line in lines).encode("latin-1")


def swaying(seed: int, n_frames: int) -> dict[str, np.ndarray]:
    """Values (T, dofs) by bone of a synthetic person who stands and sways: the root is held 17 units up."""
    generator = np.random.default_rng(seed)
    time = np.arange(n_frames)[:, None] / 120
    values = {"root": np.array([0, 17, 0, 0, generator.uniform(-90, 90), 0]) + _waves(generator, time, 6, 2)}
    for name, bone in BONES.items():
        if n_dofs := len(bone.dofs.split()):
            values[name] = generator.uniform(-10, 10, n_dofs) + _waves(generator, time, n_dofs, 15)
    return values


def write(folder: Path) -> Path:
    path = folder / ZIP
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (actor, (of_class, motion)) in enumerate(product(TRAIN + TEST, MOTIONS.items())):
            place = f"{'train' if actor in TRAIN else 'test'}/{of_class}"
            if of_class == min(MOTIONS):
                place_of_skeleton = place
                zipped.writestr(f"{place_of_skeleton}/HDM_{actor}.asf", skeleton_file())
            take = f"{place}/HDM_{actor}_{motion}_{number + 1:03d}_120.amc"
            zipped.writestr(take, motion_file(swaying(number, 48 + 4 * (number % 5))))
    return path


def _waves(generator: np.random.Generator, time: np.ndarray, n: int, reach: float) -> np.ndarray:
    waves: np.ndarray = reach * np.sin(generator.uniform(2, 6, n) * time + generator.uniform(0, 6, n))
    return waves


def _words(numbers: object) -> str:
    return " ".join(f"{number:.5g}" for number in numbers)  # type: ignore[attr-defined]
