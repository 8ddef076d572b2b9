"""Joint layouts: which joints a skeleton has, and how they hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mmcl_bench.errors import UserError
from mmcl_bench.registry import unknown


@dataclass(frozen=True)
class Layout:
    """A joint topology. Joints are in the order of a set's arrays; a bone is (joint, neighbour nearer the centre)."""

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    centre: str
    """The joint that ends every chain of bones."""
    hip: str
    """The joint clips are centred on."""
    parts: Mapping[str, tuple[str, ...]]
    """Joint names by body part: head, hands, torso, legs."""
    mirrored: tuple[tuple[str, str], ...]
    """(left, right) pairs."""
    source: str

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint in arrays of this layout."""
        return self.joints.index(joint)

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


def _sided(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"left_{name}", f"right_{name}") for name in names)


def _chain(*joints: str) -> tuple[tuple[str, str], ...]:
    """Bones from the first joint along to the last."""
    return tuple(pairwise(joints))


def _limbs(side: str, arm_root: str, leg_root: str) -> tuple[tuple[str, str], ...]:
    arm = [f"{side}_{joint}" for joint in reversed(_ARM)]
    leg = [f"{side}_{joint}" for joint in reversed(_LEG)]
    return _chain(*arm, arm_root) + _chain(*leg, leg_root)


KINECT_V1 = Layout(
    name="kinect-v1",
    joints=(
        "hip_center",
        "spine",
        "shoulder_center",
        "head",
        *(f"left_{joint}" for joint in _ARM),
        *(f"right_{joint}" for joint in _ARM),
        *(f"left_{joint}" for joint in _LEG),
        *(f"right_{joint}" for joint in _LEG),
    ),
    bones=(
        ("hip_center", "spine"),
        ("spine", "shoulder_center"),
        ("head", "shoulder_center"),
        *_limbs("left", "shoulder_center", "hip_center"),
        *_limbs("right", "shoulder_center", "hip_center"),
    ),
    centre="shoulder_center",
    hip="hip_center",
    parts={
        "head": ("head", "shoulder_center"),
        "hands": tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM),
        "torso": ("hip_center", "spine", "shoulder_center"),
        "legs": tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _LEG),
    },
    mirrored=_sided(*_ARM, *_LEG),
    source="Kinect for Windows SDK 1.8, JointType, in the order of NW-UCLA and UTKinect",
)

KINECT_V2 = Layout(
    name="kinect-v2",
    joints=(
        "spine_base",
        "spine_mid",
        "neck",
        "head",
        *(f"left_{joint}" for joint in _ARM),
        *(f"right_{joint}" for joint in _ARM),
        *(f"left_{joint}" for joint in _LEG),
        *(f"right_{joint}" for joint in _LEG),
        "spine_shoulder",
        "left_hand_tip",
        "left_thumb",
        "right_hand_tip",
        "right_thumb",
    ),
    bones=(
        ("spine_base", "spine_mid"),
        ("spine_mid", "spine_shoulder"),
        ("neck", "spine_shoulder"),
        ("head", "neck"),
        *_limbs("left", "spine_shoulder", "spine_base"),
        *_limbs("right", "spine_shoulder", "spine_base"),
        # The reference graphs hang each hand tip on the thumb and the thumb on the hand.
        ("left_hand_tip", "left_thumb"),
        ("left_thumb", "left_hand"),
        ("right_hand_tip", "right_thumb"),
        ("right_thumb", "right_hand"),
    ),
    centre="spine_shoulder",
    hip="spine_base",
    parts={
        "head": ("head", "neck"),
        "hands": tuple(f"{side}_{joint}" for side in ("left", "right") for joint in (*_ARM, "hand_tip", "thumb")),
        "torso": ("spine_base", "spine_mid", "spine_shoulder"),
        "legs": tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _LEG),
    },
    mirrored=_sided(*_ARM, *_LEG, "hand_tip", "thumb"),
    source="Kinect for Windows SDK 2.0, JointType, in the order of NTU RGB+D",
)

LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (KINECT_V1, KINECT_V2)}


def get_layout(name: str) -> Layout:
    """The layout called ``name``. Raises :class:`UserError` with the nearest names when there is none."""
    try:
        return LAYOUTS[name]
    except KeyError:
        raise UserError(unknown("layout", name, sorted(LAYOUTS))) from None
