"""The 60 classes of NTU RGB+D as compositions of primitives.

Classes that mean alike move alike, because they share places and moves: drinking, eating and tooth brushing all bring
a hand to the mouth; reading, writing and typing all keep both hands in front of a bent head.

To add an action, append an :class:`Action` to :data:`ACTIONS`: its name, its typical length in seconds, the moves of
the person, what they hold, and for an interaction the moves of the other person and the gap between the two. A class
is known by its position in the table. Of two moves that both draw on a hand, the later one wins: what swings the arms
(walking, jumping, kicking) goes before what the hands do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mmcl_bench.datasets.synth.motion import Move, Place
from mmcl_bench.datasets.synth.motions import (
    Wiggle,
    either_hand,
    fall,
    hold,
    hop,
    jerk,
    jump,
    kick,
    lean,
    look,
    nod,
    one_of,
    raise_foot,
    recoil,
    repeatedly,
    seat,
    shake_head,
    sometimes,
    squat,
    stagger,
    together,
    turn,
    walk,
)

Carrier = Literal["main", "off", "hands", "head", "eyes", "torso", "foot", "seat", "dropped", "thrown", "theirs"]


@dataclass(frozen=True)
class Prop:
    """A thing that the image shows and the skeleton does not.

    ``stays`` lists who carries it and when: (carrier, start, end) in shares of the action. A clip shows one of
    ``names``.
    """

    names: tuple[str, ...]
    stays: tuple[tuple[Carrier, float, float], ...]


@dataclass(frozen=True)
class Action:
    """One class: ``moves`` are done one over the other by the first person, ``partner`` by the second."""

    name: str
    seconds: float
    moves: tuple[Move, ...]
    props: tuple[Prop, ...] = ()
    partner: tuple[Move, ...] = ()
    gap: float = 0.0
    """Metres between two people at the begin; 0: one person."""
    partner_headings: tuple[float, ...] = (180.0,)
    """Degrees; 180: the other faces the first, 0: shows the back. A clip has one of them."""


MOUTH = Place("head", 0.02, -0.07, 0.10)
EYES = Place("head", 0.06, 0.01, 0.10)
FACE = Place("head", 0.03, -0.02, 0.12)
EAR = Place("head", 0.11, 0.0, 0.01)
TEMPLE = Place("head", 0.10, 0.05, 0.06)
CROWN = Place("head", 0.05, 0.13, 0.00)
HAIR = Place("head", 0.09, 0.07, -0.02)
BESIDE_FACE = Place("head", 0.16, -0.06, 0.14)
NECK = Place("chest", 0.06, 0.07, -0.06)
SHOULDERS = Place("chest", 0.12, 0.0, 0.08)
CHEST = Place("chest", 0.0, -0.10, 0.15)
STOMACH = Place("pelvis", 0.03, 0.18, 0.16)
LOW_BACK = Place("pelvis", 0.07, 0.10, -0.13)
POCKET = Place("pelvis", 0.17, -0.06, 0.06)
PALMS = Place("chest", 0.03, -0.10, 0.26)
BOOK = Place("chest", 0.12, -0.20, 0.32)
PAPER = Place("chest", 0.09, -0.26, 0.30)
SCREEN = Place("chest", 0.05, -0.22, 0.27)
KEYS = Place("chest", 0.11, -0.36, 0.36)
WAIST = Place("chest", 0.10, -0.34, 0.28)
ABOVE = Place("hang", 0.16, 0.42, 0.06)
RAISED = Place("hang", 0.24, 0.20, 0.16)
AHEAD = Place("hang", -0.06, 0.02, 0.56)
ASIDE = Place("hang", 0.42, 0.06, 0.3)
SELFIE = Place("hang", 0.04, 0.14, 0.50)
BEHIND_HEAD = Place("hang", 0.16, 0.22, -0.16)
THROWN = Place("hang", -0.04, 0.06, 0.56)
UNDERHAND = Place("hang", 0.06, -0.46, -0.34)
CROSSED = Place("chest", -0.08, 0.0, 0.30)
WATCH = Place("chest", -0.04, -0.12, 0.27)
SLEEVE_BACK = Place("pelvis", 0.26, 0.12, -0.22)
SLEEVE_OUT = Place("hang", 0.38, -0.22, -0.10)
OTHER_SHOULDER = Place("chest", -0.14, -0.03, 0.10)
TOE = Place("root", 0.10, 0.16, 0.16)
RAISED_FOOT = Place("root", 0.08, 0.42, 0.22)
GROUND = Place("root", 0.12, 0.06, 0.34)
MIDWAY = Place("between", -0.02, 1.02, 0.0)


def theirs(place: Place) -> Place:
    """``place`` on the body of the other person."""
    return replace(place, partner=True)


READ_POSE = look(24, start=0.0, end=1.05, ramp=0.12)
STARTLED = sometimes(0.6, hold("both", Place("chest", 0.12, -0.06, 0.2), 0.48, 0.9, 0.15))


def _whole(name: str, *names: str) -> Prop:
    """Held in the main hand throughout."""
    return Prop((name, *names), (("main", -1, 2),))


ACTIONS: tuple[Action, ...] = (
    Action(
        "drink water",
        2.9,
        (hold("main", MOUTH, flex=25), look(-14, start=0.3, end=0.8), sometimes(0.3, lean(-6))),
        (_whole("cup", "bottle"),),
    ),
    Action(
        "eat meal/snack",
        3.3,
        (
            sometimes(0.55, hold("off", Place("chest", 0.02, -0.22, 0.26), -0.5, 1.5)),
            repeatedly("main", MOUTH, 3, flex=25),
            look(10),
        ),
        (Prop(("sandwich", "biscuit", "apple"), (("main", -1, 2),)),),
    ),
    Action(
        "brushing teeth",
        3.2,
        (
            hold("main", MOUTH, 0.08, 0.94, 0.15, Wiggle(0.045, 0.012, 0.0, 3.4, flex=12), flex=30),
            look(8),
            sometimes(0.3, shake_head(5, 2, 3.2)),
        ),
        (_whole("toothbrush"),),
    ),
    Action(
        "brushing hair",
        3.2,
        (
            either_hand(HAIR, start=0.08, end=0.93, ramp=0.16, wiggle=Wiggle(0.02, 0.085, 0.05, 1.3)),
            look(6, roll=10),
        ),
        (_whole("comb", "hairbrush"),),
    ),
    Action(
        "drop",
        2.0,
        (hold("main", Place("chest", 0.12, -0.22, 0.36), -0.3, 0.62, 0.14), look(22, start=0.35, end=0.95)),
        (Prop(("box", "book", "ball"), (("main", -1, 0.5), ("dropped", 0.5, 2))),),
    ),
    Action(
        "pickup",
        2.6,
        (
            one_of(together(lean(68, ramp=0.36), squat(0.16, pitch=8)), squat(0.44, ramp=0.36, pitch=42)),
            hold("main", GROUND, 0.2, 0.74, 0.24),
            hold("main", WAIST, 0.68, 1.6, 0.18),
        ),
        (Prop(("box", "book", "ball"), (("dropped", -1, 0.45), ("main", 0.45, 2))),),
    ),
    Action(
        "throw",
        2.1,
        (
            sometimes(0.5, walk(0.25, 0.3, 0.7)),
            one_of(
                together(hold("main", BEHIND_HEAD, 0.06, 0.56, 0.2), lean(-7, twist=-18, start=0.05, end=0.55)),
                hold("main", UNDERHAND, 0.06, 0.56, 0.2),
            ),
            hold("main", THROWN, 0.44, 0.86, 0.11),
            lean(12, twist=20, start=0.42, end=0.9, ramp=0.14),
        ),
        (Prop(("ball",), (("main", -1, 0.52), ("thrown", 0.52, 0.95))),),
    ),
    Action("sitting down", 2.2, (seat(True), look(12, end=0.7)), (Prop(("chair",), (("seat", -1, 2),)),)),
    Action(
        "standing up (from sitting position)",
        2.2,
        (seat(False), look(10, end=0.6)),
        (Prop(("chair",), (("seat", -1, 2),)),),
    ),
    Action("clapping", 2.6, (hold("both", Place("chest", 0.12, -0.10, 0.29), wiggle=Wiggle(0.09, hertz=2.4)),)),
    Action(
        "reading",
        3.2,
        (
            hold("both", BOOK, -0.5, 1.5, 0.1, Wiggle(up=0.012, hertz=0.5)),
            sometimes(0.5, hold("main", Place("chest", -0.04, -0.17, 0.34), 0.45, 0.72, 0.1)),
            READ_POSE,
        ),
        (Prop(("book",), (("hands", -1, 2),)),),
    ),
    Action(
        "writing",
        3.2,
        (
            hold("off", PAPER, -0.5, 1.5, 0.1),
            hold("main", Place("chest", 0.0, -0.22, 0.31), -0.3, 1.3, 0.1, Wiggle(0.026, 0.016, 0.012, 2.6, flex=10)),
            READ_POSE,
        ),
        (Prop(("notepad",), (("off", -1, 2),)), Prop(("pen",), (("main", -1, 2),))),
    ),
    Action(
        "tear up paper",
        3.0,
        (
            hold(
                "both", Place("chest", 0.1, -0.2, 0.3), 0.0, 1.0, 0.12, Wiggle(0.075, 0.02, 0.06, 1.0, alternate=False)
            ),
            hold("main", Place("chest", 0.06, -0.17, 0.32), 0.1, 0.9, 0.1, Wiggle(0.02, 0.05, 0.07, 1.0)),
            READ_POSE,
        ),
        (Prop(("paper",), (("hands", -1, 2),)),),
    ),
    Action(
        "wear jacket",
        3.6,
        (
            hold("main", SLEEVE_OUT, 0.02, 0.42, 0.14),
            hold("off", OTHER_SHOULDER, 0.08, 0.42, 0.14),
            hold("off", SLEEVE_BACK, 0.4, 0.68, 0.12),
            hold("main", SHOULDERS, 0.42, 0.72, 0.12),
            hold("both", Place("chest", 0.05, -0.16, 0.16), 0.68, 1.02, 0.12),
            lean(8, twist=-14, start=0.05, end=0.6),
        ),
        (Prop(("jacket",), (("main", -1, 0.3), ("torso", 0.3, 2))),),
    ),
    Action(
        "take off jacket",
        3.4,
        (
            hold("both", Place("chest", 0.06, -0.08, 0.15), 0.0, 0.26, 0.1),
            hold("both", SLEEVE_BACK, 0.24, 0.62, 0.14),
            hold("main", SLEEVE_OUT, 0.55, 0.8, 0.12),
            hold("main", WAIST, 0.74, 1.3, 0.12),
            lean(-5, twist=12, start=0.25, end=0.7),
        ),
        (Prop(("jacket",), (("torso", -1, 0.55), ("main", 0.55, 2))),),
    ),
    Action(
        "wear a shoe",
        3.4,
        (
            one_of(
                together(squat(0.42, pitch=30, start=0.05, end=0.97), hold("both", TOE, 0.16, 0.86, 0.16)),
                together(
                    raise_foot(0.2, 0.36, 0.12, 0.84),
                    lean(40, start=0.05, end=0.95),
                    hold("both", RAISED_FOOT, 0.2, 0.8, 0.16, Wiggle(up=0.03, forward=0.03, hertz=1.4)),
                ),
            ),
            hold("main", WAIST, -0.5, 0.2, 0.1),
            look(18),
        ),
        (Prop(("shoe",), (("main", -1, 0.5), ("foot", 0.5, 2))),),
    ),
    Action(
        "take off a shoe",
        3.2,
        (
            one_of(
                together(squat(0.40, pitch=30, start=0.02, end=0.85), hold("both", TOE, 0.1, 0.66, 0.16)),
                together(
                    raise_foot(0.14, 0.40, 0.1, 0.74),
                    lean(36, start=0.05, end=0.8),
                    hold("main", RAISED_FOOT, 0.14, 0.62, 0.16),
                ),
            ),
            hold("main", WAIST, 0.64, 1.5, 0.14),
            look(18, end=0.8),
        ),
        (Prop(("shoe",), (("foot", -1, 0.5), ("main", 0.5, 2))),),
    ),
    Action(
        "wear on glasses",
        2.6,
        (hold("both", PALMS, -0.2, 0.34, 0.14), hold("both", EYES, 0.24, 0.74, 0.18, flex=20), look(8, end=0.7)),
        (Prop(("glasses",), (("hands", -1, 0.4), ("eyes", 0.4, 2))),),
    ),
    Action(
        "take off glasses",
        2.5,
        (
            either_hand(EYES, start=0.1, end=0.56, ramp=0.2, flex=20),
            either_hand(PALMS, start=0.46, end=1.2, ramp=0.16),
            look(8, start=0.3),
        ),
        (Prop(("glasses",), (("eyes", -1, 0.45), ("hands", 0.45, 2))),),
    ),
    Action(
        "put on a hat/cap",
        2.5,
        (
            either_hand(WAIST, start=-0.5, end=0.3, ramp=0.14),
            either_hand(CROWN, start=0.2, end=0.76, ramp=0.2),
            look(7, end=0.8),
        ),
        (Prop(("hat",), (("main", -1, 0.42), ("head", 0.42, 2))),),
    ),
    Action(
        "take off a hat/cap",
        2.4,
        (
            either_hand(CROWN, start=0.08, end=0.54, ramp=0.2),
            either_hand(WAIST, start=0.46, end=1.4, ramp=0.18),
            look(7),
        ),
        (Prop(("hat",), (("head", -1, 0.42), ("main", 0.42, 2))),),
    ),
    Action(
        "cheer up",
        2.4,
        (
            sometimes(0.4, jump(0.45, 0.08)),
            hold("both", ABOVE, wiggle=Wiggle(0.06, 0.10, 0.02, 1.7)),
            look(-10),
            sometimes(0.3, lean(0, side=8)),
        ),
    ),
    Action("hand waving", 2.5, (hold("main", RAISED, wiggle=Wiggle(0.13, 0.03, 0.0, 1.6, flex=22)),)),
    Action("kicking something", 2.0, (kick(0.5, 0.34), look(14)), (Prop(("ball",), (("foot", -1, 0.55),)),)),
    Action(
        "reach into pocket",
        2.4,
        (
            either_hand(POCKET, ramp=0.22, wiggle=Wiggle(0.012, 0.03, 0.02, 1.2)),
            look(20, yaw=14),
            sometimes(0.5, lean(6, side=8)),
        ),
        (Prop(("wallet",), (("main", 0.55, 2),)),),
    ),
    Action("hopping (one foot jumping)", 2.6, (hop(0.07, 5),)),
    Action("jump up", 2.0, (one_of(jump(0.5, 0.24), together(jump(0.3, 0.2), jump(0.72, 0.2))),)),
    Action(
        "make a phone call/answer phone",
        3.1,
        (sometimes(0.3, walk(0.3, 0.3, 0.9)), hold("main", EAR, 0.04, 1.06, 0.16), look(4, roll=9)),
        (_whole("phone"),),
    ),
    Action(
        "playing with phone/tablet",
        3.1,
        (
            hold("off", SCREEN, -0.5, 1.5, 0.1),
            hold("main", SCREEN, -0.5, 1.5, 0.1, Wiggle(0.012, 0.022, 0.012, 2.2, flex=14)),
            look(30, start=-0.1, end=1.1),
        ),
        (Prop(("phone", "tablet"), (("hands", -1, 2),)),),
    ),
    Action(
        "typing on a keyboard",
        3.1,
        (
            hold("both", KEYS, -0.3, 1.3, 0.12, Wiggle(0.014, 0.022, 0.006, 3.2, alternate=True, flex=10)),
            lean(8, start=-0.2, end=1.2),
            look(14, start=-0.1, end=1.1),
        ),
        (Prop(("laptop", "keyboard"), (("hands", -1, 2),)),),
    ),
    Action(
        "pointing to something with finger",
        2.3,
        (one_of(hold("main", AHEAD), hold("main", ASIDE)), look(yaw=16, start=0.2), sometimes(0.4, lean(4, twist=10))),
    ),
    Action(
        "taking a selfie",
        2.8,
        (
            hold("main", SELFIE, 0.08, 0.94),
            look(-6, yaw=8, roll=8),
            sometimes(0.4, hold("off", BESIDE_FACE, 0.25, 0.85)),
            sometimes(0.3, lean(-5, side=-6)),
        ),
        (_whole("phone"),),
    ),
    Action(
        "check time (from watch)",
        2.4,
        (hold("off", WATCH), sometimes(0.5, hold("main", Place("chest", 0.04, -0.16, 0.26), 0.25, 0.8)), look(26)),
        (Prop(("watch",), (("off", -1, 2),)),),
    ),
    Action(
        "rub two hands together",
        2.7,
        (hold("both", PALMS, wiggle=Wiggle(0.0, 0.03, 0.05, 2.3, alternate=True)), look(8)),
    ),
    Action(
        "nod head/bow",
        2.3,
        (one_of(nod(26, 3), together(lean(38, ramp=0.34), look(16)), together(lean(20, ramp=0.34), nod(18, 2))),),
    ),
    Action("shake head", 2.4, (shake_head(36, 5, 1.5),)),
    Action(
        "wipe face",
        2.8,
        (
            either_hand(FACE, start=0.1, end=0.9, ramp=0.16, wiggle=Wiggle(0.055, 0.055, 0.0, 1.3, circle=True)),
            look(10),
        ),
        (Prop(("towel",), (("main", -1, 2),)),),
    ),
    Action("salute", 2.2, (hold("main", TEMPLE, ramp=0.15, flex=-10), lean(-4), look(-4))),
    Action("put the palms together", 2.4, (hold("both", PALMS, ramp=0.2), sometimes(0.5, lean(16)), look(10))),
    Action(
        "cross hands in front (say stop)",
        2.3,
        (one_of(hold("both", CROSSED, ramp=0.17), hold("both", replace(CROSSED, up=0.12), ramp=0.17)), lean(-3)),
    ),
    Action(
        "sneeze/cough",
        2.5,
        (sometimes(0.9, either_hand(MOUTH, start=0.12, end=0.9, flex=30)), jerk(18, 2), lean(9), look(12)),
    ),
    Action("staggering", 3.3, (stagger(0.26, 6),)),
    Action("falling", 2.4, (fall(),)),
    Action(
        "touch head (headache)",
        2.8,
        (
            either_hand(Place("head", 0.10, 0.04, 0.02), wiggle=Wiggle(0.01, 0.02, 0.02, 0.9)),
            look(16, roll=8),
            sometimes(0.4, shake_head(9, 4, 0.9)),
            sometimes(0.5, lean(10)),
        ),
    ),
    Action(
        "touch chest (stomachache/heart pain)",
        2.8,
        (one_of(either_hand(CHEST), either_hand(STOMACH)), lean(24), look(12)),
    ),
    Action("touch back (backache)", 2.8, (either_hand(LOW_BACK), lean(-9, side=6), look(-6, yaw=8))),
    Action("touch neck (neckache)", 2.8, (either_hand(NECK, wiggle=Wiggle(0.02, 0.015, 0.0, 1.0)), look(6, roll=16))),
    Action(
        "nausea or vomiting condition",
        3.0,
        (lean(52, ramp=0.3), one_of(hold("main", STOMACH), hold("main", MOUTH), hold("both", STOMACH)), jerk(12, 2)),
    ),
    Action(
        "use a fan (with hand or paper)/feeling warm",
        3.0,
        (
            hold("main", BESIDE_FACE, wiggle=Wiggle(0.075, 0.02, 0.03, 2.5, flex=20), flex=15),
            sometimes(0.35, hold("off", CHEST, 0.2, 0.9, 0.2, Wiggle(forward=0.04, hertz=2.2))),
            look(-5),
        ),
        (Prop(("fan", "paper"), (("main", -1, 2),)),),
    ),
    Action(
        "punching/slapping other person",
        2.1,
        (
            sometimes(0.5, walk(0.12, 0.1, 0.5)),
            hold("main", Place("hang", 0.2, -0.02, -0.04), 0.06, 0.5, 0.18),
            hold("main", theirs(Place("head", 0.08, -0.04, 0.04)), 0.34, 0.72, 0.12),
            lean(8, twist=22, start=0.32, end=0.75, ramp=0.13),
        ),
        partner=(recoil(-16, 0.1, 0.44, 34), STARTLED),
        gap=0.76,
    ),
    Action(
        "kicking other person",
        2.1,
        (kick(0.56, 0.52), sometimes(0.4, lean(-10))),
        partner=(recoil(22, 0.22, 0.48), STARTLED),
        gap=0.92,
    ),
    Action(
        "pushing other person",
        2.1,
        (
            walk(0.14, 0.25, 0.6),
            hold("both", theirs(Place("chest", 0.12, -0.05, 0.10)), 0.14, 0.74, 0.2),
            lean(15, start=0.25, end=0.75),
        ),
        partner=(recoil(-12, 0.34, 0.44),),
        gap=0.74,
    ),
    Action(
        "pat on back of other person",
        2.5,
        (hold("main", theirs(Place("chest", 0.06, -0.12, -0.12)), 0.1, 0.9, 0.2, Wiggle(0, 0.045, 0.06, 2.0)),),
        partner=(sometimes(0.4, look(14)), sometimes(0.2, lean(8))),
        gap=0.52,
        partner_headings=(0.0, 30.0, -30.0, 75.0),
    ),
    Action(
        "point finger at the other person",
        2.3,
        (hold("main", theirs(Place("chest", 0.0, 0.12, 0.42)), wiggle=Wiggle(0, 0.035, 0.025, 1.4)), lean(6)),
        partner=(sometimes(0.4, lean(-5)), look(8)),
        gap=1.05,
    ),
    Action(
        "hugging other person",
        2.9,
        (
            walk(0.26, 0.02, 0.34, stride=0.3),
            hold("both", theirs(Place("chest", 0.04, -0.14, -0.10)), 0.14, 0.9, 0.22),
            lean(9),
        ),
        partner=(
            walk(0.2, 0.02, 0.34, stride=0.3),
            hold("both", theirs(Place("chest", 0.06, -0.08, -0.10)), 0.16, 0.9, 0.22),
            lean(7),
        ),
        gap=0.86,
    ),
    Action(
        "giving something to other person",
        2.5,
        (hold("main", MIDWAY, 0.08, 0.66, 0.22), look(12), sometimes(0.4, lean(8))),
        (Prop(("envelope", "box", "book"), (("main", -1, 0.5), ("theirs", 0.5, 2))),),
        partner=(hold("main", MIDWAY, 0.28, 0.78, 0.2), hold("main", WAIST, 0.66, 1.4, 0.14), look(12)),
        gap=0.95,
    ),
    Action(
        "touch other person's pocket",
        2.5,
        (hold("main", theirs(POCKET), ramp=0.22, wiggle=Wiggle(0.01, 0.025, 0.01, 1.1)), lean(17), look(22)),
        (Prop(("wallet",), (("main", 0.5, 2),)),),
        partner=(sometimes(0.4, look(16, yaw=10)),),
        gap=0.68,
        partner_headings=(180.0, 180.0, 0.0, 25.0),
    ),
    Action(
        "handshaking",
        2.5,
        (hold("main", MIDWAY, wiggle=Wiggle(0.0, 0.045, 0.0, 2.1)), sometimes(0.4, lean(10))),
        partner=(hold("main", MIDWAY, wiggle=Wiggle(0.0, 0.045, 0.0, 2.1)), sometimes(0.4, lean(10))),
        gap=0.88,
    ),
    Action("walking towards each other", 2.4, (walk(0.72),), partner=(walk(0.72),), gap=2.2),
    Action(
        "walking apart from each other",
        2.7,
        (turn(178, 0.0, 0.28), walk(0.75, 0.24, 0.98)),
        partner=(turn(178, 0.0, 0.28), walk(0.75, 0.24, 0.98)),
        gap=0.8,
    ),
)
