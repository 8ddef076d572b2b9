"""What happened in front of the camera, before any sensor saw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl_bench.datasets.synth.actions import Carrier
from mmcl_bench.datasets.synth.body import Array
from mmcl_bench.skeleton.layouts import KINECT_V2

JOINT = {name: at for at, name in enumerate(KINECT_V2.joints)}
"""Position of each joint in a pose."""

HANDS = (JOINT["left_hand"], JOINT["right_hand"])

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Wardrobe:
    """The colours of one person."""

    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Wardrobe:
        """Clothes of any colour, skin and hair of a human one."""
        skin = np.array([236, 198, 166]) * rng.uniform(0.45, 1.04)
        hair = np.array([96, 70, 46]) * rng.uniform(0.2, 1.3)
        top, trousers, shoes = (
            rng.uniform((40, 40, 40), (230, 220, 225)),
            rng.uniform(25, 130, 3),
            rng.uniform(20, 90, 3),
        )
        return cls(*(_colour(each) for each in (skin, hair, top, trousers, shoes)))


def _colour(values: Array) -> Colour:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


@dataclass(frozen=True)
class Visible:
    """A prop of this clip: the name it has here, and who carries it when, in shares of the action."""

    name: str
    stays: tuple[tuple[Carrier, float, float], ...]

    def carrier(self, clock: float) -> Carrier | None:
        """Who carries it at ``clock``; None while it is out of sight."""
        return next((carrier for carrier, start, end in self.stays if start <= clock < end), None)


@dataclass(frozen=True)
class Take:
    """A performed action, free of noise."""

    clock: Array
    """(T,) share of the action that has passed."""
    poses: Array
    """(M, T, 25, 3) float64, metres, in the camera's frame: y up, z away from the camera, x to its left."""
    main: tuple[int, ...]
    """The hand of choice of each body, 0 left, 1 right."""
    wardrobes: tuple[Wardrobe, ...]
    props: tuple[Visible, ...]
    camera: int

    def evenly(self, count: int) -> Array:
        """(count,) frame numbers in the middles of ``count`` equal parts of the clip."""
        return ((np.arange(count) + 0.5) * len(self.clock) / count).astype(int)


def frame_at(clock: Array, share: float) -> int:
    """The frame in which ``share`` of the action has passed."""
    return min(int(np.searchsorted(clock, share)), len(clock) - 1)
