"""Classes 61 to 120 of NTU RGB+D 120 as compositions of the primitives that also make the first 60.

They are for large sets of skeletons alone, so no prop stands in the table: no image of these classes is drawn.
"""

from __future__ import annotations

from dataclasses import replace

from mmcl_bench.datasets.synth.actions import (
    ABOVE,
    ACTIONS,
    AHEAD,
    BEHIND_HEAD,
    BESIDE_FACE,
    CHEST,
    EAR,
    EYES,
    FACE,
    HAIR,
    MIDWAY,
    MOUTH,
    OTHER_SHOULDER,
    PALMS,
    PAPER,
    RAISED,
    READ_POSE,
    SHOULDERS,
    SLEEVE_BACK,
    STARTLED,
    WAIST,
    WATCH,
    Action,
    theirs,
)
from mmcl_bench.datasets.synth.motion import Move, Place
from mmcl_bench.datasets.synth.motions import (
    Wiggle,
    hold,
    jerk,
    lean,
    look,
    raise_foot,
    recoil,
    repeatedly,
    run_in_place,
    sometimes,
    squat,
    together,
    walk,
)

FIST = Place("chest", 0.10, -0.02, 0.46)
SIGN = Place("hang", 0.10, 0.02, 0.36)
BAG = Place("chest", 0.02, -0.40, 0.26)
OVER_BAG = Place("chest", -0.02, -0.24, 0.28)
LOAD = Place("chest", 0.18, -0.34, 0.34)
NOSE = Place("head", 0.0, -0.02, 0.11)
OTHER_TOE = Place("root", -0.20, 0.14, 0.20)
WIDE = Place("hang", 0.52, 0.0, 0.04)
AIM = Place("hang", -0.08, 0.02, 0.50)
OVERHEAD = Place("hang", 0.10, 0.44, 0.10)


def _at_work(main: Place, wiggle: Wiggle, off: Place = PAPER) -> Move:
    """The off hand holds something before the chest while the main hand works on it, the head bent."""
    return together(hold("off", off, -0.3, 1.3, 0.1), hold("main", main, -0.2, 1.2, 0.1, wiggle), READ_POSE)


_LIFT_TOGETHER = together(squat(0.3, 0.0, 0.4, 0.16), hold("both", LOAD, 0.1, 1.3, 0.2))

_COUNTED = hold("main", WAIST, 0.0, 0.64, 0.12, Wiggle(up=0.11, hertz=1.7))

ALL_ACTIONS: tuple[Action, ...] = (
    *ACTIONS,
    Action("put on headphone", 2.6, (hold("both", CHEST, -0.3, 0.3, 0.14), hold("both", EAR, 0.24, 0.8), look(10))),
    Action("take off headphone", 2.5, (hold("both", EAR, 0.06, 0.5), hold("both", CHEST, 0.46, 1.3, 0.18), look(8))),
    Action(
        "shoot at the basket",
        2.2,
        (
            squat(0.14, 0.05, 0.55, 0.2, pitch=10),
            hold("both", PALMS, -0.2, 0.5, 0.14),
            hold("both", Place("hang", 0.02, 0.40, 0.24), 0.42, 0.9, 0.13, flex=35),
            look(-14, start=0.3),
        ),
    ),
    Action(
        "bounce ball",
        2.8,
        (hold("main", Place("hang", 0.04, -0.40, 0.32), wiggle=Wiggle(up=0.13, hertz=1.5)), lean(14), look(20)),
    ),
    Action(
        "tennis bat swing",
        2.1,
        (
            hold("main", Place("hang", 0.46, -0.16, -0.20), 0.06, 0.52, 0.2),
            hold("main", Place("hang", -0.34, 0.04, 0.34), 0.42, 0.88, 0.12),
            lean(4, twist=-26, start=0.04, end=0.52),
            lean(6, twist=28, start=0.42, end=0.92, ramp=0.14),
        ),
    ),
    Action(
        "juggling table tennis balls",
        3.0,
        (hold("both", WAIST, wiggle=Wiggle(0.015, 0.06, 0.01, 2.4, alternate=True, flex=14)), look(6)),
    ),
    Action("hush (quite)", 2.2, (hold("main", MOUTH, ramp=0.16, flex=-20), sometimes(0.4, lean(8)))),
    Action("flick hair", 2.1, (hold("main", HAIR, 0.14, 0.7, 0.16, Wiggle(0.07, 0.02, -0.08, 1.1)), look(0, 14, -12))),
    Action("thumb up", 2.2, (hold("main", FIST, ramp=0.15, flex=-25), look(-4))),
    Action("thumb down", 2.2, (hold("main", replace(FIST, up=-0.16), ramp=0.15, flex=40), look(9))),
    Action("make ok sign", 2.2, (hold("main", SIGN, ramp=0.15, flex=-12), sometimes(0.3, look(-6)))),
    Action("make victory sign", 2.2, (hold("main", replace(SIGN, up=0.18, forward=0.22)), look(roll=8))),
    Action("staple book", 2.6, (_at_work(PAPER, Wiggle(up=0.05, hertz=0.9, flex=18)), lean(8))),
    Action("counting money", 3.0, (_at_work(CHEST, Wiggle(0.06, 0.02, 0.05, 2.2, flex=12), PALMS),)),
    Action("cutting nails", 3.0, (_at_work(WATCH, Wiggle(0.02, 0.008, 0.008, 1.2, flex=8), WATCH), look(12))),
    Action("cutting paper (using scissors)", 3.0, (_at_work(PALMS, Wiggle(0.02, 0.01, 0.08, 1.1, flex=10)),)),
    Action("snapping fingers", 2.3, (hold("main", BESIDE_FACE, wiggle=Wiggle(0.03, 0.05, 0.02, 1.9, flex=28)),)),
    Action(
        "open bottle",
        2.5,
        (
            hold("off", Place("chest", 0.0, -0.26, 0.22), 0.0, 1.0),
            hold("main", Place("chest", 0.0, -0.14, 0.22), 0.1, 0.8, 0.14, Wiggle(0.035, 0.0, 0.035, 1.6, flex=26)),
            look(18),
        ),
    ),
    Action("sniff (smell)", 2.4, (hold("main", NOSE, ramp=0.2, flex=15), look(20), jerk(6, 3), lean(7))),
    Action("squat down", 2.4, (squat(0.55, ramp=0.34, pitch=34), sometimes(0.5, hold("both", AHEAD, ramp=0.3)))),
    Action(
        "toss a coin",
        2.1,
        (
            hold("main", PALMS, -0.2, 0.46, 0.12),
            hold("main", replace(PALMS, up=0.14), 0.3, 0.52, 0.06, flex=-30),
            hold("main", PALMS, 0.56, 0.94, 0.1),
            look(-22, start=0.36, end=0.66, ramp=0.1),
            look(18, start=0.6),
        ),
    ),
    Action(
        "fold paper",
        3.0,
        (
            hold("both", Place("chest", 0.18, -0.22, 0.3), -0.2, 0.4, 0.12),
            hold("both", Place("chest", 0.02, -0.22, 0.3), 0.34, 1.2, 0.14),
            hold("main", Place("chest", 0.08, -0.22, 0.3), 0.56, 0.94, 0.08, Wiggle(0.09, hertz=1.0)),
            READ_POSE,
        ),
    ),
    Action("ball up paper", 2.6, (hold("both", CHEST, wiggle=Wiggle(0.03, 0.05, 0.04, 1.8, True, True)), look(16))),
    Action("play magic cube", 3.0, (hold("both", PAPER, -0.3, 1.3, wiggle=Wiggle(hertz=2.0, flex=30)), READ_POSE)),
    Action(
        "apply cream on face",
        2.9,
        (hold("both", FACE, ramp=0.16, wiggle=Wiggle(0.045, 0.05, 0.0, 1.6, True)), look(-6)),
    ),
    Action(
        "apply cream on hand back",
        2.8,
        (_at_work(replace(WATCH, forward=0.31), Wiggle(0.045, 0.015, 0.04, 1.4, True), WATCH),),
    ),
    Action(
        "put on bag",
        3.3,
        (
            hold("both", WAIST, -0.3, 0.22, 0.12),
            hold("main", SLEEVE_BACK, 0.14, 0.5, 0.14),
            hold("off", replace(SLEEVE_BACK, up=0.24), 0.42, 0.72, 0.13),
            hold("both", SHOULDERS, 0.66, 1.0, 0.12),
            lean(12, twist=22, start=0.1, end=0.66),
        ),
    ),
    Action(
        "take off bag",
        3.1,
        (
            hold("both", SHOULDERS, 0.0, 0.3, 0.12),
            hold("main", replace(SLEEVE_BACK, up=0.24), 0.24, 0.56, 0.14),
            hold("both", WAIST, 0.58, 1.3, 0.16),
            lean(8, twist=-22, start=0.2, end=0.7),
        ),
    ),
    Action(
        "put something into a bag",
        2.6,
        (
            hold("off", BAG, -0.3, 1.3, 0.1),
            hold("main", OVER_BAG, -0.2, 0.4, 0.12),
            hold("main", replace(BAG, up=-0.5), 0.32, 0.76, 0.14),
            look(26),
        ),
    ),
    Action(
        "take something out of a bag",
        2.6,
        (
            hold("off", BAG, -0.3, 1.3, 0.1),
            hold("main", replace(BAG, up=-0.5), 0.04, 0.5, 0.16),
            hold("main", CHEST, 0.46, 1.3, 0.18),
            look(22, end=0.7),
        ),
    ),
    Action(
        "open a box",
        2.7,
        (
            lean(30, start=0.0, end=0.95),
            hold("both", Place("pelvis", 0.14, -0.02, 0.40), 0.06, 0.5, 0.16),
            hold("both", Place("pelvis", 0.26, 0.24, 0.32), 0.44, 0.9, 0.18),
            look(16),
        ),
    ),
    Action(
        "move heavy objects",
        3.4,
        (
            squat(0.4, 0.0, 0.42, 0.18, pitch=48),
            walk(0.5, 0.36, 0.74, stride=0.3),
            squat(0.4, 0.66, 1.1, 0.18, pitch=48),
            hold("both", replace(LOAD, up=-0.38), 0.06, 1.0, 0.14),
        ),
    ),
    Action("shake fist", 2.4, (hold("main", BESIDE_FACE, wiggle=Wiggle(0.01, 0.03, 0.10, 2.6)), lean(7), look(-5))),
    Action(
        "throw up cap/hat",
        2.2,
        (
            hold("main", WAIST, -0.3, 0.46, 0.12),
            hold("main", OVERHEAD, 0.38, 0.82, 0.1),
            look(-26, start=0.4, ramp=0.14),
            squat(0.08, 0.1, 0.5, 0.18, pitch=6),
        ),
    ),
    Action("hands up (both hands)", 2.4, (hold("both", replace(ABOVE, outward=0.24, forward=0.0), ramp=0.2),)),
    Action("cross arms", 2.4, (hold("both", OTHER_SHOULDER, 0.08, 0.96, 0.17), sometimes(0.4, lean(-4)))),
    Action("arm circles", 3.0, (hold("both", WIDE, ramp=0.14, wiggle=Wiggle(0.02, 0.2, 0.2, 0.9, True)),)),
    Action(
        "arm swings",
        3.0,
        (hold("both", replace(AHEAD, outward=0.2), ramp=0.14, wiggle=Wiggle(0.34, 0.02, -0.12, 0.9)),),
    ),
    Action("running on the spot", 2.8, (run_in_place(up=0.28, forward=0.14),)),
    Action("butt kicks (kick backward)", 2.8, (run_in_place(up=0.34, forward=-0.34),)),
    Action(
        "cross toe touch",
        3.2,
        (
            lean(72, start=0.0, end=1.0, ramp=0.16),
            hold("main", OTHER_TOE, 0.14, 0.52, 0.14),
            hold("off", OTHER_TOE, 0.48, 0.88, 0.14),
            lean(twist=30, start=0.14, end=0.52),
            lean(twist=-30, start=0.48, end=0.88),
        ),
    ),
    Action("side kick", 2.1, (raise_foot(0.06, 0.46, 0.24, 0.78, outward=0.48), lean(side=-22, ramp=0.26))),
    Action(
        "yawn",
        2.8,
        (hold("main", MOUTH, 0.14, 0.84, 0.2, flex=10), look(-20, ramp=0.3), sometimes(0.3, hold("off", ABOVE))),
    ),
    Action("stretch oneself", 3.2, (hold("both", OVERHEAD, 0.06, 0.92, 0.3), lean(-14, ramp=0.3), look(-16))),
    Action("blow nose", 2.8, (hold("both", NOSE, 0.1, 0.92, 0.18), look(14), jerk(8, 3), lean(8))),
    Action(
        "hit other person with something",
        2.2,
        (
            hold("main", BEHIND_HEAD, 0.04, 0.52, 0.18),
            hold("main", theirs(Place("head", 0.06, 0.06, 0.12)), 0.42, 0.76, 0.11),
            lean(18, twist=14, start=0.38, end=0.84, ramp=0.14),
        ),
        partner=(recoil(-12, 0.18, 0.5, 20), STARTLED),
        gap=0.86,
    ),
    Action(
        "wield knife towards other person",
        2.4,
        (repeatedly("main", theirs(Place("chest", 0.0, -0.14, 0.26)), 3), lean(12, twist=12)),
        partner=(recoil(-10, 0.26, 0.3), sometimes(0.6, hold("both", PALMS, 0.3, 0.95))),
        gap=0.95,
    ),
    Action(
        "knock over other person (hit with body)",
        2.3,
        (walk(0.4, 0.02, 0.5, stride=0.3), lean(16, side=18, twist=30, start=0.28, end=0.76)),
        partner=(recoil(26, 0.5, 0.46, 20),),
        gap=0.9,
        partner_headings=(180.0, 90.0, -90.0),
    ),
    Action(
        "grab other person's stuff",
        2.3,
        (
            hold("main", theirs(Place("chest", 0.12, -0.32, 0.22)), 0.12, 0.56, 0.16),
            hold("main", CHEST, 0.5, 1.2, 0.14),
            lean(16, start=0.1, end=0.56),
        ),
        partner=(hold("off", WAIST, -0.3, 0.66, 0.14), recoil(8, 0.0, 0.46, 16)),
        gap=0.78,
    ),
    Action(
        "shoot at other person with a gun",
        2.4,
        (hold("both", AIM, 0.06, 0.94, 0.14), jerk(-5, 2, 0.4)),
        partner=(sometimes(0.7, hold("both", RAISED, 0.3, 1.2)), sometimes(0.5, recoil(-14, 0.2, 0.5))),
        gap=1.5,
    ),
    Action(
        "step on foot",
        2.2,
        (raise_foot(0.30, 0.22, 0.12, 0.52, 0.18), raise_foot(0.34, 0.05, 0.44, 0.86, 0.12), look(28)),
        partner=(raise_foot(-0.16, 0.16, 0.5, 0.96, 0.12), look(26, start=0.4)),
        gap=0.6,
    ),
    Action(
        "high-five",
        2.1,
        (hold("main", replace(MIDWAY, up=1.56), 0.16, 0.74, 0.16),),
        partner=(hold("main", replace(MIDWAY, up=1.56), 0.18, 0.76, 0.16),),
        gap=0.9,
    ),
    Action(
        "cheers and drink",
        3.0,
        (
            hold("main", replace(MIDWAY, up=1.2), 0.04, 0.46, 0.14),
            hold("main", MOUTH, 0.44, 0.94, 0.16, flex=25),
            look(-12, start=0.5),
        ),
        partner=(
            hold("main", replace(MIDWAY, up=1.2), 0.06, 0.46, 0.14),
            hold("main", MOUTH, 0.44, 0.96, 0.16, flex=25),
            look(-12, start=0.5),
        ),
        gap=1.0,
    ),
    Action(
        "carry something with other person",
        3.2,
        (walk(0.0, 0.36, 0.98, sideways=0.6), _LIFT_TOGETHER),
        partner=(walk(0.0, 0.36, 0.98, sideways=-0.6), _LIFT_TOGETHER),
        gap=1.3,
    ),
    Action(
        "take a photo of other person",
        2.8,
        (hold("both", replace(EYES, forward=0.24), 0.08, 0.94, 0.18), sometimes(0.4, lean(6))),
        partner=(sometimes(0.6, hold("main", SIGN, 0.16, 0.9)), look(roll=8)),
        gap=1.7,
    ),
    Action(
        "follow other person",
        2.9,
        (walk(0.8),),
        partner=(walk(0.85),),
        gap=0.9,
        partner_headings=(0.0,),
    ),
    Action(
        "whisper in other person's ear",
        2.6,
        (
            lean(24, side=8),
            hold("main", theirs(Place("head", 0.12, -0.04, 0.10)), 0.1, 0.9, 0.2),
            look(10, yaw=14),
        ),
        partner=(look(6, roll=10), sometimes(0.4, lean(6))),
        gap=0.5,
        partner_headings=(90.0, -90.0),
    ),
    Action(
        "exchange things with other person",
        2.8,
        (
            hold("main", MIDWAY, 0.06, 0.52, 0.18),
            hold("off", MIDWAY, 0.36, 0.76, 0.16),
            hold("off", WAIST, 0.68, 1.3, 0.14),
        ),
        partner=(
            hold("main", MIDWAY, 0.34, 0.76, 0.16),
            hold("off", MIDWAY, 0.08, 0.52, 0.18),
            hold("off", WAIST, 0.46, 1.3, 0.14),
        ),
        gap=0.95,
    ),
    Action(
        "support somebody with hand",
        3.0,
        (walk(0.45, stride=0.3), hold("main", theirs(Place("chest", 0.08, -0.2, -0.06)), -0.2, 1.2, 0.14), lean(6)),
        partner=(walk(0.45, stride=0.3), lean(18, side=6, start=-0.1, end=1.1), look(18)),
        gap=0.45,
        partner_headings=(0.0, 15.0, -15.0),
    ),
    Action(
        "finger-guessing game (playing rock-paper-scissors)",
        2.6,
        (_COUNTED, hold("main", MIDWAY, 0.6, 0.96, 0.1)),
        partner=(_COUNTED, hold("main", MIDWAY, 0.6, 0.96, 0.1)),
        gap=1.0,
    ),
)
"""All 120 classes, those of :data:`~mmcl_bench.datasets.synth.actions.ACTIONS` first."""
