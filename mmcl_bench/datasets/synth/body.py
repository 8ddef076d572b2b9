"""A person of the Kinect v2 layout: bone lengths, frames of reference, and turning them.

Frames of reference are right-handed: x to the person's left, y up, z where the person faces. A person who faces the
sensor therefore has the left hand at negative x of the sensor's own frame (y up, z away from the sensor), as a
Kinect has it. Sided arrays have a leading axis of 2: left, then right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
