"""Acclaim motion capture: skeletons (ASF), motions (AMC), and where a motion puts the joints of its skeleton.

A skeleton is a tree of rigid bones below a root; a motion gives the angles of every bone, frame by frame. The format is
described in M. Lander, "Working with Motion Capture File Formats", Game Developer, January 1998.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmcl_bench.datasets.formats.archive import BadFile, text_bytes

MAX_ASF_BYTES = 1 << 20
"""Skeletons are below 10 kB."""
MAX_AMC_BYTES = 32 << 20
"""A minute at 120 frames a second is 4 MB."""
MAX_BONES = 500
MAX_HEADER_LINES = 100

METRES_AN_INCH = 0.0254
ROOT = "root"


@dataclass(frozen=True)
class Bone:
    """A rigid bone. It starts where its parent ends; the root is a bone of no length that starts at the origin."""

    name: str
    parent: str | None
    offset: np.ndarray
    """(3,) from its start to its end when all angles are zero."""
    axes: np.ndarray
    """(3, 3) the axes that its angles turn about, as columns."""
    dofs: tuple[str, ...]
    """What a motion gives of it in each frame, in this order: rx, ry, rz, and for the root tx, ty, tz too."""


@dataclass(frozen=True)
class Skeleton:
    """Bones by name, each after its parent, the root first. Lengths are in metres."""

    bones: Mapping[str, Bone]
    metres: float
    """Metres in a unit of length of the skeleton and of its motions."""


@dataclass(frozen=True)
class Motion:
    """float64 (T, dofs) by bone: translations in metres, rotations in radians. Bones without dofs are absent."""

    channels: Mapping[str, np.ndarray]
    n_frames: int


def read_asf(content: bytes) -> Skeleton:
    """The skeleton in the bytes of an ASF file. Raises :class:`BadFile`."""
    if len(content) > MAX_ASF_BYTES:
        raise BadFile(f"is larger than {MAX_ASF_BYTES >> 20} MB; no skeleton is")
    sections = _sections(content)
    units = _fields(sections.get("units", []))
    metres = _metres(units)
    radians = _radians_a_unit(units)
    root = _root(_fields(_section(sections, "root")), metres, radians)
    loose = {root.name: root}
    for block in _blocks(_section(sections, "bonedata")):
        bone = _bone(_fields(block), metres, radians)
        if bone.name in loose:
            raise BadFile(f"has two bones called {bone.name!r}")
        loose[bone.name] = bone
        if len(loose) > MAX_BONES:
            raise BadFile(f"has more than {MAX_BONES} bones")
    hierarchy = [line for block in _blocks(_section(sections, "hierarchy")) for line in block]
    return Skeleton(_tree(loose, hierarchy), metres)


def read_amc(content: bytes, skeleton: Skeleton) -> Motion:
    """The motion in the bytes of an AMC file made for ``skeleton``. Raises :class:`BadFile`."""
    if len(content) > MAX_AMC_BYTES:
        raise BadFile(f"is larger than {MAX_AMC_BYTES >> 20} MB; no take is")
    radians, body = _without_header(content)
    words = body.split()
    if not words:
        raise BadFile("has no frames")
    first_column = _first_frame(words, skeleton)
    width = 1 + sum(1 + len(skeleton.bones[bone].dofs) for bone in first_column)
    n_frames, left_over = divmod(len(words), width)
    if left_over:
        raise BadFile(f"is cut short or damaged: its last {left_over} words make no frame of {width}")
    _require_consecutive(words[::width])
    channels = {}
    for bone, column in first_column.items():
        if words[column::width].count(bone.encode()) != n_frames:
            raise BadFile(f"does not name bone {bone!r} in the same place of every frame")
        dofs = skeleton.bones[bone].dofs
        factors = [skeleton.metres if dof[0] == "t" else radians for dof in dofs]
        numbers = [_column(words[column + 1 + nth :: width], bone) for nth in range(len(dofs))]
        with np.errstate(over="ignore"):
            channels[bone] = np.stack(numbers, axis=1) * factors
    return Motion(channels, n_frames)


def joint_positions(skeleton: Skeleton, motion: Motion, every: int = 1) -> np.ndarray:
    """(T, bones, 3) metres: where each bone of ``skeleton.bones`` ends, in every ``every``-th frame from the first.

    A bone's rotation is its parent's times A M A', where A is ``axes`` and M turns about x, y and z in the order of
    ``dofs``.
    """
    frames = slice(None, None, every)
    n_frames = len(range(motion.n_frames)[frames])
    ends: dict[str, np.ndarray] = {}
    rotations: dict[str, np.ndarray] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for bone in skeleton.bones.values():
            channels = motion.channels.get(bone.name, np.empty((motion.n_frames, 0)))[frames]
            rotation = bone.axes @ _turns(bone.dofs, channels) @ bone.axes.T
            if bone.parent is None:
                start = _translation(bone.dofs, channels)
            else:
                rotation = rotations[bone.parent] @ rotation
                start = ends[bone.parent]
            rotations[bone.name] = np.broadcast_to(rotation, (n_frames, 3, 3))
            # The root's offset is where it rests, which does not turn with it.
            ends[bone.name] = start + (bone.offset if bone.parent is None else rotations[bone.name] @ bone.offset)
    return np.stack(list(ends.values()), axis=1)


def _turns(dofs: Sequence[str], channels: np.ndarray) -> np.ndarray:
    """(T, 3, 3), turning about fixed axes, the first dof first."""
    turned = np.broadcast_to(np.eye(3), (len(channels), 3, 3))
    for dof, angles in zip(dofs, channels.T, strict=True):
        if dof[0] == "r":
            turned = _about("xyz".index(dof[1]), angles) @ turned
    return turned


def _about(axis: int, angles: np.ndarray) -> np.ndarray:
    """(T,) radians -> (T, 3, 3) right-handed rotations about one axis."""
    out = np.zeros((len(angles), 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    out[:, axis, axis] = 1
    out[:, one, one] = out[:, two, two] = np.cos(angles)
    out[:, two, one] = np.sin(angles)
    out[:, one, two] = -out[:, two, one]
    return out


def _translation(dofs: Sequence[str], channels: np.ndarray) -> np.ndarray:
    moved = np.zeros((len(channels), 3))
    for dof, distances in zip(dofs, channels.T, strict=True):
        if dof[0] == "t":
            moved[:, "xyz".index(dof[1])] = distances
    return moved


Lines = list[list[str]]


def _sections(content: bytes) -> dict[str, Lines]:
    """Lines, as words, by the keyword that opens their section."""
    sections: dict[str, Lines] = {}
    lines: Lines = []
    # Comments hold names in the code page of whoever recorded; what is read of a file is ASCII.
    for line in text_bytes(content).decode("latin-1").splitlines():
        words = line.partition("#")[0].split()
        if words and words[0].startswith(":"):
            lines = sections.setdefault(words[0][1:].lower(), [])
        elif words:
            lines.append(words)
    return sections


def _section(sections: dict[str, Lines], name: str) -> Lines:
    if not sections.get(name):
        raise BadFile(f"is no ASF skeleton: has no section :{name}")
    return sections[name]


def _blocks(lines: Lines) -> Iterator[Lines]:
    """The lines between each pair of ``begin`` and ``end``."""
    block: Lines | None = None
    for words in lines:
        if words == ["begin"] and block is None:
            block = []
        elif words == ["end"] and block is not None:
            yield block
            block = None
        elif block is not None:
            block.append(words)
        else:
            raise BadFile(f"is damaged: {' '.join(words)[:40]!r} stands outside begin and end")
    if block is not None:
        raise BadFile("is cut short: a begin has no end")


def _fields(lines: Lines) -> dict[str, list[str]]:
    return {words[0].lower(): words[1:] for words in lines}


def _metres(units: dict[str, list[str]]) -> float:
    """A skeleton states its lengths as inches times the ``length`` of its units."""
    (length,) = _numbers(units.get("length", ["1"]), 1, "length of :units")
    if not 1e-3 <= length <= 1e3:
        raise BadFile(f"has a length of :units of {length:g}; expected 0.001 to 1000")
    return METRES_AN_INCH / length


def _radians_a_unit(units: dict[str, list[str]]) -> float:
    angle = " ".join(units.get("angle", ["deg"])).lower()
    if angle not in ("deg", "rad"):
        raise BadFile(f"has angles in {angle[:20]!r}; expected deg or rad")
    return math.radians(1) if angle == "deg" else 1.0


def _root(fields: dict[str, list[str]], metres: float, radians: float) -> Bone:
    dofs = _dofs(fields.get("order", []), "order of :root", "tr")
    position = _numbers(fields.get("position", ["0"] * 3), 3, "position of :root")
    axes = [*fields.get("orientation", ["0"] * 3), *fields.get("axis", ["XYZ"])]
    return Bone(ROOT, None, np.array(position) * metres, _axes(axes, "orientation of :root", radians), dofs)


def _bone(fields: dict[str, list[str]], metres: float, radians: float) -> Bone:
    name = " ".join(fields.get("name", []))
    if not name or " " in name or not name.isascii() or not name.isprintable():
        raise BadFile(f"has a bone with the name {name[:40]!r}")
    direction = np.array(_numbers(fields.get("direction", []), 3, f"direction of {name}"))
    (length,) = _numbers(fields.get("length", []), 1, f"length of {name}")
    norm = float(np.linalg.norm(direction))
    if length < 0 or not 0.5 <= norm <= 2:
        raise BadFile(f"has a bone {name!r} of length {length:g} along a direction of length {norm:g}")
    dofs = _dofs(fields.get("dof", []), f"dof of {name}", "r")
    axes = _axes(fields.get("axis", ["0", "0", "0", "XYZ"]), f"axis of {name}", radians)
    # Directions are rounded to six digits.
    return Bone(name, None, direction / norm * length * metres, axes, dofs)


def _dofs(words: list[str], what: str, kinds: str) -> tuple[str, ...]:
    dofs = tuple(word.lower() for word in words)
    known = {kind + axis for kind in kinds for axis in "xyz"}
    if len(set(dofs)) != len(dofs) or not set(dofs) <= known:
        raise BadFile(f"has the {what} {' '.join(words)[:40]!r}; expected some of {' '.join(sorted(known))}")
    return dofs


def _axes(words: list[str], what: str, radians: float) -> np.ndarray:
    """(3, 3) from three angles and the order in which they apply, such as ``0 0 20 XYZ``."""
    *angles, order = words or [""]
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise BadFile(f"has the {what} {' '.join(words)[:40]!r}; expected three angles and an order such as XYZ")
    turns = np.array(_numbers(angles, 3, what))[None] * radians
    # The angles stand in the order in which they apply.
    axes: np.ndarray = _turns([f"r{axis}" for axis in order.lower()], turns)[0]
    return axes


def _numbers(words: Sequence[str], count: int, what: str) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(abs(number) <= 1e6 for number in numbers):
        raise BadFile(f"has the {what} {' '.join(words)[:40]!r}; expected {count} plain number{'s' * (count > 1)}")
    return numbers


def _tree(loose: dict[str, Bone], hierarchy: Lines) -> dict[str, Bone]:
    """The bones with their parents, each after its parent. ``hierarchy`` lists a bone and its children a line."""
    parents: dict[str, str] = {}
    for parent, *children in hierarchy:
        for bone in (parent, *children):
            if bone not in loose:
                raise BadFile(f"has an unknown bone {bone[:40]!r} in its :hierarchy")
        for child in children:
            if child == ROOT or child in parents:
                raise BadFile(f"has a bone {child!r} with two parents")
            parents[child] = parent
    tree = {ROOT: loose[ROOT]}
    # Files list bones from the root outwards, so that one pass does; each further one places at least one bone.
    while len(tree) < len(loose):
        placed = [name for name in loose if name not in tree and parents.get(name) in tree]
        if not placed:
            raise BadFile(f"has a bone {next(name for name in loose if name not in tree)!r} that hangs on no other")
        tree.update({name: replace(loose[name], parent=parents[name]) for name in placed})
    return tree


def _without_header(content: bytes) -> tuple[float, bytes]:
    """Radians in a unit of angle, and what follows the lines that start with # or a colon."""
    radians, at = math.radians(1), 0
    for _ in range(MAX_HEADER_LINES):
        end = content.find(b"\n", at)
        line = content[at : end if end >= 0 else None].strip()
        if line and not line.startswith((b"#", b":")):
            return radians, content[at:]
        if line.upper() == b":RADIANS":
            radians = 1.0
        if end < 0:
            break
        at = end + 1
    raise BadFile("has no frames")


def _first_frame(words: list[bytes], skeleton: Skeleton) -> dict[str, int]:
    """The column of each bone's name in the first frame, which starts with the frame's number."""
    names = {name.encode(): bone for name, bone in skeleton.bones.items() if bone.dofs}
    columns: dict[str, int] = {}
    at = 1
    while at < len(words) and (bone := names.get(words[at])) is not None:
        if bone.name in columns:
            raise BadFile(f"names bone {bone.name!r} twice in its first frame")
        columns[bone.name] = at
        at += 1 + len(bone.dofs)
    lacking = [bone.name for bone in names.values() if bone.name not in columns]
    if lacking:
        found = repr(words[at][:40].decode("latin-1")) if at < len(words) else "its end"
        raise BadFile(f"has {found} where its first frame should name a bone; lacks {lacking[0]!r}")
    return columns


def _require_consecutive(numbers: list[bytes]) -> None:
    try:
        first = int(numbers[0])
    except ValueError as error:
        raise BadFile(f"has a first frame without number: {numbers[0][:40]!r}") from error
    for nth, number in enumerate(numbers, first):
        if number != b"%d" % nth:
            raise BadFile(f"has {number[:40].decode('latin-1')!r} where frame {nth} begins")


def _column(words: list[bytes], bone: str) -> np.ndarray:
    try:
        return np.fromiter(map(float, words), dtype=np.float64, count=len(words))
    except ValueError as error:
        raise BadFile(f"has an angle of bone {bone!r} that is no number") from error
