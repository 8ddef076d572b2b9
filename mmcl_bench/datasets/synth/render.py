"""Person crops of a take: flat-coloured people, and the things that the skeleton does not show.

Props are drawn about twice as large as life, so that they can be told apart in crops of 64 x 80 pixels. To add one,
add its shapes to :data:`SHAPES`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from mmcl_bench.datasets.synth.body import Array
from mmcl_bench.datasets.synth.take import HANDS, JOINT, Colour, Take, Visible, Wardrobe, frame_at

CROPS = 5
WIDTH, HEIGHT = 64, 80
"""Pixels of one crop."""

PROP_SIZE = 0.34
"""Metres to which a shape's unit length is drawn."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A filled part of a prop, in prop units about its carrier, y down."""

    kind: Literal["rectangle", "ellipse", "line"]
    left: float
    top: float
    right: float
    bottom: float
    colour: Colour


_rectangle, _ellipse, _line = (partial(Shape, kind) for kind in ("rectangle", "ellipse", "line"))

_WHITE, _BLACK, _GREY, _RED, _BLUE = (246, 246, 242), (24, 24, 28), (130, 134, 140), (214, 44, 40), (42, 92, 210)
_BROWN, _GREEN, _YELLOW, _ORANGE = (126, 80, 42), (52, 160, 70), (240, 208, 60), (240, 130, 30)

SHAPES: Mapping[str, tuple[Shape, ...]] = {
    "cup": (_rectangle(-0.3, -0.5, 0.3, 0.3, _BLUE), _rectangle(-0.3, -0.5, 0.3, -0.35, _WHITE)),
    "bottle": (_rectangle(-0.2, -0.5, 0.2, 0.6, (70, 190, 220)), _rectangle(-0.1, -0.85, 0.1, -0.5, _WHITE)),
    "sandwich": (_rectangle(-0.45, -0.3, 0.45, 0.3, (226, 178, 96)), _rectangle(-0.45, -0.08, 0.45, 0.1, _GREEN)),
    "biscuit": (_ellipse(-0.4, -0.4, 0.4, 0.4, (190, 128, 58)), _ellipse(-0.12, -0.12, 0.1, 0.1, _BROWN)),
    "apple": (_ellipse(-0.4, -0.4, 0.4, 0.4, (196, 36, 44)), _rectangle(-0.05, -0.6, 0.08, -0.35, _GREEN)),
    "toothbrush": (_line(-0.6, 0.3, 0.6, -0.1, (40, 200, 190)), _rectangle(0.4, -0.35, 0.7, -0.05, _WHITE)),
    "comb": (_rectangle(-0.6, -0.2, 0.6, 0.0, _BLACK), _rectangle(-0.6, 0.0, 0.6, 0.2, (150, 60, 150))),
    "hairbrush": (_ellipse(-0.1, -0.35, 0.7, 0.25, (150, 60, 150)), _line(-0.7, 0.2, 0.0, 0.0, _BROWN)),
    "box": (_rectangle(-0.5, -0.4, 0.5, 0.4, (178, 132, 76)), _line(-0.5, -0.1, 0.5, -0.1, _BROWN)),
    "book": (_rectangle(-0.7, -0.45, 0.7, 0.35, (160, 30, 60)), _rectangle(-0.6, -0.4, 0.6, 0.15, _WHITE)),
    "ball": (_ellipse(-0.42, -0.42, 0.42, 0.42, _ORANGE), _line(-0.3, 0.0, 0.3, 0.0, _BLACK)),
    "notepad": (_rectangle(-0.5, -0.45, 0.55, 0.4, _YELLOW), _line(-0.35, 0.0, 0.4, 0.0, _GREY)),
    "pen": (_line(-0.1, 0.35, 0.35, -0.6, _BLUE),),
    "paper": (_rectangle(-0.55, -0.5, 0.55, 0.45, _WHITE), _line(-0.4, -0.1, 0.4, -0.1, _GREY)),
    "jacket": (_rectangle(-0.7, -0.3, 0.7, 1.3, (60, 70, 110)), _line(0.0, -0.3, 0.0, 1.3, _YELLOW)),
    "shoe": (_ellipse(-0.55, -0.25, 0.55, 0.3, _RED), _rectangle(-0.55, 0.12, 0.55, 0.3, _WHITE)),
    "glasses": (_ellipse(-0.5, -0.2, -0.05, 0.22, _BLACK), _ellipse(0.05, -0.2, 0.5, 0.22, _BLACK)),
    "hat": (_rectangle(-0.4, -0.45, 0.4, 0.1, (30, 120, 60)), _rectangle(-0.65, 0.0, 0.65, 0.18, (20, 80, 40))),
    "chair": (),
    "phone": (_rectangle(-0.24, -0.45, 0.24, 0.45, _BLACK), _rectangle(-0.16, -0.33, 0.16, 0.28, (120, 210, 250))),
    "tablet": (_rectangle(-0.55, -0.4, 0.55, 0.4, _BLACK), _rectangle(-0.44, -0.3, 0.44, 0.3, (120, 210, 250))),
    "laptop": (_rectangle(-0.7, 0.1, 0.7, 0.35, _GREY), _rectangle(-0.6, -0.6, 0.6, 0.1, (60, 90, 140))),
    "keyboard": (_rectangle(-0.8, -0.1, 0.8, 0.35, (70, 72, 80)), _line(-0.7, 0.1, 0.7, 0.1, _WHITE)),
    "wallet": (_rectangle(-0.42, -0.28, 0.42, 0.28, (110, 56, 30)), _rectangle(-0.42, -0.08, 0.42, 0.02, _YELLOW)),
    "watch": (_rectangle(-0.4, -0.12, 0.4, 0.12, _BLACK), _ellipse(-0.25, -0.28, 0.25, 0.28, _YELLOW)),
    "towel": (_rectangle(-0.5, -0.3, 0.5, 0.8, (150, 205, 240)), _rectangle(-0.5, 0.4, 0.5, 0.55, _WHITE)),
    "fan": (_ellipse(-0.6, -0.9, 0.6, 0.2, (230, 90, 150)), _line(0.0, 0.0, 0.0, 0.5, _BROWN)),
    "envelope": (_rectangle(-0.6, -0.4, 0.6, 0.4, (240, 226, 190)), _line(-0.6, -0.4, 0.6, 0.3, _RED)),
}
"""What each prop looks like."""


@dataclass(frozen=True)
class Limb:
    """A chain of joints drawn in one stroke, ``width`` metres wide."""

    fill: str
    width: float
    joints: tuple[int, ...]


_LIMBS = tuple(
    Limb(fill, width, tuple(JOINT[f"{side}_{joint}"] for joint in joints))
    for side in ("left", "right")
    for fill, width, joints in (
        ("trousers", 0.15, ("hip", "knee", "ankle")),
        ("shoes", 0.10, ("ankle", "foot")),
        ("sleeve", 0.11, ("shoulder", "elbow", "wrist")),
        ("skin", 0.09, ("wrist", "hand", "hand_tip")),
    )
)
_TORSO = tuple(JOINT[joint] for joint in ("left_shoulder", "right_shoulder", "right_hip", "left_hip"))


@dataclass(frozen=True)
class View:
    """How the camera's metres become a crop's pixels: an orthographic projection, seen from the front."""

    centre: Array
    """x and y in metres at the middle of the crop."""
    scale: float
    """Pixels per metre."""

    @classmethod
    def around(cls, joints: Array) -> View:
        """The view that shows all ``joints`` (..., 3) with a margin."""
        flat = joints[..., :2].reshape(-1, 2)
        low, high = flat.min(axis=0) - 0.16, flat.max(axis=0) + 0.20
        span = np.maximum(high - low, (0.7, 1.2))
        return cls(0.5 * (low + high), float(min(WIDTH / span[0], HEIGHT / span[1])))

    def pixels(self, points: Array) -> Array:
        """Pixels (..., 2) of positions (..., 3): x of the sensor grows to its left, so the image turns it round."""
        flat = (points[..., :2] - self.centre) * self.scale
        return np.array([0.5 * WIDTH, 0.5 * HEIGHT]) - flat


def strip(rng: np.random.Generator, take: Take) -> bytes:
    """The PNG of :data:`CROPS` person crops side by side: 320 x 80 pixels, RGB. Two people share a crop."""
    wall, ground, band = _background(rng)
    size = PROP_SIZE * rng.uniform(0.85, 1.2)
    tints = rng.uniform(0.82, 1.12, (len(take.props), 3))
    canvas = Image.new("RGB", (CROPS * WIDTH, HEIGHT), wall)
    for at, frame in enumerate(take.evenly(CROPS)):
        crop = Image.new("RGB", (WIDTH, HEIGHT), wall)
        draw = ImageDraw.Draw(crop)
        view = View.around(take.poses[:, frame])
        _draw_room(draw, view, take, ground, band)
        _draw_people(draw, view, take, frame)
        for prop, tint in zip(take.props, tints, strict=True):
            _draw_prop(draw, view, take, prop, int(frame), size, tint)
        canvas.paste(crop, (at * WIDTH, 0))
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _background(rng: np.random.Generator) -> tuple[Colour, Colour, tuple[float, float, Colour]]:
    """Colours of wall and floor; left, right and colour of a band on the wall, in metres of the scene."""
    shade = rng.uniform(120, 225)
    colours = np.clip(shade * rng.uniform(0.85, 1.1, (3, 3)) * [[1.0], [0.72], [0.88]], 0, 255).astype(int)
    wall, ground, band = (tuple(int(value) for value in colour) for colour in colours)
    left = rng.uniform(-1.3, 0.9)
    return wall, ground, (left, left + rng.uniform(0.2, 0.8), band)  # type: ignore[return-value]


def _draw_room(
    draw: ImageDraw.ImageDraw, view: View, take: Take, ground: Colour, band: tuple[float, float, Colour]
) -> None:
    left, right = (0.5 * WIDTH - (edge - view.centre[0]) * view.scale for edge in band[:2])
    draw.rectangle((right, 0, left, HEIGHT), fill=band[2])
    edge = float(view.pixels(np.array([0.0, _floor(take) + 0.06, 0.0]))[1])
    if edge < HEIGHT:
        draw.rectangle((0, edge, WIDTH, HEIGHT), fill=ground)


def _floor(take: Take) -> float:
    """Height of the floor: that of the lowest foot."""
    return float(take.poses[:, :, [JOINT["left_foot"], JOINT["right_foot"]], 1].min())


def _draw_people(draw: ImageDraw.ImageDraw, view: View, take: Take, frame: int) -> None:
    clock = float(take.clock[frame])
    if any(prop.name == "chair" for prop in take.props):
        _draw_chair(draw, view, take)
    for body in np.argsort(-take.poses[:, frame, 0, 2]):
        jacket = body == 0 and any(prop.name == "jacket" and prop.carrier(clock) == "torso" for prop in take.props)
        _draw_person(draw, view, take.poses[body, frame], take.wardrobes[body], jacket)


def _draw_person(draw: ImageDraw.ImageDraw, view: View, pose: Array, wardrobe: Wardrobe, jacket: bool) -> None:
    points: list[Point] = [(x, y) for x, y in view.pixels(pose).tolist()]
    depth: list[float] = pose[:, 2].tolist()
    top = SHAPES["jacket"][0].colour if jacket else wardrobe.top
    fills = {**vars(wardrobe), "top": top, "sleeve": _shaded(top)}
    limbs = sorted(_LIMBS, key=lambda limb: -depth[limb.joints[1]])
    behind = [limb for limb in limbs if depth[limb.joints[1]] > depth[JOINT["spine_mid"]]]
    for limb in behind:
        _draw_limb(draw, view, points, limb, fills)
    draw.line([points[JOINT["neck"]], points[JOINT["spine_base"]]], fill=top, width=_width(view, 0.2))
    draw.polygon([points[at] for at in _TORSO], fill=top)
    _draw_head(draw, view, pose, points, wardrobe)
    for limb in limbs[len(behind) :]:
        _draw_limb(draw, view, points, limb, fills)


def _shaded(colour: Colour) -> Colour:
    """Sleeves stand out against the trunk."""
    red, green, blue = (int(0.72 * value) for value in colour)
    return red, green, blue


def _draw_limb(
    draw: ImageDraw.ImageDraw, view: View, points: list[Point], limb: Limb, fills: Mapping[str, Colour]
) -> None:
    width = _width(view, limb.width)
    draw.line([points[at] for at in limb.joints], fill=fills[limb.fill], width=width, joint="curve")


def _draw_head(draw: ImageDraw.ImageDraw, view: View, pose: Array, points: list[Point], wardrobe: Wardrobe) -> None:
    radius = 0.115 * view.scale
    x, y = points[JOINT["head"]]
    draw.line([points[JOINT["spine_shoulder"]], (x, y)], fill=wardrobe.skin, width=_width(view, 0.1))
    draw.ellipse((x - radius, y - 1.15 * radius, x + radius, y + 1.15 * radius), fill=wardrobe.skin)
    turned_away = pose[JOINT["head"], 2] > pose[JOINT["neck"], 2] + 0.02
    box = (x - radius, y - 1.2 * radius, x + radius, y + radius)
    draw.pieslice(box, 0 if turned_away else 170, 370, fill=wardrobe.hair)


def _width(view: View, metres: float) -> int:
    return max(2, round(metres * view.scale))


def _draw_chair(draw: ImageDraw.ImageDraw, view: View, take: Take) -> None:
    """Where the pelvis is lowest stands the seat."""
    seated = int(take.poses[0, :, 0, 1].argmin())
    seat = take.poses[0, seated, 0] - [0.0, 0.09, 0.0]
    x, y = view.pixels(seat)
    half, legs = 0.24 * view.scale, 0.42 * view.scale
    wood = (122, 84, 48)
    draw.rectangle((x - half, y - 0.5 * view.scale, x + half, y), fill=(148, 106, 64))
    draw.rectangle((x - half, y, x + half, y + 3), fill=wood)
    for side in (-1, 1):
        draw.line((x + side * half, y, x + side * half, y + legs), fill=wood, width=3)


def _draw_prop(
    draw: ImageDraw.ImageDraw, view: View, take: Take, prop: Visible, frame: int, size: float, tint: Array
) -> None:
    carrier = prop.carrier(float(take.clock[frame]))
    if carrier is None or carrier in ("seat", "torso"):
        return
    x, y = view.pixels(_carried(take, prop, carrier, frame))
    unit = size * view.scale
    x, y = float(np.clip(x, 3, WIDTH - 4)), float(np.clip(y, 3, HEIGHT - 4))
    for shape in SHAPES[prop.name]:
        box = (x + unit * shape.left, y + unit * shape.top, x + unit * shape.right, y + unit * shape.bottom)
        fill = tuple(int(min(255, value * scale)) for value, scale in zip(shape.colour, tint, strict=True))
        getattr(draw, shape.kind)(box, fill=fill, **({"width": 2} if shape.kind == "line" else {}))


def _carried(take: Take, prop: Visible, carrier: str, frame: int) -> Array:
    """Where the prop is, (3,) metres."""
    main = take.main[0]
    match carrier:
        case "main" | "off":
            return _joint(take, frame, HANDS[main if carrier == "main" else 1 - main])
        case "hands":
            return 0.5 * _joint(take, frame, HANDS[0]) + 0.5 * _joint(take, frame, HANDS[1])
        case "head" | "eyes":
            above: Array = np.array([0.0, 0.12 if carrier == "head" else 0.02, 0.0])
            return np.add(_joint(take, frame, JOINT["head"]), above)
        case "foot":
            return _joint(take, frame, JOINT[("left_foot", "right_foot")[main]])
        case "theirs":
            return _joint(take, frame, HANDS[take.main[1]], body=1)
        case "dropped":
            return _on_the_floor(take, prop)
        case "thrown":
            return _in_flight(take, prop, frame)
    raise ValueError(f"{prop.name}: no carrier called {carrier!r}")


def _joint(take: Take, frame: int, joint: int, body: int = 0) -> Array:
    position: Array = take.poses[body, frame, joint]
    return position


def _on_the_floor(take: Take, prop: Visible) -> Array:
    """Below where the hand lets go or takes hold."""
    switch = next(edge for _, *edges in prop.stays for edge in edges if 0 < edge < 1)
    hand = _joint(take, frame_at(take.clock, switch), HANDS[take.main[0]])
    return np.array([hand[0], _floor(take) + 0.08, hand[2]])


def _in_flight(take: Take, prop: Visible, frame: int) -> Array:
    """Straight on from the hand that let go, about 2 m/s."""
    released = frame_at(take.clock, prop.stays[-1][1])
    hand = _joint(take, released, HANDS[take.main[0]])
    ahead = (hand - _joint(take, released, JOINT["spine_base"])) * np.array([1.0, 0.0, 1.0])
    flown: Array = hand + ahead * 0.12 * (frame - released + 1)
    return flown
