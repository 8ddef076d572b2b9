"""Joint layouts: which joints a skeleton has, and how they hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown

LONGEST_BONE = 1.0
"""Metres; no human bone is longer."""


@dataclass(frozen=True)
class Layout:
    """A joint topology. Joints are in the order of a set's arrays; a bone is (joint, neighbour nearer the centre)."""

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    centre: str
    """The joint that ends every chain of bones."""
    hips: tuple[str, ...]
    """The joints whose mean clips are centred on."""
    parts: Mapping[str, tuple[str, ...]]
    """Joint names by body part: head, hands, torso, legs."""
    mirrored: tuple[tuple[str, str], ...]
    """(left, right) pairs."""
    source: str
    from_images: bool = False
    """Key points found in images: a joint at (0, 0, 0) was not found."""

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint in arrays of this layout."""
        return self.joints.index(joint)

    def mid_hip(self, positions: np.ndarray) -> np.ndarray:
        """(..., V, 3) -> (..., 3): the mean of the :attr:`hips`."""
        middle: np.ndarray = positions[..., [self.index(joint) for joint in self.hips], :].mean(-2)
        return middle

    def seen(self, positions: np.ndarray) -> np.ndarray:
        """(..., V, 3) -> (..., V) bool: which joints were seen. A NaN, or (0, 0, 0), says that one was not.

        One exception, for sets that were moved to have a joint in the origin: a joint of the trunk that a sensor
        measures is seen at (0, 0, 0) where a joint at the other end of one of its bones is seen within a metre.
        """
        is_nan = np.isnan(positions).any(-1)
        seen = np.asarray(positions.any(-1) & ~is_nan)
        at_origin = ~seen & ~is_nan
        if not self.from_images and at_origin.any():
            near = seen & (np.linalg.norm(positions, axis=-1) < LONGEST_BONE)
            seen |= at_origin & self._is_trunk & (near @ (self.bones_apart == 1))
        return seen

    @cached_property
    def _is_trunk(self) -> np.ndarray:
        return np.isin(self.joints, [*self.parts["torso"], *self.hips, self.centre])

    @cached_property
    def bones_apart(self) -> np.ndarray:
        """(V, V) float64: how many bones lie between two joints; infinity where none lead from one to the other."""
        bones = np.zeros((len(self), len(self)), dtype=bool)
        for child, parent in self.bone_pairs:
            bones[child, parent] = bones[parent, child] = True
        reached = np.eye(len(self), dtype=bool)
        apart = np.where(reached, 0.0, np.inf)
        for n_bones in range(1, len(self)):
            reached = (reached @ bones) & np.isinf(apart)
            apart[reached] = n_bones
        return apart

    @cached_property
    def bone_pairs(self) -> tuple[tuple[int, int], ...]:
        """:attr:`bones` as positions."""
        return tuple((self.index(child), self.index(parent)) for child, parent in self.bones)

    @cached_property
    def parents(self) -> np.ndarray:
        """(V,) int64: each joint's neighbour nearer the centre; the centre is its own."""
        parents = np.arange(len(self))
        for child, parent in self.bone_pairs:
            parents[child] = parent
        return parents

    @cached_property
    def swap(self) -> np.ndarray:
        """(V,) int64: the order of joints after left and right change places."""
        order = np.arange(len(self))
        for left, right in self.mirrored:
            order[self.index(left)], order[self.index(right)] = self.index(right), self.index(left)
        return order


_ARM = ("shoulder", "elbow", "wrist", "hand")
_LEG = ("hip", "knee", "ankle", "foot")
_FACE = ("eye", "ear")
_UPPER_ARM = ("shoulder", "elbow", "wrist")
_UPPER_LEG = ("hip", "knee", "ankle")
_MOCAP_ARM = ("shoulder", "elbow", "forearm", "wrist", "hand", "hand_tip")
_MOCAP_LEG = ("hip", "knee", "ankle", "foot", "toes")
_LEFT_THEN_RIGHT, _RIGHT_THEN_LEFT = ("left", "right"), ("right", "left")

Bones = tuple[tuple[str, str], ...]


def _of_side(side: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names)


def _both(*names: str) -> tuple[str, ...]:
    return _of_side("left", *names) + _of_side("right", *names)


def _sided(*names: str) -> Bones:
    return tuple(zip(_of_side("left", *names), _of_side("right", *names), strict=True))


def _chain(*joints: str) -> Bones:
    """Bones from the first joint along to the last."""
    return tuple(pairwise(joints))


def _limb(side: str, joints: tuple[str, ...], root: str) -> Bones:
    """Bones from the end of a limb, whose joints are listed from the body outwards, to the joint it hangs on."""
    return _chain(*_of_side(side, *reversed(joints)), root)


def _limbs(arm: tuple[str, ...], arm_root: str, leg: tuple[str, ...], leg_root: str) -> Bones:
    sides = (_limb(side, arm, arm_root) + _limb(side, leg, leg_root) for side in _LEFT_THEN_RIGHT)
    return tuple(bone for bones in sides for bone in bones)


KINECT_V1 = Layout(
    name="kinect-v1",
    joints=(
        *("hip_center", "spine", "shoulder_center", "head"),
        *(*_both(*_ARM), *_both(*_LEG)),
    ),
    bones=(
        *_chain("hip_center", "spine", "shoulder_center"),
        ("head", "shoulder_center"),
        *_limbs(_ARM, "shoulder_center", _LEG, "hip_center"),
    ),
    centre="shoulder_center",
    hips=("hip_center",),
    parts={
        "head": ("head", "shoulder_center"),
        "hands": _both(*_ARM),
        "torso": ("hip_center", "spine", "shoulder_center"),
        "legs": _both(*_LEG),
    },
    mirrored=_sided(*_ARM, *_LEG),
    source="Kinect for Windows SDK 1.8, JointType, in the order of NW-UCLA and UTKinect",
)

KINECT_V2 = Layout(
    name="kinect-v2",
    joints=(
        *("spine_base", "spine_mid", "neck", "head"),
        *(*_both(*_ARM), *_both(*_LEG)),
        *("spine_shoulder", *_both("hand_tip", "thumb")),
    ),
    bones=(
        *_chain("spine_base", "spine_mid", "spine_shoulder"),
        ("neck", "spine_shoulder"),
        ("head", "neck"),
        *_limbs(_ARM, "spine_shoulder", _LEG, "spine_base"),
        # The reference graphs hang each hand tip on the thumb and the thumb on the hand.
        *_chain("left_hand_tip", "left_thumb", "left_hand"),
        *_chain("right_hand_tip", "right_thumb", "right_hand"),
    ),
    centre="spine_shoulder",
    hips=("spine_base",),
    parts={
        "head": ("head", "neck"),
        "hands": _both(*_ARM, "hand_tip", "thumb"),
        "torso": ("spine_base", "spine_mid", "spine_shoulder"),
        "legs": _both(*_LEG),
    },
    mirrored=_sided(*_ARM, *_LEG, "hand_tip", "thumb"),
    source="Kinect for Windows SDK 2.0, JointType, in the order of NTU RGB+D",
)

OPENPOSE_18 = Layout(
    name="openpose-18",
    joints=(
        "nose",
        "neck",
        *(f"{side}_{joint}" for limb in (_UPPER_ARM, _UPPER_LEG) for side in _RIGHT_THEN_LEFT for joint in limb),
        *(f"{side}_{joint}" for joint in _FACE for side in _RIGHT_THEN_LEFT),
    ),
    bones=(
        ("nose", "neck"),
        *(bone for side in _RIGHT_THEN_LEFT for bone in _chain(f"{side}_ear", f"{side}_eye", "nose")),
        *(bone for side in _RIGHT_THEN_LEFT for limb in (_UPPER_ARM, _UPPER_LEG) for bone in _limb(side, limb, "neck")),
    ),
    centre="neck",
    hips=_both("hip"),
    parts={
        "head": ("nose", *_both("eye", "ear")),
        "hands": _both(*_UPPER_ARM),
        "torso": ("neck", *_both("shoulder", "hip")),
        "legs": _both(*_UPPER_LEG),
    },
    mirrored=_sided(*_UPPER_ARM, *_UPPER_LEG, *_FACE),
    source="OpenPose, the COCO body model of 18 key points, in the order of Kinetics-skeleton",
    from_images=True,
)

COCO_17 = Layout(
    name="coco-17",
    joints=(
        "nose",
        *(f"{side}_{joint}" for joint in (*_FACE, *_UPPER_ARM, *_UPPER_LEG) for side in _LEFT_THEN_RIGHT),
    ),
    bones=tuple(
        bone
        for side in _LEFT_THEN_RIGHT
        for bone in (
            *_chain(f"{side}_ear", f"{side}_eye", "nose"),
            *_limb(side, _UPPER_ARM, "nose"),
            *_limb(side, _UPPER_LEG, f"{side}_shoulder"),
        )
    ),
    centre="nose",
    hips=_both("hip"),
    parts={
        "head": ("nose", *_both("eye", "ear")),
        "hands": _both(*_UPPER_ARM),
        "torso": _both("shoulder", "hip"),
        "legs": _both(*_UPPER_LEG),
    },
    mirrored=_sided(*_FACE, *_UPPER_ARM, *_UPPER_LEG),
    source="COCO key points, in the order of the annotations of COCO 2017",
    from_images=True,
)

H36M_17 = Layout(
    name="h36m-17",
    joints=(
        "pelvis",
        *(f"{side}_{joint}" for side in _RIGHT_THEN_LEFT for joint in _UPPER_LEG),
        *("spine", "thorax", "nose", "head_top"),
        *_both(*_UPPER_ARM),
    ),
    bones=(
        *_chain("pelvis", "spine", "thorax"),
        *_chain("head_top", "nose", "thorax"),
        *_limbs(_UPPER_ARM, "thorax", _UPPER_LEG, "pelvis"),
    ),
    centre="thorax",
    hips=("pelvis",),
    parts={
        "head": ("nose", "head_top"),
        "hands": _both(*_UPPER_ARM),
        "torso": ("pelvis", "spine", "thorax"),
        "legs": _both(*_UPPER_LEG),
    },
    mirrored=_sided(*_UPPER_ARM, *_UPPER_LEG),
    source="Human3.6M reduced to 17 joints, in the order of VideoPose3D (joints 9 and 10 are nose and head top)",
)

HDM05 = Layout(
    name="hdm05",
    joints=(
        "pelvis",
        *_both(*_MOCAP_LEG),
        *("lower_back", "upper_back", "thorax", "lower_neck", "upper_neck", "head"),
        *_both(*_MOCAP_ARM, "thumb"),
    ),
    bones=(
        *_chain("pelvis", "lower_back", "upper_back", "thorax"),
        *_chain("head", "upper_neck", "lower_neck", "thorax"),
        *(
            bone
            for side in _LEFT_THEN_RIGHT
            for bone in (
                *_limb(side, _MOCAP_ARM, "thorax"),
                (f"{side}_thumb", f"{side}_wrist"),
                *_limb(side, _MOCAP_LEG, "pelvis"),
            )
        ),
    ),
    centre="thorax",
    hips=("pelvis",),
    parts={
        "head": ("lower_neck", "upper_neck", "head"),
        "hands": _both(*_MOCAP_ARM, "thumb"),
        "torso": ("pelvis", "lower_back", "upper_back", "thorax"),
        "legs": _both(*_MOCAP_LEG),
    },
    mirrored=_sided(*_MOCAP_ARM, "thumb", *_MOCAP_LEG),
    source="the ASF skeletons of HDM05 (Vicon BodyBuilder), a joint at the end of each bone, in the order of their ids",
)

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (KINECT_V1, KINECT_V2, OPENPOSE_18, COCO_17, H36M_17, HDM05)
}


def get_layout(name: str) -> Layout:
    """The layout called ``name``. Raises :class:`UserError` with the nearest names when there is none."""
    try:
        return LAYOUTS[name]
    except KeyError:
        raise UserError(unknown("layout", name, sorted(LAYOUTS))) from None
