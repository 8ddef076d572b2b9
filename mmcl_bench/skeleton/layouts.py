"""Joint layouts: which joints a skeleton has, and how they hang together.

Those of this package are TOML files in ``protocols/layouts``, one a layout. A package of your own adds a
:class:`Layout` under the entry point ``mmcl_bench.layouts``; a data set of your own may bring its layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.facts import Fact, Words, fact_names, read_fact
from mmcl_bench.core.registry import Registry, unknown

Part = Literal["head", "hands", "torso", "legs"]
PARTS: tuple[Part, ...] = ("head", "hands", "torso", "legs")
ALIGNED_BY = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
"""Joints that every layout has: clips are turned and scaled by them."""

LONGEST_BONE = 1.0
"""Metres; no human bone is longer."""


@dataclass(frozen=True)
class Layout:
    """A joint topology. Joints are in the order of a set's arrays; a bone is (joint, neighbour nearer the centre).

    Raises ``ValueError`` for bones that form no tree, a joint that is not among :attr:`joints` or stands twice, or a
    layout without :data:`ALIGNED_BY`.
    """

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

    def __post_init__(self) -> None:
        _require_joints(self)
        _require_tree(self)

    def __len__(self) -> int:
        return len(self.joints)

    def __str__(self) -> str:
        return self.name

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


def _require_joints(layout: Layout) -> None:
    if twice := _first_twice(layout.joints):
        raise ValueError(f"joints: {twice} stands twice; give each joint its own name")
    if lacking := next((joint for joint in ALIGNED_BY if joint not in layout.joints), None):
        raise ValueError(
            f"joints: there is no {lacking}; clips are turned and scaled by {', '.join(ALIGNED_BY)}, so call these so"
        )
    named = {
        "bones": [joint for bone in layout.bones for joint in bone],
        "centre": [layout.centre],
        "hips": layout.hips,
        "pairs": [joint for pair in layout.mirrored for joint in pair],
        **{f"parts.{part}": joints for part, joints in layout.parts.items()},
    }
    for field, joints in named.items():
        if strange := next((joint for joint in joints if joint not in layout.joints), None):
            raise ValueError(f"{field}: {unknown('joint', strange, list(layout.joints))}")
    if twice := _first_twice(named["pairs"]):
        raise ValueError(f"pairs: {twice} is in two pairs")
    if not layout.hips:
        raise ValueError("hips: names no joint")
    if empty := next((part for part in PARTS if not layout.parts.get(part)), None):
        raise ValueError(f"parts.{empty}: has no joint; name some")


def _require_tree(layout: Layout) -> None:
    parent = dict(layout.bones)
    if twice := _first_twice([child for child, _ in layout.bones]):
        raise ValueError(f"bones: two bones lead from {twice} to the centre {layout.centre}; bones form a tree")
    for joint in layout.joints:
        at, steps = joint, 0
        while at != layout.centre and at in parent and steps <= len(layout.joints):
            at, steps = parent[at], steps + 1
        if at != layout.centre:
            raise ValueError(f"bones: no chain of bones leads from {joint} to the centre {layout.centre}")
    if layout.centre in parent:
        raise ValueError(f"bones: a bone leads from the centre {layout.centre} outwards; bones form a tree")


def _first_twice(names: Sequence[str]) -> str | None:
    return next((name for at, name in enumerate(names) if name in names[:at]), None)


Joint = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
_MIDDLE_OF_HIPS = ("spine_base", "hip_center", "pelvis", "mid_hip")
_CENTRES = ("spine_shoulder", "shoulder_center", "thorax", "spine_chest", "chest", "spine3", "neck", "torso", "spine")
_PART_OF_WORD: Mapping[str, Part] = {
    **dict.fromkeys(("head", "neck", "nose", "eye", "ear", "mouth", "jaw", "chin", "face"), "head"),
    **dict.fromkeys(("shoulder", "elbow", "forearm", "wrist", "hand", "thumb", "index", "pinky", "finger"), "hands"),
    **dict.fromkeys(("hip", "knee", "ankle", "foot", "heel", "toe", "toes"), "legs"),
}
"""What a joint belongs to that has the word in its name; hands and legs are of joints on a side. The rest is torso."""


class LayoutTable(Fact):
    """A layout as a file says it: ``protocols/layouts``, and ``[layout]`` in a ``dataset.toml``."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)] = "own"
    joints: Annotated[tuple[Joint, ...], Field(min_length=1, max_length=1000)]
    """In the order of the arrays."""
    bones: tuple[Annotated[tuple[Joint, ...], Field(min_length=2)], ...]
    """Pairs of joints, or longer chains of them, in any direction."""
    centre: Joint | None = None
    """Where chains of bones end; when not given, what lies between the shoulders, or else above the hips."""
    hips: tuple[Joint, ...] | None = None
    """When not given, the joint between the hips, or else both hips."""
    pairs: tuple[tuple[Joint, Joint], ...] | None = None
    """(left, right); when not given, joints whose names begin with ``left_`` and ``right_``."""
    parts: Mapping[Part, tuple[Joint, ...]] = Field(default={})
    """Those that are not given are told by the names of the joints."""
    source: Words = "the owner"
    from_images: bool = False

    def layout(self) -> Layout:
        """The layout. Raises ``ValueError`` as :class:`Layout` does."""
        joints = set(self.joints)
        centre = self.centre or next((joint for joint in _CENTRES if joint in joints), self.joints[0])
        middle = next(((joint,) for joint in _MIDDLE_OF_HIPS if joint in joints), ("left_hip", "right_hip"))
        lefts = [joint.removeprefix("left_") for joint in self.joints if joint.startswith("left_")]
        by_name = tuple((f"left_{rest}", f"right_{rest}") for rest in lefts if f"right_{rest}" in joints)
        return Layout(
            name=self.name,
            joints=self.joints,
            bones=_towards(centre, tuple(bone for chain in self.bones for bone in pairwise(chain))),
            centre=centre,
            hips=middle if self.hips is None else self.hips,
            parts=self._all_parts(),
            mirrored=by_name if self.pairs is None else self.pairs,
            source=self.source,
            from_images=self.from_images,
        )

    def _all_parts(self) -> dict[str, tuple[str, ...]]:
        parts: dict[str, tuple[str, ...]] = {
            part: self.parts.get(part) or tuple(joint for joint in self.joints if _part_of(joint) == part)
            for part in PARTS
        }
        rest = tuple(joint for joint in self.joints if not any(joint in joints for joints in parts.values()))
        # A skeleton without a joint along the spine still has a torso.
        return {**parts, "torso": parts["torso"] or rest or ALIGNED_BY}


def _part_of(joint: str) -> Part | None:
    is_sided = joint.startswith(("left_", "right_"))
    parts = {_PART_OF_WORD[word] for word in joint.split("_") if word in _PART_OF_WORD}
    if "head" in parts:
        return "head"
    # Legs first, for a left_foot_index.
    of_limbs: tuple[Part, ...] = ("legs", "hands")
    return next((part for part in of_limbs if is_sided and part in parts), None)


def _towards(centre: str, bones: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The bones, each turned so that its second joint is the nearer to the centre."""
    reached, turned = {centre}, dict[tuple[str, str], tuple[str, str]]()
    while found := [bone for bone in bones if bone not in turned and not reached.isdisjoint(bone)]:
        for first, second in found:
            turned[first, second] = (first, second) if second in reached else (second, first)
        reached.update(joint for bone in found for joint in bone)
    return tuple(turned.get(bone, bone) for bone in bones)


LAYOUTS: Mapping[str, Layout] = {
    name: read_fact("layouts", "layout", name, LayoutTable).layout() for name in fact_names("layouts")
}
"""Those of this package, by name."""
KINECT_V1, KINECT_V2, HDM05 = (LAYOUTS[name] for name in ("kinect-v1", "kinect-v2", "hdm05"))
OPENPOSE_18, COCO_17, H36M_17 = (LAYOUTS[name] for name in ("openpose-18", "coco-17", "h36m-17"))
ADDED: Registry[Layout] = Registry("layout", "mmcl_bench.layouts", {})
"""Those of other packages."""


def get_layout(layout: str | Layout) -> Layout:
    """The layout called so, or the layout itself. Raises :class:`UserError` with the nearest names when none is."""
    if isinstance(layout, Layout):
        return layout
    if layout in LAYOUTS:
        return LAYOUTS[layout]
    if layout in ADDED:
        added = ADDED.get(layout)
        if not isinstance(added, Layout):
            raise UserError(
                f"layout {layout!r}: its plugin names a {type(added).__name__} and no Layout; mend that package"
            )
        return added
    raise UserError(unknown("layout", layout, layout_names()))


def layout_names() -> list[str]:
    """The layouts of this package, then those of others."""
    return [*LAYOUTS, *sorted(name for name in ADDED if name not in LAYOUTS)]


def portable(layout: str | Layout) -> str | Layout:
    """What to keep in a file that is read elsewhere: the name of a layout of this package, else all of the layout."""
    found = get_layout(layout)
    return found.name if LAYOUTS.get(found.name) == found else found
