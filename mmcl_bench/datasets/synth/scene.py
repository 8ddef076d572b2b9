"""One take of one action: who performs it, how they move, and where the camera stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmcl_bench.datasets.readers.ntu import TRAIN_SUBJECTS_60, TRAIN_SUBJECTS_120
from mmcl_bench.datasets.store import Clip
from mmcl_bench.datasets.synth.actions import Action
from mmcl_bench.datasets.synth.answers import describe
from mmcl_bench.datasets.synth.body import Array, Body, rotation
from mmcl_bench.datasets.synth.more_actions import ALL_ACTIONS
from mmcl_bench.datasets.synth.motion import Manner, Motion, hand_targets, plant, station
from mmcl_bench.datasets.synth.motions import performed
from mmcl_bench.datasets.synth.pose import solve_arms, solve_trunk
from mmcl_bench.datasets.synth.render import strip
from mmcl_bench.datasets.synth.sensor import observe
from mmcl_bench.datasets.synth.take import Take, Visible, Wardrobe

VERSION = 1
"""Enters every seed; raised when a change of the generator changes the clips."""

SUBJECTS = tuple(range(1, 41))
TRAIN_SUBJECTS = TRAIN_SUBJECTS_60
"""NTU RGB+D cross-subject training performers (Shahroudy et al., CVPR 2016)."""
TEST_SUBJECTS = tuple(subject for subject in SUBJECTS if subject not in TRAIN_SUBJECTS)
MORE_SUBJECTS = tuple(range(41, 107))
"""Those that NTU RGB+D 120 adds."""

CAMERA_YAW = {1: 0.0, 2: -45.0, 3: 45.0}
"""Degrees by camera number; as in NTU RGB+D, camera 1 stands in the middle."""

FRAME_RATE = 30.0
SHORTEST, LONGEST = 45, 110
"""Frames of a clip."""


@dataclass(frozen=True)
class Performer:
    """A subject: the body, the way it moves, and the clothes."""

    subject: int
    body: Body
    manner: Manner
    wardrobe: Wardrobe

    @classmethod
    def of(cls, subject: int) -> Performer:
        """The performer with number ``subject``, the same in every clip."""
        rng = np.random.default_rng([VERSION, 1000, subject])
        return cls(subject, Body.draw(rng), Manner.draw(rng), Wardrobe.draw(rng))


def camera_of(label: int, subject: int, take: int) -> int:
    """The camera that sees a take: each gets a third of every class and of every subject."""
    return (label + subject + take) % 3 + 1


def clip_name(label: int, subject: int, take: int) -> str:
    """The sample id: NTU's own pattern after ``synth-``."""
    return f"synth-S001C{camera_of(label, subject, take):03d}P{subject:03d}R{take:03d}A{label + 1:03d}"


def make_clip(label: int, subject: int, take: int) -> Clip:
    """The synthetic clip of class ``label`` (0 to 59) by ``subject`` (1 to 40), take 1, 2, ...

    Depends on its arguments and :data:`VERSION` alone.
    """
    rng, played, clip = _recorded(label, subject, take)
    return replace(clip, rgb=strip(rng, played), answers=describe(rng, played))


def make_skeleton(label: int, subject: int, take: int) -> Clip:
    """The clip of :func:`make_clip` without its image and answers, in less than half the time.

    ``label`` may be up to 119 here, and ``subject`` up to 106.
    """
    return _recorded(label, subject, take)[2]


def _recorded(label: int, subject: int, take: int) -> tuple[np.random.Generator, Take, Clip]:
    """What draws all else that is random, what happened, and what the sensor made of it."""
    rng = np.random.default_rng([VERSION, label, subject, take])
    played = perform(rng, label, subject, take)
    clip = Clip(
        sample_id=clip_name(label, subject, take),
        label=label,
        subject=subject,
        camera=played.camera,
        setup=1,
        n_frames=len(played.clock),
        bodies=observe(rng, played.poses),
    )
    return rng, played, clip


def perform(rng: np.random.Generator, label: int, subject: int, take: int) -> Take:
    """The noise-free poses of a take and all else that happens in it."""
    action = ALL_ACTIONS[label]
    cast = [Performer.of(subject)]
    if action.gap:
        cast.append(Performer.of(_partner(rng, subject)))
    manners = [performer.manner.today(rng) for performer in cast]
    clock, seconds = _timing(rng, action, manners[0])
    motions = [
        performed(moves, rng, manner, performer.body, clock, seconds)
        for moves, manner, performer in zip((action.moves, action.partner), manners, cast, strict=False)
    ]
    if action.gap:
        _face_each_other(rng, action, motions)
    camera = camera_of(label, subject, take)
    return Take(
        clock=clock,
        poses=_seen_from(rng, camera, _poses(motions), sideways=bool(action.gap)),
        main=tuple(manner.main for manner in manners),
        wardrobes=tuple(performer.wardrobe for performer in cast),
        props=tuple(Visible(str(rng.choice(prop.names)), prop.stays) for prop in action.props),
        camera=camera,
    )


def _partner(rng: np.random.Generator, subject: int) -> int:
    """Another subject of the same side of the cross-subject split: of the first 40, or of those added later."""
    pool = SUBJECTS if subject in SUBJECTS else MORE_SUBJECTS
    trains = subject in TRAIN_SUBJECTS_120
    return int(rng.choice([other for other in pool if other != subject and (other in TRAIN_SUBJECTS_120) == trains]))


def _timing(rng: np.random.Generator, action: Action, manner: Manner) -> tuple[Array, Array]:
    lasts = action.seconds * rng.uniform(0.78, 1.04) / manner.tempo
    before, after = rng.uniform(0.03, 0.55, 2)
    n_frames = int(np.clip(round((before + lasts + after) * FRAME_RATE), SHORTEST, LONGEST))
    seconds = np.arange(n_frames) / FRAME_RATE
    clock = (seconds - before) / (seconds[-1] - before - after)
    hurry = rng.normal(0.0, 0.06)
    return clock + hurry * np.sin(np.pi * np.clip(clock, 0.0, 1.0)), seconds


def _face_each_other(rng: np.random.Generator, action: Action, motions: Sequence[Motion]) -> None:
    first, second = motions
    gap = action.gap * rng.uniform(0.85, 1.22) * 0.5 * (first.body.scale + second.body.scale)
    heading = np.radians(rng.choice(action.partner_headings) + rng.normal(0.0, 10.0))
    station(first, 0.0, -0.5 * gap, 0.0)
    station(second, float(rng.normal(0.0, 0.06)), 0.5 * gap, float(heading))


def _poses(motions: Sequence[Motion]) -> Array:
    """(M, T, 25, 3) in the scene: first all trunks, then the arms, which may reach for the other's trunk."""
    for motion in motions:
        plant(motion)
    trunks = [solve_trunk(motion.body, motion) for motion in motions]
    poses = []
    for at, (motion, trunk) in enumerate(zip(motions, trunks, strict=True)):
        other = trunks[1 - at] if len(trunks) > 1 else None
        targets = hand_targets(motion, trunk, other)
        swivel = np.full(2, motion.manner.swivel)
        poses.append(solve_arms(motion.body, trunk, targets, motion.flex, swivel))
    return np.stack(poses)


def _seen_from(rng: np.random.Generator, camera: int, poses: Array, sideways: bool) -> Array:
    """Scene to camera: two people stand side by side as the camera sees them, one person faces camera 1."""
    yaw = np.radians(180.0 + CAMERA_YAW[camera] + rng.normal(0.0, 5.0))
    if sideways:
        yaw += np.radians(90.0) * rng.choice([-1.0, 1.0])
    turn = rotation(np.zeros(1), np.array([yaw]), np.zeros(1))[0]
    centre = poses[:, :, 0].mean(axis=(0, 1)) * [1.0, 0.0, 1.0]
    stands = np.array([rng.normal(0.0, 0.2), -rng.uniform(1.0, 1.3), rng.uniform(2.6, 3.9)])
    seen: Array = (poses - centre) @ turn.T + stands
    return seen
