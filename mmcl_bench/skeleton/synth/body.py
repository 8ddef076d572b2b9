"""A person of the Kinect v2 layout: bone lengths, forward kinematics, and two-bone inverse kinematics.

Frames of reference are right-handed: x to the person's left, y up, z where the person faces. A person who faces the
sensor therefore has the left hand at negative x of the sensor's own frame (y up, z away from the sensor), as a
Kinect has it. Sided arrays have a leading axis of 2: left, then right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mmcl_bench.skeleton.synth.motion import Motion

Array = npt.NDArray[np.float64]

OUTWARD = np.array([1.0, -1.0])
"""Sign of x that points away from the middle of the body: left, right."""

REFERENCE_STATURE = 1.72
"""Metres; places on the body are given for a person this tall and scale with stature."""


@dataclass(frozen=True)
class Body:
    """Bone lengths in metres.

    Shares of stature follow the anthropometric table of Drillis and Contini (1966), adjusted to where a Kinect puts
    its joints: hips nearer each other, the head joint amid the head.
    """

    stature: float
    lower_spine: float
    upper_spine: float
    neck: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float
    hand: float
    hand_tip: float
    thumb: float
    hip: float
    thigh: float
    shin: float
    foot: float
    ankle: float
    """Height of the ankle above the floor."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        """A person between 1.50 and 1.95 m tall with proportions of their own."""
        stature = float(np.clip(rng.normal(1.71, 0.10), 1.50, 1.95))
        legs, arms, girth = rng.normal(1.0, [0.025, 0.03, 0.06])

        def share(of_stature: float, trait: float) -> float:
            return float(stature * of_stature * trait * rng.normal(1.0, 0.012))

        return cls(
            stature=stature,
            lower_spine=share(0.152, 2 - legs),
            upper_spine=share(0.128, 2 - legs),
            neck=share(0.042, 1.0),
            head=share(0.083, 1.0),
            shoulder=share(0.105, girth),
            upper_arm=share(0.170, arms),
            forearm=share(0.146, arms),
            hand=share(0.045, arms),
            hand_tip=share(0.046, arms),
            thumb=share(0.034, arms),
            hip=share(0.048, girth),
            thigh=share(0.240, legs),
            shin=share(0.238, legs),
            foot=share(0.070, 1.0),
            ankle=share(0.043, 1.0),
        )

    @property
    def scale(self) -> float:
        """Stature as a multiple of :data:`REFERENCE_STATURE`."""
        return self.stature / REFERENCE_STATURE

    @property
    def leg(self) -> float:
        """Length of the leg, hip to ankle."""
        return self.thigh + self.shin

    @property
    def standing(self) -> float:
        """Height of the pelvis of an upright person."""
        return 0.992 * self.leg + self.ankle


@dataclass(frozen=True)
class Frame:
    """A moving frame of reference: ``origin`` (T, 3) and ``axes`` (T, 3, 3), columns x, y, z."""

    origin: Array
    axes: Array

    def place(self, offset: Array) -> Array:
        """World positions (T, 3) of ``offset`` (3,) or (T, 3) in this frame."""
        return self.origin + turned(self.axes, offset)


@dataclass(frozen=True)
class Trunk:
    """All of a pose but the arms."""

    frames: Mapping[str, Frame]
    """``root`` (on the floor, upright), ``pelvis``, ``chest`` and ``head``."""
    mid: Array
    neck: Array
    shoulders: Array
    hips: Array
    knees: Array
    ankles: Array
    feet: Array


def rotation(pitch: Array, yaw: Array, roll: Array) -> Array:
    """Rotations (T, 3, 3) from angles (T,) in radians: roll about z (to the right), pitch about x (forward), yaw
    about y (to the left), in this order."""
    cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    out = np.empty((len(pitch), 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = cp * sr, cp * cr, -sp
    out[:, 2, 0], out[:, 2, 1], out[:, 2, 2] = cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp
    return out


def turned(axes: Array, vector: Array) -> Array:
    """``axes @ vector`` for (T, 3, 3) and (3,), (T, 3) or sided (2, T, 3)."""
    if vector.ndim == 1:
        return axes @ vector
    return (axes @ vector[..., None])[..., 0]


def unit(vectors: Array) -> Array:
    """``vectors`` (..., 3) with length 1; a zero vector stays zero."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    units: Array = vectors / np.maximum(length, 1e-9)[..., None]
    return units


def cross(a: Array, b: Array) -> Array:
    """``np.cross`` over the last axis of (..., 3), several times as fast for arrays of this size."""
    product: Array = a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
    return product


def two_bones(root: Array, target: Array, first: float, second: float, hint: Array) -> tuple[Array, Array]:
    """Analytic inverse kinematics of a limb of two bones: the middle joint and the end, both (..., 3).

    The middle joint bends towards ``hint``; a ``target`` out of reach is approached along its direction.
    """
    towards = target - root
    distance = np.sqrt(np.einsum("...i,...i->...", towards, towards))
    axis = towards / np.maximum(distance, 1e-9)[..., None]
    reach = np.clip(distance, abs(first - second) + 0.02, 0.999 * (first + second))
    along = (first**2 - second**2 + reach**2) / (2 * reach)
    across = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    bend = unit(hint - np.einsum("...i,...i->...", hint, axis)[..., None] * axis)
    return root + along[..., None] * axis + across[..., None] * bend, root + reach[..., None] * axis


def solve_trunk(body: Body, motion: Motion) -> Trunk:
    """Trunk, head and legs from the curves of ``motion``. Feet stay where the motion planted them."""
    floor = np.stack([motion.floor[:, 0], np.zeros(len(motion.floor)), motion.floor[:, 1]], axis=1)
    root = Frame(floor, rotation(np.zeros_like(motion.facing), motion.facing, np.zeros_like(motion.facing)))
    pelvis_axes = root.axes @ rotation(*motion.pelvis.T)
    origin = root.place(motion.shift)
    origin[:, 1] += body.standing + motion.lift - motion.drop

    ankles = motion.planted + turned(root.axes, motion.foot_offset)
    ankles[..., 1] += body.ankle + motion.lift
    across = turned(pelvis_axes, np.array([body.hip, 0.0, 0.0]))
    hips = origin + OUTWARD[:, None, None] * across
    excess = _excess_height(body, hips, ankles, motion.foot_offset)
    origin[:, 1] -= excess
    hips[..., 1] -= excess

    knees, ankles = two_bones(hips, ankles, body.thigh, body.shin, _knee_hint(root.axes, pelvis_axes))
    toes = _toe_direction(root.axes, motion.pelvis[:, 0])
    mid = origin + (pelvis_axes @ rotation(*(0.5 * motion.trunk.T)))[:, :, 1] * body.lower_spine
    chest_axes = pelvis_axes @ rotation(*motion.trunk.T)
    chest = mid + chest_axes[:, :, 1] * body.upper_spine
    neck = chest + chest_axes[:, :, 1] * body.neck
    head_axes = chest_axes @ rotation(*motion.head.T)
    head = neck + turned(head_axes, body.head * np.array([0.0, 0.92, 0.39]))
    shoulder = turned(chest_axes, np.array([body.shoulder, -0.02, 0.0]))
    shoulders = chest + np.stack([shoulder, shoulder - 2 * body.shoulder * chest_axes[:, :, 0]])
    frames = {
        "root": root,
        "pelvis": Frame(origin, pelvis_axes),
        "chest": Frame(chest, chest_axes),
        "head": Frame(head, head_axes),
    }
    return Trunk(frames, mid, neck, shoulders, hips, knees, ankles, ankles + body.foot * toes)


def solve_arms(body: Body, trunk: Trunk, targets: Array, flex: Array, swivel: Array) -> Array:
    """The whole pose (T, 25, 3): arms that bring the hand joints to ``targets`` (2, T, 3).

    ``flex`` (2, T) bends the hand at the wrist, radians towards the palm; ``swivel`` (2,) turns the elbows outwards.
    """
    chest = trunk.frames["chest"].axes
    outward = OUTWARD[:, None, None] * chest[:, :, 0]
    direction = unit(targets - trunk.shoulders)
    hint = _elbow_hint(chest, direction, swivel)
    elbows, wrists = two_bones(trunk.shoulders, targets - body.hand * direction, body.upper_arm, body.forearm, hint)
    forearm = unit(wrists - elbows)
    inward = unit(-outward - np.einsum("sti,sti->st", -outward, forearm)[..., None] * forearm)
    palm = np.cos(flex)[..., None] * forearm + np.sin(flex)[..., None] * inward
    sideways = unit(cross(palm, inward)) * OUTWARD[:, None, None]
    hands = wrists + body.hand * palm
    tips = hands + body.hand_tip * palm
    thumbs = hands + body.thumb * (0.75 * palm + 0.66 * sideways)
    return _assemble(trunk, elbows, wrists, hands, tips, thumbs)


def _excess_height(body: Body, hips: Array, ankles: Array, foot_offset: Array) -> Array:
    """(T,) metres by which the pelvis must sink so that both legs reach; a foot in the air asks for little."""
    flat = hips - ankles
    apart = np.minimum(flat[..., 0] ** 2 + flat[..., 2] ** 2, (0.9 * body.leg) ** 2)
    in_the_air = 3.0 * np.abs(foot_offset).max(axis=-1)
    allowed = np.sqrt((0.998 * body.leg) ** 2 - apart) + in_the_air
    excess: Array = np.maximum(flat[..., 1] - allowed, 0.0).max(axis=0)
    return excess


def _knee_hint(root: Array, pelvis: Array) -> Array:
    forward = 0.6 * root[:, :, 2] + 0.4 * pelvis[:, :, 2]
    return forward + 0.18 * OUTWARD[:, None, None] * root[:, :, 0]


def _elbow_hint(axes: Array, direction: Array, swivel: Array) -> Array:
    """Where the elbows point, (2, T, 3), for arms that point in ``direction``.

    The elbow of an arm held out ahead points down and outwards; it turns with the arm by the smallest rotation, which
    is undefined only for an arm that points up, back and inwards, where no arm goes.
    """
    mirrored = np.stack([OUTWARD, np.ones(2), np.ones(2)], axis=1)
    ahead = mirrored * np.array([0.21, -0.31, 0.93])
    elbow = mirrored * np.stack([0.5 + swivel, np.full(2, -0.8), np.full(2, -0.4)], axis=1)
    elbow = unit(elbow - np.einsum("si,si->s", elbow, ahead)[:, None] * ahead)
    ahead, elbow = (np.einsum("tij,sj->sti", axes, vectors) for vectors in (ahead, elbow))
    turn = np.einsum("sti,sti->st", direction, elbow) / (1.05 + np.einsum("sti,sti->st", direction, ahead))
    hint: Array = elbow - turn[..., None] * (ahead + direction)
    return hint


def _toe_direction(root: Array, pitch: Array) -> Array:
    """Toes point ahead and a little outwards; those of a person on the back point up."""
    backwards = np.maximum(-0.9 * pitch, 0.0)
    ahead = np.cos(backwards)[:, None] * root[:, :, 2] + np.sin(backwards)[:, None] * root[:, :, 1]
    down = np.array([0.0, -0.25, 0.0])
    return unit(ahead + 0.2 * OUTWARD[:, None, None] * root[:, :, 0] + down)


def _assemble(trunk: Trunk, elbows: Array, wrists: Array, hands: Array, tips: Array, thumbs: Array) -> Array:
    pose = np.empty((len(trunk.mid), 25, 3))
    pose[:, 0], pose[:, 1], pose[:, 2] = trunk.frames["pelvis"].origin, trunk.mid, trunk.neck
    pose[:, 3], pose[:, 20] = trunk.frames["head"].origin, trunk.frames["chest"].origin
    for side in (0, 1):
        arm = (trunk.shoulders, elbows, wrists, hands)
        leg = (trunk.hips, trunk.knees, trunk.ankles, trunk.feet)
        for at, joint in enumerate(arm):
            pose[:, 4 + 4 * side + at] = joint[side]
        for at, joint in enumerate(leg):
            pose[:, 12 + 4 * side + at] = joint[side]
        pose[:, 21 + 2 * side], pose[:, 22 + 2 * side] = tips[side], thumbs[side]
    return pose
