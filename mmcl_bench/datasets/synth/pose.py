"""The pose of a body over time: forward kinematics of the trunk, and two-bone inverse kinematics of arms and legs."""

from __future__ import annotations

import numpy as np

from mmcl_bench.datasets.synth.body import OUTWARD, Array, Body, Frame, Trunk, cross, rotation, turned, unit
from mmcl_bench.datasets.synth.motion import Motion


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
