"""Kinematic primitives: what a body can do, as curves over time.

A *move* is a function that adds to the curves of a :class:`~mmcl_bench.datasets.synth.motion.Motion`; the functions of
this module make moves. Times are shares of the action, 0 its begin and 1 its end; lengths are metres for a person of
:data:`~mmcl_bench.datasets.synth.body.REFERENCE_STATURE`; angles are degrees. Every rise and fall is a minimum-jerk
curve (Flash and Hogan, 1985). What a move draws at random it draws from the motion's own generator, and it scales its
amplitude, tempo and repetitions with the performer's :class:`~mmcl_bench.datasets.synth.motion.Manner`.

To add a primitive, write a function that returns a move and touches nothing but the motion's curves: ``floor`` and
``facing`` (where the person stands), ``swings`` (steps), ``shift``, ``drop``, ``lift`` and ``pelvis`` (the pelvis),
``trunk`` and ``head`` (angles), ``foot_offset`` (a foot off its place), ``reaches`` (hands) and ``flex`` (wrists).
Then use it in the table of :mod:`~mmcl_bench.datasets.synth.actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmcl_bench.datasets.synth.body import OUTWARD, Array, Body
from mmcl_bench.datasets.synth.motion import (
    LEFT,
    RIGHT,
    Hands,
    Manner,
    Motion,
    Move,
    Place,
    Reach,
    minimum_jerk,
)

GRAVITY = 9.81
FIDGETING = 0.45
"""Share of the performances with a gesture that has nothing to do with the action."""


@dataclass(frozen=True)
class Wiggle:
    """A periodic movement about a place: amplitude in metres outwards, up and forward, at ``hertz``."""

    outward: float = 0.0
    up: float = 0.0
    forward: float = 0.0
    hertz: float = 2.0
    circle: bool = False
    """Up and outwards a quarter cycle apart."""
    alternate: bool = False
    """The off hand half a cycle later."""
    flex: float = 0.0
    """Amplitude at the wrist, degrees."""


def together(*moves: Move) -> Move:
    """All of ``moves``."""

    def move(m: Motion) -> None:
        for each in moves:
            each(m)

    return move


def sometimes(probability: float, *moves: Move) -> Move:
    """All of ``moves`` or none."""

    def move(m: Motion) -> None:
        if m.rng.random() < probability:
            together(*moves)(m)

    return move


def one_of(*moves: Move) -> Move:
    """One of ``moves``, equally likely."""

    def move(m: Motion) -> None:
        moves[m.rng.integers(len(moves))](m)

    return move


def hold(
    hands: Hands,
    place: Place,
    start: float = 0.12,
    end: float = 0.88,
    ramp: float = 0.2,
    wiggle: Wiggle | None = None,
    flex: float = 0.0,
) -> Move:
    """Brings hands to a place, keeps them there, perhaps moving about it, and lets them go back."""

    def move(m: Motion) -> None:
        weight = m.manner.effort * m.window(start, end, ramp)
        phase = m.cycle(wiggle.hertz) if wiggle else None
        for side in m.sides(hands):
            offset = np.tile(m.manner.bias[side] + m.rng.normal(0.0, 0.012, 3), (len(weight), 1))
            m.flex[side] += np.radians(flex) * weight
            if wiggle is not None and phase is not None:
                lag = np.pi if wiggle.alternate and side != m.manner.main else 0.0
                offset += _wiggled(m, wiggle, phase + lag)
                m.flex[side] += np.radians(wiggle.flex) * np.sin(phase + lag) * weight
            m.reaches[side].append(Reach(place, weight, offset))

    return move


def _wiggled(m: Motion, wiggle: Wiggle, phase: Array) -> Array:
    wave = np.sin(phase)
    sizes = m.manner.amplitude * np.array([wiggle.outward, wiggle.up, wiggle.forward])
    waves = np.stack([wave, np.cos(phase) if wiggle.circle else wave, wave], axis=1)
    offsets: Array = sizes * waves
    return offsets


def repeatedly(hands: Hands, place: Place, times: int, start: float = 0.1, end: float = 0.9, flex: float = 0.0) -> Move:
    """Brings hands to a place about ``times`` times, with a pause between."""

    def move(m: Motion) -> None:
        edges = np.linspace(start, end, m.count(times) + 1)
        for begin, stop in pairwise(edges.tolist()):
            length = stop - begin
            hold(hands, place, begin, stop - 0.12 * length, 0.38 * length, flex=flex)(m)

    return move


def either_hand(place: Place, **how: object) -> Move:
    """:func:`hold` with the main hand, or with both by a person who is given to that."""

    def move(m: Motion) -> None:
        hands: Hands = "both" if m.rng.random() < m.manner.two_handed else "main"
        hold(hands, place, **how)(m)  # type: ignore[arg-type]

    return move


def look(
    pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, start: float = 0.08, end: float = 0.92, ramp: float = 0.2
) -> Move:
    """Turns the head: down for a positive ``pitch``, to the main hand's side for a positive ``yaw`` or ``roll``."""

    def move(m: Motion) -> None:
        towards_main = OUTWARD[m.manner.main]
        angles = np.radians([pitch, yaw * towards_main, -roll * towards_main]) * m.rng.uniform(0.7, 1.2)
        m.head += m.manner.gaze * m.window(start, end, ramp)[:, None] * angles

    return move


def shake_head(yaw: float, sway: float, hertz: float, start: float = 0.1, end: float = 0.9) -> Move:
    """Turns the head from side to side; ``sway`` is the roll that goes with it."""

    def move(m: Motion) -> None:
        wave = m.manner.amplitude * m.window(start, end, 0.15) * np.sin(m.cycle(hertz))
        m.head[:, 1] += np.radians(yaw) * wave
        m.head[:, 2] += np.radians(sway) * wave

    return move


def nod(pitch: float, times: int, start: float = 0.1, end: float = 0.9) -> Move:
    """Bows the head about ``times`` times."""

    def move(m: Motion) -> None:
        edges = np.linspace(start, end, m.count(times) + 1)
        for begin, stop in pairwise(edges.tolist()):
            m.head[:, 0] += np.radians(pitch) * m.manner.amplitude * m.window(begin, stop, 0.4 * (stop - begin))

    return move


def lean(
    pitch: float = 0.0, side: float = 0.0, twist: float = 0.0, start: float = 0.1, end: float = 0.9, ramp: float = 0.22
) -> Move:
    """Bends the trunk forward, to the side of the main hand, or twists that side forward; the hips join in."""

    def move(m: Motion) -> None:
        towards_main = OUTWARD[m.manner.main]
        size = m.manner.amplitude * m.rng.uniform(0.8, 1.2)
        angles = size * np.radians([pitch, -twist * towards_main, -side * towards_main])
        weight = m.window(start, end, ramp)[:, None]
        m.trunk += 0.6 * weight * angles
        m.pelvis += 0.4 * weight * angles
        m.shift[:, 2] -= 0.18 * np.sin(angles[0]) * weight[:, 0]

    return move


def jerk(pitch: float, times: int, start: float = 0.25, end: float = 0.8) -> Move:
    """Sudden forward jerks of trunk and head, as in a cough."""

    def move(m: Motion) -> None:
        size = np.radians(pitch) * m.manner.amplitude
        for middle in np.linspace(start, end, m.count(times) + 2)[1:-1] + m.rng.normal(0.0, 0.03):
            burst = m.rise(middle - 0.05, middle) - m.rise(middle, middle + 0.16)
            m.trunk[:, 0] += size * burst
            m.head[:, 0] += 0.8 * size * burst

    return move


def squat(depth: float, start: float = 0.1, end: float = 0.9, ramp: float = 0.3, pitch: float = 25.0) -> Move:
    """Lowers the pelvis by ``depth`` and comes up again, bending the trunk by ``pitch``."""

    def move(m: Motion) -> None:
        weight = m.window(start, end, ramp)
        m.drop += weight * depth * m.body.scale * m.rng.uniform(0.85, 1.15)
        m.pelvis[:, 0] += np.radians(pitch) * weight
        m.shift[:, 2] -= 0.35 * depth * weight

    return move


def seat(down: bool, start: float = 0.2, end: float = 0.75) -> Move:
    """Sits down on a chair behind, or gets up from it."""

    def move(m: Motion) -> None:
        begin, stop = start + m.rng.normal(0.0, 0.04), end + m.rng.normal(0.0, 0.05)
        seated = m.rise(begin, stop) if down else 1.0 - m.rise(begin, stop)
        m.drop += seated * (m.body.standing - m.rng.uniform(0.48, 0.55))
        m.shift[:, 2] -= m.rng.uniform(0.34, 0.42) * m.body.scale * seated
        m.pelvis[:, 0] += np.radians(m.rng.uniform(25, 45)) * 4 * seated * (1 - seated)
        m.trunk[:, 0] += np.radians(m.rng.uniform(0, 22)) * 4 * seated * (1 - seated)
        m.pelvis[:, 0] += np.radians(m.rng.uniform(-8, 4)) * seated
        if m.rng.random() < 0.75:
            on_thighs = Place("pelvis", 0.10, 0.08, m.rng.uniform(0.22, 0.36))
            for side in (LEFT, RIGHT):
                m.reaches[side].append(Reach(on_thighs, seated, np.tile(m.manner.bias[side], (len(seated), 1))))

    return move


def jump(at: float, height: float) -> Move:
    """One jump that leaves the floor at ``at``: a crouch, ballistic flight, a soft landing."""

    def move(m: Motion) -> None:
        apex = height * m.manner.amplitude * m.rng.uniform(0.8, 1.25)
        flight = 2 * np.sqrt(2 * apex / GRAVITY)
        t = m.seconds - np.interp(at + m.rng.normal(0.0, 0.04), m.clock, m.seconds)
        m.lift += np.where((t > 0) & (t < flight), 0.5 * GRAVITY * t * (flight - t), 0.0)
        crouch = minimum_jerk((t + 0.45) / 0.3) - minimum_jerk((t + 0.13) / 0.13)
        landing = minimum_jerk((t - flight) / 0.12) - minimum_jerk((t - flight - 0.12) / 0.3)
        m.drop += m.body.scale * (0.22 * crouch + 0.14 * landing)
        m.pelvis[:, 0] += np.radians(22) * crouch + np.radians(14) * landing
        for side in (LEFT, RIGHT):
            swing = np.stack([0.1 * crouch, -0.05 * crouch, -0.3 * crouch], axis=1)
            m.reaches[side].append(Reach(Place("hang", 0.12, -0.5, 0.0), crouch, swing))

    return move


def hop(height: float, times: int, start: float = 0.12, end: float = 0.9) -> Move:
    """Hops on the main leg with the other one lifted behind."""

    def move(m: Motion) -> None:
        lifted = 1 - m.manner.main
        raised = m.window(start - 0.05, end + 0.05, 0.12)
        m.foot_offset[lifted] += m.body.scale * raised[:, None] * np.array([0.0, 0.32, -0.24])
        m.shift[:, 0] += 0.8 * OUTWARD[m.manner.main] * m.manner.stance * raised
        edges = np.linspace(start + 0.06, end - 0.04, m.count(times) + 1)
        for begin, stop in pairwise(edges.tolist()):
            share = np.clip((m.clock - begin) / (0.62 * (stop - begin)), 0.0, 1.0)
            m.lift += 4 * height * m.manner.amplitude * share * (1 - share)
            rest = (m.clock - begin) / (stop - begin)
            m.drop += 0.05 * np.where((rest > 0.62) & (rest < 1), np.sin((rest - 0.62) / 0.38 * np.pi), 0.0)

    return move


def kick(forward: float, up: float, start: float = 0.2, end: float = 0.85) -> Move:
    """Swings the main foot back, then to ``forward`` and ``up``, and puts it down again."""

    def move(m: Motion) -> None:
        foot, length = m.manner.main, end - start
        back = m.window(start, start + 0.48 * length, 0.26 * length)
        out = m.window(start + 0.3 * length, end, 0.24 * length)
        size = m.manner.amplitude * m.body.scale
        m.foot_offset[foot] += back[:, None] * np.array([0.0, 0.16, -0.3]) * m.body.scale
        m.foot_offset[foot] += size * out[:, None] * np.array([0.0, up, forward])
        m.shift[:, 0] -= 0.06 * OUTWARD[foot] * np.maximum(back, out)
        m.trunk[:, 0] += np.radians(10) * back - np.radians(14) * out
        for side, swing in ((foot, back - out), (1 - foot, out - back)):
            offset = np.stack([0.08 * out, 0.06 * out, 0.25 * swing], axis=1)
            m.reaches[side].append(Reach(Place("hang", 0.1, -0.54, 0.02), np.maximum(back, out), offset))

    return move


def raise_foot(forward: float, up: float, start: float, end: float, ramp: float = 0.2, outward: float = 0.0) -> Move:
    """Lifts the main foot to ``forward``, ``up`` and ``outward`` of its place and holds it there."""

    def move(m: Motion) -> None:
        weight = m.window(start, end, ramp)[:, None]
        place = np.array([outward * OUTWARD[m.manner.main], up, forward])
        m.foot_offset[m.manner.main] += weight * place * m.body.scale
        m.shift[:, 0] -= 0.07 * OUTWARD[m.manner.main] * weight[:, 0]

    return move


def run_in_place(up: float, forward: float, start: float = 0.06, end: float = 0.95, hertz: float = 1.5) -> Move:
    """Lifts the feet in turn to ``up`` and ``forward`` of their places, the bent arms swinging against them."""

    def move(m: Motion) -> None:
        weight = m.manner.amplitude * m.window(start, end, 0.12)
        phase = m.cycle(hertz)
        m.drop += 0.03 * weight * (1 + np.cos(2 * phase))
        for side, wave in ((m.manner.main, np.sin(phase)), (1 - m.manner.main, -np.sin(phase))):
            raised = m.body.scale * weight * np.maximum(wave, 0.0)
            m.foot_offset[side] += raised[:, None] * np.array([0.0, up, forward])
            swing = np.stack([np.zeros_like(wave), 0.05 * wave, -0.16 * wave], axis=1)
            m.reaches[side].append(Reach(Place("pelvis", 0.16, 0.16, 0.16), np.minimum(weight, 1.0), swing))

    return move


def walk(distance: float, start: float = 0.05, end: float = 0.95, stride: float = 0.5, sideways: float = 0.0) -> Move:
    """Goes ``distance`` ahead (back when negative) and ``sideways`` to the left, in steps of about ``stride``."""

    def move(m: Motion) -> None:
        begin = m.facing[np.argmin(np.abs(m.clock - start))]
        ahead, left = np.array([np.sin(begin), np.cos(begin)]), np.array([np.cos(begin), -np.sin(begin)])
        share = np.clip((m.clock - start) / (end - start), 0.0, 1.0)
        progress = 0.65 * share + 0.35 * minimum_jerk(share)
        m.floor += progress[:, None] * (distance * ahead + sideways * left)
        steps = max(2, round(abs(distance) / (stride * m.body.scale)) + 1)
        step_in_place(m, start, end, steps)
        moving = m.window(start, end, 0.1)
        phase = np.pi * steps * share + np.pi * m.manner.main
        m.drop += 0.015 * moving * (1 + np.cos(2 * phase))
        for side in (LEFT, RIGHT):
            swing = 0.16 * m.manner.amplitude * np.cos(phase + np.pi * side) * np.sign(distance or 1.0)
            offset = np.stack([np.zeros_like(swing), 0.2 * np.abs(swing), swing], axis=1)
            m.reaches[side].append(Reach(Place("hang", 0.06, -0.56, 0.03), moving, offset))

    return move


def step_in_place(m: Motion, start: float, end: float, steps: int) -> None:
    """Lets the feet follow the body in ``steps`` alternate steps."""
    edges = np.linspace(start, end, steps + 1)
    for at, (begin, stop) in enumerate(pairwise(edges.tolist())):
        side = m.manner.main if at % 2 == 0 else 1 - m.manner.main
        m.swings.append((side, float(begin), float(stop)))


def turn(angle: float, start: float, end: float, steps: int = 4) -> Move:
    """Turns on the spot by ``angle``, positive towards the off hand."""

    def move(m: Motion) -> None:
        m.facing += np.radians(angle) * OUTWARD[1 - m.manner.main] * m.rise(start, end)
        if steps:
            step_in_place(m, start, end, steps)

    return move


def stagger(sway: float, steps: int, start: float = 0.08, end: float = 0.95) -> Move:
    """Reels from side to side with unsteady steps, the arms held out."""

    def move(m: Motion) -> None:
        weight = m.window(start, end, 0.15)
        phase = m.cycle(0.55)
        wave, other = np.sin(phase), np.sin(0.63 * phase + 1.0)
        m.floor[:, 0] += sway * m.manner.amplitude * weight * wave
        m.floor[:, 1] += 0.7 * sway * weight * other
        m.trunk[:, 2] += np.radians(14) * m.manner.amplitude * weight * np.cos(phase)
        m.trunk[:, 0] += np.radians(12) * weight * (0.6 + other)
        m.head[:, 2] += np.radians(10) * weight * other
        step_in_place(m, start, end, m.count(steps))
        for side in (LEFT, RIGHT):
            offset = np.stack([0.1 * wave, 0.1 * other * OUTWARD[side], 0.08 * wave], axis=1)
            m.reaches[side].append(Reach(Place("hang", 0.22, -0.45, 0.12), 0.8 * weight, offset))

    return move


def fall(start: float = 0.2, end: float = 0.72) -> Move:
    """Falls to the floor, forward, backwards or to a side, and stays there."""

    def move(m: Motion) -> None:
        begin, stop = start + m.rng.normal(0.0, 0.05), end + m.rng.normal(0.0, 0.06)
        share = np.clip((m.clock - begin) / (stop - begin), 0.0, 1.0)
        down = minimum_jerk(share**1.4)
        way = m.rng.choice(["forward", "backwards", "side"])
        m.drop += down * (m.body.standing - m.rng.uniform(0.14, 0.24))
        floor = Place("root", 0.3, 0.06, 1.3 if way == "forward" else -0.45)
        if way == "side":
            towards = OUTWARD[m.rng.integers(2)]
            m.pelvis[:, 2] -= towards * np.radians(m.rng.uniform(55, 78)) * down
            m.pelvis[:, 0] += np.radians(m.rng.uniform(-5, 30)) * down
            m.shift[:, 0] += towards * 0.35 * down
            floor = Place("root", 0.45, 0.08, 0.2)
        else:
            sign = 1.0 if way == "forward" else -1.0
            m.pelvis[:, 0] += sign * np.radians(m.rng.uniform(50, 76)) * down
            m.shift[:, 2] += (0.80 if way == "forward" else -0.5) * down * m.body.scale
            m.trunk[:, 0] += np.radians(m.rng.uniform(0, 25)) * down
        for side in (LEFT, RIGHT):
            m.reaches[side].append(Reach(floor, down, m.rng.normal(0.0, 0.07, 3) * np.ones((len(down), 3))))

    return move


def recoil(pitch: float, back: float, start: float, turn_head: float = 0.0) -> Move:
    """Gives way to a blow or a push at ``start``: the trunk is thrown by ``pitch``, the feet step ``back``."""

    def move(m: Motion) -> None:
        size = m.manner.amplitude * m.rng.uniform(0.7, 1.2)
        thrown = m.window(start, start + 0.4, 0.13)
        m.trunk[:, 0] += np.radians(pitch) * size * thrown
        m.head[:, 1] += np.radians(turn_head) * size * thrown
        m.head[:, 0] -= 0.5 * np.radians(pitch) * size * thrown
        if back:
            walk(-back * size, start + 0.03, min(start + 0.42, 1.0), stride=0.3)(m)

    return move


def idle(m: Motion) -> None:
    """Adds what a standing person does anyway: posture, sway, where unused hands rest."""
    sway = m.manner.sway
    m.trunk[:, 0] += np.radians(m.manner.stoop)
    for curve, size in ((m.shift, 0.008), (m.trunk, 0.016), (m.head, 0.05)):
        slow = m.rng.uniform(0.9, 2.8, 3) * m.seconds[:, None] + m.rng.uniform(0.0, 6.3, 3)
        curve += sway * size * np.sin(slow)
    m.head += m.rng.normal(0.0, [0.06, 0.09, 0.03])
    m.facing += m.rng.normal(0.0, 0.09)
    rests = (None, None, None, Place("pelvis", 0.03, 0.05, 0.14), Place("pelvis", 0.19, -0.08, 0.04))
    rest = rests[m.rng.integers(len(rests))]
    if rest is not None:
        hold("off" if m.rng.random() < 0.5 else "both", rest, -2.0, 3.0, 0.1)(m)
    if m.rng.random() < FIDGETING:
        _fidget(m)


def _fidget(m: Motion) -> None:
    """A gesture that has nothing to do with the action, near its begin or its end."""
    start = m.rng.choice([-0.1, 0.72]) + m.rng.normal(0.0, 0.04)
    spot = Place("chest", *m.rng.uniform((-0.05, -0.45, 0.12), (0.25, 0.25, 0.35)))
    hold("main" if m.rng.random() < 0.6 else "off", spot, start, start + 0.38, 0.15)(m)
    angles = m.rng.normal(0.0, 12.0, 2)
    look(float(angles[0]), float(angles[1]), start=start, end=start + 0.4)(m)


def performed(
    moves: Sequence[Move], rng: np.random.Generator, manner: Manner, body: Body, clock: Array, seconds: Array
) -> Motion:
    """The motion of one person who does ``moves`` one over the other, from where they stand."""
    motion = Motion(rng, manner, body, clock, seconds)
    idle(motion)
    for move in moves:
        move(motion)
    return motion
