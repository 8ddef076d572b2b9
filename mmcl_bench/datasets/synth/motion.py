"""The curves of one moving person, and what turns them into footholds and hand targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mmcl_bench.datasets.synth.body import OUTWARD, Array, Body, Frame, Trunk, rotation, turned

LEFT, RIGHT = 0, 1
HAND_RADIUS = 0.06
"""Metres that a hand stays above the floor."""

Hands = Literal["main", "off", "both"]
FrameName = Literal["root", "pelvis", "chest", "head", "hang", "between"]


@dataclass(frozen=True)
class Place:
    """Where a hand can go: an offset (outwards, up, forward) in metres from the origin of a frame.

    ``hang`` is the shoulder with upright axes; ``between`` lies on the floor midway between two people. With
    ``partner`` the frame is the other person's, and outwards is on the side of the hand that reaches.
    """

    frame: FrameName
    outward: float
    up: float
    forward: float
    partner: bool = False


@dataclass(frozen=True)
class Reach:
    """A hand drawn to a place: ``weight`` (T,) from 0 to 1, ``offset`` (T, 3) added in the place's frame."""

    place: Place
    weight: Array
    offset: Array


@dataclass(frozen=True)
class Manner:
    """How one person moves."""

    main: int
    """The hand of choice: 0 left, 1 right."""
    amplitude: float
    tempo: float
    softness: float
    """Scales the time that a rise or fall takes."""
    repetitions: float
    stoop: float
    """Habitual forward lean of the trunk, degrees."""
    stance: float
    """Distance of each foot from the middle, metres."""
    swivel: float
    """How far the elbows stick out."""
    gaze: float
    """How much the head follows what the hands do."""
    sway: float
    two_handed: float
    """Probability to use both hands where one would do."""
    bias: Array
    """(2, 3) metres: where this person's hands end up, compared with the place meant."""
    effort: float = 1.0
    """Share of the way that a hand goes to its place; less than 1 in a half-hearted take."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Manner:
        """A person's manner; 15% are left-handed."""
        return cls(
            main=LEFT if rng.random() < 0.15 else RIGHT,
            amplitude=rng.uniform(0.72, 1.25),
            tempo=rng.uniform(0.8, 1.25),
            softness=rng.uniform(0.7, 1.35),
            repetitions=rng.uniform(0.75, 1.4),
            stoop=rng.normal(3.0, 3.5),
            stance=rng.uniform(0.09, 0.16),
            swivel=rng.uniform(-0.15, 0.6),
            gaze=rng.uniform(0.4, 1.2),
            sway=rng.uniform(0.5, 1.6),
            two_handed=rng.uniform(0.0, 0.5),
            bias=rng.normal(0.0, 0.028, (2, 3)),
        )

    def today(self, rng: np.random.Generator) -> Manner:
        """The same person in one take: a little different each time, now and then with the other hand."""
        return replace(
            self,
            main=1 - self.main if rng.random() < 0.1 else self.main,
            amplitude=self.amplitude * rng.uniform(0.85, 1.15),
            tempo=self.tempo * rng.uniform(0.88, 1.14),
            softness=self.softness * rng.uniform(0.85, 1.15),
            stoop=self.stoop + rng.normal(0.0, 2.0),
            stance=self.stance * rng.uniform(0.85, 1.2),
            swivel=self.swivel + rng.normal(0.0, 0.12),
            bias=self.bias + rng.normal(0.0, 0.042, (2, 3)),
            effort=rng.uniform(0.85, 1.0),
        )


@dataclass
class Motion:
    """The curves of one body over T frames. Angles in radians as (pitch, yaw, roll); sided arrays are left, right."""

    rng: np.random.Generator
    manner: Manner
    body: Body
    clock: Array
    """(T,) share of the action that has passed; below 0 before it begins and above 1 after it ends."""
    seconds: Array
    """(T,) time since the first frame."""
    floor: Array = field(init=False)
    """(T, 2) x and z of the person in the scene."""
    facing: Array = field(init=False)
    """(T,) heading, 0 along z of the scene."""
    shift: Array = field(init=False)
    """(T, 3) of the pelvis from above ``floor``, in the person's own axes."""
    lift: Array = field(init=False)
    """(T,) of the whole body off the floor."""
    drop: Array = field(init=False)
    """(T,) of the pelvis below its height in standing."""
    pelvis: Array = field(init=False)
    """(T, 3) angles of the pelvis, which the trunk follows."""
    trunk: Array = field(init=False)
    """(T, 3) angles of the chest against the pelvis."""
    head: Array = field(init=False)
    """(T, 3) angles of the head against the chest."""
    planted: Array = field(init=False)
    """(2, T, 3) footholds in the scene; :func:`plant` sets them."""
    foot_offset: Array = field(init=False)
    """(2, T, 3) of each foot from its foothold, in the person's own axes."""
    flex: Array = field(init=False)
    """(2, T) bend of the wrists towards the palm."""
    reaches: tuple[list[Reach], list[Reach]] = field(init=False)
    """What draws each hand, each reach over those before it."""
    swings: list[tuple[int, float, float]] = field(init=False)
    """Steps: side, and shares of the action at which the foot leaves and meets the floor."""

    def __post_init__(self) -> None:
        n = len(self.clock)
        self.floor, self.facing = np.zeros((n, 2)), np.zeros(n)
        self.shift, self.pelvis, self.trunk, self.head = (np.zeros((n, 3)) for _ in range(4))
        self.lift, self.drop = np.zeros(n), np.zeros(n)
        self.planted, self.foot_offset = np.zeros((2, n, 3)), np.zeros((2, n, 3))
        self.flex = np.zeros((2, n))
        self.reaches = ([], [])
        self.swings = []

    def sides(self, hands: Hands) -> tuple[int, ...]:
        """The sides that ``hands`` means for this person."""
        main = self.manner.main
        return {"main": (main,), "off": (1 - main,), "both": (main, 1 - main)}[hands]

    def rise(self, start: float, end: float) -> Array:
        """(T,) minimum-jerk rise from 0 at ``start`` to 1 at ``end``."""
        return minimum_jerk((self.clock - start) / max(end - start, 1e-3))

    def window(self, start: float, end: float, ramp: float) -> Array:
        """(T,) up within ``ramp`` of ``start``, down within ``ramp`` before ``end``, both a little off the beat."""
        start, end = start + self.rng.normal(0.0, 0.025), end + self.rng.normal(0.0, 0.025)
        ramp = min(ramp * self.manner.softness, 0.5 * (end - start))
        return self.rise(start, start + ramp) - self.rise(end - ramp, end)

    def cycle(self, hertz: float) -> Array:
        """(T,) phase in radians of a movement that this person repeats about ``hertz`` times a second."""
        pace = hertz * self.manner.tempo * self.rng.uniform(0.85, 1.15)
        drift = 0.5 * np.sin(self.seconds * self.rng.uniform(0.8, 1.6) + self.rng.uniform(0, 6.3))
        return 2 * np.pi * pace * self.seconds + drift + self.rng.uniform(0, 2 * np.pi)

    def count(self, typical: int) -> int:
        """How often this person repeats what is typically done ``typical`` times."""
        return max(1, round(typical * self.manner.repetitions * self.rng.uniform(0.8, 1.2)))


Move = Callable[[Motion], None]


def minimum_jerk(share: Array) -> Array:
    """The minimum-jerk rise from 0 at 0 to 1 at 1."""
    s = np.clip(share, 0.0, 1.0)
    return s * s * s * (10.0 + s * (6.0 * s - 15.0))


def plant(m: Motion) -> None:
    """Sets ``planted`` (2, T, 3): each foot stands still but for its swings, which end under the body to come."""
    last = m.clock[-1]
    for side in (LEFT, RIGHT):
        swings = [swing for swing in m.swings if swing[0] == side]
        at = _foothold(m, side, m.clock[0])
        path = np.tile(at, (len(m.clock), 1))
        for number, (_, start, end) in enumerate(swings):
            next_start = swings[number + 1][1] if number + 1 < len(swings) else last
            goal = _foothold(m, side, 0.5 * (end + next_start) if number + 1 < len(swings) else last)
            share = m.rise(start, end)
            path += share[:, None] * (goal - at)
            path[:, 1] += 0.36 * share * (1 - share)
            at = goal
        m.planted[side] = path
        # What is off the floor does not hold the pelvis down.
        m.foot_offset[side, :, 1] += path[:, 1]
        m.planted[side, :, 1] = 0.0


def _foothold(m: Motion, side: int, when: float) -> Array:
    at = min(int(np.searchsorted(m.clock, when)), len(m.clock) - 1)
    out, heading = OUTWARD[side] * m.manner.stance, m.facing[at]
    return np.array([m.floor[at, 0] + out * np.cos(heading), 0.0, m.floor[at, 1] - out * np.sin(heading)])


def hand_targets(m: Motion, trunk: Trunk, partner: Trunk | None) -> Array:
    """(2, T, 3) where the hands want to be: each reach laid over those before it, along a path that bulges forward."""
    targets = np.empty((2, len(m.clock), 3))
    forward = trunk.frames["chest"].axes[:, :, 2]
    arm = m.body.upper_arm + m.body.forearm + m.body.hand
    for side in (LEFT, RIGHT):
        hang = Frame(trunk.shoulders[side], trunk.frames["root"].axes)
        at = hang.place(np.array([0.05 * OUTWARD[side], -0.96 * arm, 0.05]))
        for reach in m.reaches[side]:
            goal = _goal(reach, side, m.body, hang, trunk, partner)
            weight = reach.weight[:, None]
            at += weight * (goal - at) + 0.3 * weight * (1 - weight) * forward
        at[:, 1] = np.maximum(at[:, 1], HAND_RADIUS)
        targets[side] = at
    return targets


def _goal(reach: Reach, side: int, body: Body, hang: Frame, trunk: Trunk, partner: Trunk | None) -> Array:
    place, sign = reach.place, OUTWARD[side]
    offset = body.scale * np.array([place.outward, place.up, place.forward]) + reach.offset
    if place.frame == "hang":
        return hang.place(offset * np.array([sign, 1.0, 1.0]))
    if place.frame == "between" and partner is not None:
        middle = 0.5 * (trunk.frames["root"].origin + partner.frames["root"].origin)
        return Frame(middle, trunk.frames["root"].axes).place(offset * np.array([sign, 1.0, 1.0]))
    if place.partner and partner is not None:
        ours, theirs = trunk.frames["root"].axes[:, :, 2], partner.frames["root"].axes[:, :, 2]
        same_way = np.sign(np.einsum("ti,ti->t", ours, theirs).mean()) or 1.0
        return partner.frames[place.frame].place(offset * np.array([same_way * sign, 1.0, 1.0]))
    return trunk.frames[place.frame].place(offset * np.array([sign, 1.0, 1.0]))


def station(m: Motion, x: float, z: float, heading: float) -> None:
    """Moves the whole motion to (``x``, ``z``) on the floor of the scene, turned by ``heading`` radians."""
    turn_by = rotation(np.zeros(1), np.array([heading]), np.zeros(1))[0]
    flat = np.stack([m.floor[:, 0], np.zeros(len(m.floor)), m.floor[:, 1]], axis=1)
    m.floor = turned(turn_by[None], flat)[:, [0, 2]] + np.array([x, z])
    m.facing = m.facing + heading
