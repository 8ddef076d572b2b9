"""Acclaim skeletons and motions, against hand calculation and SciPy's rotations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.asf_amc import joint_positions, read_amc, read_asf
from published.hdm05 import BONES, motion_file, skeleton_file, swaying

ARM = b"""\
:units
  length 0.5
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    name upper
    direction 1 0 0
    length 10
    axis 0 0 0 XYZ
    dof rx ry rz
  end
  begin
    name lower
    direction 1 0 0
    length 5
    axis 0 0 90 XYZ
    dof rx
  end
:hierarchy
  begin
    root upper
    upper lower
  end
"""
UNIT = 0.0254 / 0.5


def amc(*frames: str, header: str = ":FULLY-SPECIFIED\n:DEGREES\n") -> bytes:
    return (header + "".join(f"{nth}\n{frame}\n" for nth, frame in enumerate(frames, 1))).encode()


def ends(frame: str, skeleton: bytes = ARM) -> np.ndarray:
    """(bones, 3) in the unit of the file."""
    read = read_asf(skeleton)
    return joint_positions(read, read_amc(amc(frame), read))[0] / UNIT


def test_a_motionless_arm_lies_as_the_skeleton_says() -> None:
    np.testing.assert_allclose(
        ends("root 1 2 3 0 0 0\nupper 0 0 0\nlower 0"), [[1, 2, 3], [11, 2, 3], [16, 2, 3]], atol=1e-12
    )


def test_the_root_turns_everything_below_it() -> None:
    np.testing.assert_allclose(
        ends("root 1 2 3 0 0 90\nupper 0 0 0\nlower 0"), [[1, 2, 3], [1, 12, 3], [1, 17, 3]], atol=1e-12
    )


def test_a_bone_turns_about_its_own_axes() -> None:
    """The lower bone's x axis is turned by 90 degrees about z, so it points along y: 90 degrees take +x to -z."""
    np.testing.assert_allclose(
        ends("root 0 0 0 0 0 0\nupper 0 0 0\nlower 90"), [[0, 0, 0], [10, 0, 0], [10, 0, -5]], atol=1e-12
    )


def test_turns_apply_about_x_first_and_z_last() -> None:
    """About y by 90 degrees +x goes to -z, which about z stays; the other order would end at +y."""
    np.testing.assert_allclose(
        ends("root 0 0 0 0 0 0\nupper 0 90 90\nlower 0"), [[0, 0, 0], [0, 0, -10], [0, 0, -15]], atol=1e-12
    )


def test_radians_are_read_as_such() -> None:
    skeleton = read_asf(ARM)
    degrees = read_amc(amc("root 0 0 0 0 0 0\nupper 30 0 0\nlower 60"), skeleton)
    radians = amc(f"root 0 0 0 0 0 0\nupper {np.pi / 6} 0 0\nlower {np.pi / 3}", header=":FULLY-SPECIFIED\n:RADIANS\n")
    for bone, values in read_amc(radians, skeleton).channels.items():
        np.testing.assert_allclose(values, degrees.channels[bone])


def by_hand(values: dict[str, np.ndarray], frame: int) -> dict[str, np.ndarray]:
    """Metres: where every bone of the synthetic person ends, recursively, bone by bone."""
    metres = 0.0254 / 0.45
    turned: dict[str, Rotation] = {"root": Rotation.from_euler("xyz", values["root"][frame, 3:], degrees=True)}
    placed = {"root": values["root"][frame, :3] * metres}

    def place(name: str) -> None:
        bone = BONES[name]
        if bone.parent not in placed:
            place(bone.parent)
        axes = Rotation.from_euler("xyz", bone.axis, degrees=True)
        own = Rotation.identity()
        for dof, angle in zip(bone.dofs.split(), values[name][frame] if name in values else [], strict=True):
            own = Rotation.from_euler(dof[1], angle, degrees=True) * own
        turned[name] = turned[bone.parent] * axes * own * axes.inv()
        direction = np.array(bone.direction) / np.linalg.norm(bone.direction)
        placed[name] = placed[bone.parent] + turned[name].apply(direction * bone.length * metres)

    for name in BONES:
        if name not in placed:
            place(name)
    return placed


def test_positions_equal_those_that_scipy_gives_bone_by_bone() -> None:
    skeleton, values = read_asf(skeleton_file()), swaying(3, 9)
    positions = joint_positions(skeleton, read_amc(motion_file(values), skeleton))
    assert positions.shape == (9, 31, 3)
    for frame in (0, 4, 8):
        expected = by_hand(values, frame)
        for nth, bone in enumerate(skeleton.bones):
            np.testing.assert_allclose(positions[frame, nth], expected[bone], atol=2e-4, err_msg=bone)


def test_bones_keep_their_lengths() -> None:
    skeleton = read_asf(skeleton_file())
    positions = joint_positions(skeleton, read_amc(motion_file(swaying(0, 20)), skeleton))
    order = list(skeleton.bones)
    for bone, made in BONES.items():
        lengths = np.linalg.norm(positions[:, order.index(bone)] - positions[:, order.index(made.parent)], axis=1)
        np.testing.assert_allclose(lengths, made.length * 0.0254 / 0.45, rtol=1e-4)


@pytest.mark.parametrize("every", [1, 2, 4, 50])
def test_every_nth_frame_is_kept_from_the_first(every: int) -> None:
    skeleton = read_asf(skeleton_file())
    motion = read_amc(motion_file(swaying(0, 21)), skeleton)
    whole = joint_positions(skeleton, motion)
    np.testing.assert_array_equal(joint_positions(skeleton, motion, every), whole[::every])


FRAME = "root 0 0 0 0 0 0\nupper 0 0 0\nlower 0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no frames"),
        (b":DEGREES\n", "has no frames"),
        (b"\n" * 5000, "has no frames"),
        (amc("root 0 0 0 0 0 0\nupper 0 0 0"), "has its end where .* lacks 'lower'"),
        (amc(FRAME.replace("lower", "hand")), "has 'hand' where its first frame should name a bone; lacks 'lower'"),
        (amc(FRAME + "\nlower 0"), "names bone 'lower' twice"),
        (amc(FRAME, FRAME.replace("\nlower 0", "")), "is cut short or damaged: its last 12 words"),
        (amc(FRAME, FRAME.replace("upper 0", "uppper 0")), "does not name bone 'upper' in the same place"),
        (amc(FRAME, FRAME).replace(b"\n2\n", b"\n3\n"), "has '3' where frame 2 begins"),
        (amc(FRAME).replace(b"1\n", b"one\n", 1), "first frame without number"),
        (amc(FRAME.replace("lower 0", "lower 0,5")), "an angle of bone 'lower' that is no number"),
        (amc(FRAME).decode().encode("utf-16"), "first frame"),
        (b"1 " + b"9" * 5000 + b" " * 100, "lacks 'root'"),
        (b"9" * 5000 + amc(FRAME, header=""), "first frame without number"),
    ],
)
def test_a_damaged_motion_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        read_amc(content, read_asf(ARM))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (ARM, b"", "is no ASF skeleton: has no section :root"),
        (b":bonedata", b":bones", "has no section :bonedata"),
        (b"length 0.5", b"length 0", "length of :units of 0"),
        (b"length 0.5", b"length nan", "length of :units 'nan'"),
        (b"angle deg", b"angle grad", "angles in 'grad'"),
        (b"order TX", b"order QX", "order of :root 'QX TY"),
        (b"direction 1 0 0", b"direction 0 0 0", "'upper' of length 10 along a direction of length 0"),
        (b"direction 1 0 0", b"direction 1 0", "direction of upper '1 0'; expected 3 plain numbers"),
        (b"length 10", b"length 1e99", "length of upper"),
        (b"axis 0 0 90 XYZ", b"axis 0 0 90 XYX", "axis of lower"),
        (b"dof rx ry rz", b"dof rx rx", "dof of upper 'rx rx'"),
        (b"dof rx ry rz", b"dof tx", "dof of upper 'tx'"),
        (b"name lower", b"name upper", "two bones called 'upper'"),
        (b"upper lower\n", b"upper hand\n", "unknown bone 'hand'"),
        (b"upper lower\n", b"", "'lower' that hangs on no other"),
        (b"root upper\n", b"lower upper\n", "hangs on no other"),
        (b"upper lower\n", b"upper lower lower\n", "'lower' with two parents"),
        (b"  end\n:hierarchy", b":hierarchy", "is cut short: a begin has no end"),
        (b":hierarchy\n  begin", b":hierarchy\n", "stands outside begin and end"),
    ],
)
def test_a_damaged_skeleton_is_refused_with_its_reason(old: bytes, new: bytes, reason: str) -> None:
    assert old in ARM
    with pytest.raises(BadFile, match=reason):
        read_asf(ARM.replace(old, new, 1))


def test_a_file_of_absurd_size_is_not_parsed() -> None:
    with pytest.raises(BadFile, match="larger than 1 MB"):
        read_asf(b" " * (1 << 20) + b":")
    with pytest.raises(BadFile, match="larger than 32 MB"):
        read_amc(b" " * ((32 << 20) + 1), read_asf(ARM))


SKELETON, MOTION = skeleton_file(), motion_file(swaying(0, 3))
WORDS = [
    b"",
    b"nan",
    b"1e999",
    b"-",
    b"begin",
    b"end",
    b":root",
    b"root",
    b"\x00",
    b"\xff",
    b"9" * 400,
    b"lfemur",
    b"\n",
]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some words replaced or bytes cut out."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.one_of(st.integers(start, min(start + 20, len(content))), st.just(len(content))))
        content = content[:start] + draw(st.sampled_from(WORDS) | st.binary(max_size=8)) + content[stop:]
    return content


@settings(max_examples=250)
@given(damaged(SKELETON), damaged(MOTION))
def test_nothing_but_a_bad_file_comes_of_damage(skeleton_bytes: bytes, motion_bytes: bytes) -> None:
    for of_skeleton, of_motion in ((skeleton_bytes, MOTION), (motion_bytes, MOTION), (SKELETON, motion_bytes)):
        reason = ""
        try:
            skeleton = read_asf(of_skeleton)
            motion = read_amc(of_motion, skeleton)
            assert joint_positions(skeleton, motion).shape == (motion.n_frames, len(skeleton.bones), 3)
        except BadFile as error:
            reason = str(error)
        assert reason.isprintable()
