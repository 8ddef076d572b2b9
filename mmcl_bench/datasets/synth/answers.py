"""What an imperfect multimodal model would say of the image of a take.

The instructions have the form of those of MMCL (Liu, Chen and Liu, ACM MM 2024): whether the target does
something, and descriptions of a target. Answers are read off the pose in the middle crop and the props, never off the
class, and about one in twelve is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.datasets.synth.body import Array, cross, unit
from mmcl_bench.datasets.synth.render import CROPS, SHAPES
from mmcl_bench.datasets.synth.take import HANDS, JOINT, Take

if TYPE_CHECKING:
    from numpy.random import Generator

ERROR_RATE = 0.08
"""Share of the answers that are plausible but wrong."""

HOLDING = "Whether the person is holding an object?"
INTERACTING = "Whether two people are interacting?"
INSTRUCTIONS = (HOLDING, INTERACTING, *(f"Please describe the {part}." for part in ("head", "hands", "torso", "legs")))

_HAND_WORDS: Mapping[str, tuple[str, ...]] = {
    "mouth": ("at the mouth", "close to the lips", "raised to the mouth"),
    "ear": ("at the ear", "beside the ear", "against the side of the head"),
    "eyes": ("in front of the face", "at eye level near the face", "close to the eyes"),
    "crown": ("on top of the head", "at the crown of the head", "on the hair"),
    "neck": ("at the neck", "behind the neck", "on the side of the neck"),
    "beside": ("raised beside the face", "up next to the head", "lifted at head height"),
    "chest": ("on the chest", "close to the chest", "pressed to the upper body"),
    "belly": ("on the belly", "at the stomach", "in front of the waist"),
    "back": ("behind the lower back", "on the back of the waist", "behind the body"),
    "hip": ("beside the hip", "at the side of the waist", "near the thigh"),
    "front": ("in front of the chest", "held out before the body", "in front of the torso"),
    "low front": ("in front of the waist", "at waist height before the body", "held low in front"),
    "ahead": ("stretched out ahead", "extended forward at shoulder height", "reaching out with a straight arm"),
    "overhead": ("above the head", "raised high", "lifted over the head"),
    "feet": ("near the feet", "down at the floor", "low, close to the ground"),
    "down": ("hanging down at the side", "relaxed beside the body", "down along the body"),
    "other": ("touching the other person", "on the other person's body", "reaching the other person"),
}
_LEG_WORDS: Mapping[str, tuple[str, ...]] = {
    "straight": ("straight", "fully extended", "straight and still"),
    "bent": ("bent at the knees", "bent", "flexed at the knees"),
    "deep": ("deeply bent", "folded with the hips low", "bent at a right angle"),
    "one up": ("apart, one foot is off the ground", "uneven, one leg is lifted", "in motion with one foot in the air"),
    "apart": ("apart, as in a step", "spread in a stride", "set one before the other"),
}
_TORSO_WORDS: Mapping[str, tuple[str, ...]] = {
    "upright": ("upright", "straight", "vertical"),
    "forward": ("leaning forward", "bent forward", "inclined to the front"),
    "deep": ("bent far forward", "folded over at the waist", "bowed low"),
    "back": ("leaning back", "arched backwards", "tilted to the rear"),
    "side": ("leaning to one side", "tilted sideways", "bent to the side"),
    "lying": ("close to the ground", "nearly horizontal", "lying low"),
}
_HEAD_WORDS: Mapping[str, tuple[str, ...]] = {
    "straight": ("upright and looks ahead", "held straight", "facing forward"),
    "down": ("bent down", "lowered", "looking down"),
    "back": ("tilted back", "raised", "looking up"),
    "side": ("tilted to one side", "inclined sideways", "leaning to the side"),
}

_NEAR_HEAD: Mapping[str, tuple[float, float, float]] = {
    "mouth": (0.01, -0.11, 0.05),
    "ear": (0.12, -0.07, -0.04),
    "eyes": (0.06, -0.02, 0.05),
    "crown": (0.07, 0.07, -0.03),
    "neck": (0.11, -0.18, -0.10),
    "beside": (0.28, -0.04, 0.12),
}
"""Where a hand is from the head joint, in metres outwards, up along the trunk, forward."""


def describe(rng: Generator, take: Take) -> tuple[tuple[str, str], ...]:
    """(instruction, answer) pairs for :data:`INSTRUCTIONS`, in their order."""
    frame = int(take.evenly(CROPS)[CROPS // 2])
    pose = take.poses[0, frame]
    left, right = (_place_of_hand(take, frame, side) for side in (0, 1))
    message = (
        _holding(rng, take),
        _interacting(rng, take),
        f"The head is {_word(rng, _HEAD_WORDS, _head(pose))}.",
        _hands(rng, left, right),
        f"The torso is {_word(rng, _TORSO_WORDS, _torso(pose))}.",
        f"The legs are {_word(rng, _LEG_WORDS, _legs(pose))}.",
    )
    return tuple(zip(INSTRUCTIONS, message, strict=True))


def _word(rng: Generator, words: Mapping[str, Sequence[str]], state: str) -> str:
    """A wording of ``state``, or in :data:`ERROR_RATE` of the cases one of another state."""
    if rng.random() < ERROR_RATE:
        state = str(rng.choice([other for other in words if other != state]))
    return str(rng.choice(words[state]))


def _holding(rng: Generator, take: Take) -> str:
    seen = _held(take)
    if rng.random() < ERROR_RATE:
        others = [name for name in SHAPES if name != "chair" and name not in seen]
        seen = [] if seen and rng.random() < 0.5 else [str(rng.choice(others))]
    if not seen:
        return str(rng.choice(["No, the person holds nothing.", "No, the hands are empty.", "No object is held."]))
    things = " and ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in seen)
    if seen == ["glasses"]:
        things = "glasses"
    return str(
        rng.choice([f"Yes, the person holds {things}.", f"Yes, there is {things} in the hand.", f"Yes, {things}."])
    )


def _held(take: Take) -> list[str]:
    """Names of the props that a hand holds in some crop."""
    clocks = take.clock[take.evenly(CROPS)]
    in_hand = {"main", "off", "hands", "theirs"}
    return [prop.name for prop in take.props if in_hand & {prop.carrier(float(clock)) for clock in clocks}]


def _interacting(rng: Generator, take: Take) -> str:
    two = len(take.poses) > 1
    if rng.random() < ERROR_RATE:
        two = not two
    if two:
        return str(rng.choice(["Yes, two people are close to each other.", "Yes, there are two people."]))
    return str(rng.choice(["No, there is only one person.", "No, the person is alone."]))


def _hands(rng: Generator, left: str, right: str) -> str:
    if left == right:
        return f"Both hands are {_word(rng, _HAND_WORDS, left)}."
    one, other = _word(rng, _HAND_WORDS, right), _word(rng, _HAND_WORDS, left)
    if rng.random() < 0.5:
        return f"The right hand is {one}, the left hand is {other}."
    return f"The left hand is {other}, the right hand is {one}."


def _axes(pose: Array) -> Array:
    """(3, 3) unit rows: to the left, up along the trunk, forward."""
    up = unit(pose[JOINT["spine_shoulder"]] - pose[JOINT["spine_base"]])
    forward = unit(cross(pose[JOINT["left_shoulder"]] - pose[JOINT["right_shoulder"]], up))
    return np.stack([cross(up, forward), up, forward])


def _place_of_hand(take: Take, frame: int, side: int) -> str:
    pose = take.poses[0, frame]
    hand = pose[HANDS[side]]
    if len(take.poses) > 1:
        other = take.poses[1, frame, [JOINT[name] for name in ("head", "spine_shoulder", "spine_mid", "spine_base")]]
        if np.linalg.norm(other - hand, axis=1).min() < 0.28:
            return "other"
    axes, outward = _axes(pose), np.array([1.0, 1.0, 1.0]) * [(1.0, -1.0)[side], 1.0, 1.0]
    from_head = axes @ (hand - pose[JOINT["head"]]) * outward
    distances = {name: float(np.linalg.norm(from_head - offset)) for name, offset in _NEAR_HEAD.items()}
    nearest = min(distances, key=lambda name: distances[name])
    if distances[nearest] < (0.15 if nearest == "beside" else 0.12):
        return nearest
    return _away_from_head(pose, side, axes, from_head, outward)


def _away_from_head(pose: Array, side: int, axes: Array, from_head: Array, outward: Array) -> str:
    name = ("left", "right")[side]
    hand, shoulder = pose[HANDS[side]], pose[JOINT[f"{name}_shoulder"]]
    from_pelvis = axes @ (hand - pose[JOINT["spine_base"]]) * outward
    arm = np.linalg.norm(hand - shoulder)
    if hand[1] < pose[JOINT[f"{name}_ankle"], 1] + 0.4:
        return "feet"
    if from_head[1] > 0.06:
        return "overhead"
    if arm > 0.47 and abs(hand[1] - shoulder[1]) < 0.25:
        return "ahead"
    if from_pelvis[2] < -0.02 and abs(from_pelvis[0]) < 0.16:
        return "back"
    if from_pelvis[0] > 0.1 and -0.14 < from_pelvis[1] < 0.1 and from_pelvis[2] < 0.2:
        return "hip"
    if arm > 0.47:
        return "down" if from_pelvis[2] < 0.25 else "low front"
    if from_head[1] > -0.15:
        return "beside"
    high = from_pelvis[1] > 0.25
    if from_pelvis[2] < 0.22:
        return "chest" if high else "belly"
    return "front" if high else "low front"


def _head(pose: Array) -> str:
    towards = _axes(pose) @ (pose[JOINT["head"]] - pose[JOINT["neck"]])
    pitch, roll = np.degrees(np.arctan2(towards[2], towards[1])), np.degrees(np.arctan2(towards[0], towards[1]))
    if abs(roll) > 10:
        return "side"
    if pitch > 33:
        return "down"
    return "back" if pitch < 16 else "straight"


def _torso(pose: Array) -> str:
    up = pose[JOINT["spine_shoulder"]] - pose[JOINT["spine_base"]]
    lean = np.degrees(np.arccos(np.clip(up[1] / np.linalg.norm(up), -1, 1)))
    hips = pose[JOINT["left_hip"]] - pose[JOINT["right_hip"]]
    ahead = np.array([-hips[2], 0.0, hips[0]])
    forward, side = float(up @ ahead), float(up @ hips)
    if lean > 55 and pose[JOINT["spine_base"], 1] < pose[JOINT["left_ankle"], 1] + 0.45:
        return "lying"
    if lean < 9:
        return "upright"
    if abs(side) > abs(forward):
        return "side"
    return "back" if forward < 0 else "deep" if lean > 38 else "forward"


def _legs(pose: Array) -> str:
    hips, knees, ankles = (
        pose[[JOINT[f"{side}_{joint}"] for side in ("left", "right")]] for joint in ("hip", "knee", "ankle")
    )
    thighs, shins = hips - knees, ankles - knees
    lengths = np.linalg.norm(thighs, axis=1) * np.linalg.norm(shins, axis=1)
    knee_angles = np.degrees(np.arccos(np.clip((thighs * shins).sum(axis=1) / lengths, -1, 1)))
    if abs(ankles[0, 1] - ankles[1, 1]) > 0.12:
        return "one up"
    if knee_angles.min() < 115:
        return "deep"
    if np.linalg.norm((ankles[0] - ankles[1])[[0, 2]]) > 0.45:
        return "apart"
    return "bent" if knee_angles.min() < 155 else "straight"
