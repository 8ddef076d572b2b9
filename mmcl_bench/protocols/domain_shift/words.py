"""What stands out when two sets are compared, in sentences; each states what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from mmcl_bench.protocols.domain_shift.measures import DomainShift

LARGE_RATIO = 1.15
"""From which sizes, rates and bones are called different."""
LARGE_TURN = 20.0
"""Degrees."""
LARGE_SHARE = 0.1
"""Of frames, joints, or clips of a class."""
SHORT_BONE = 0.05
"""Share of the torso below which a bone is left out: joint maps put some joints in the place of others."""
APART = 0.2
"""Proxy A-distance from which a classifier tells the sets apart: 55 % of clips, where chance is 50 %."""


def stands_out(shift: DomainShift) -> Iterator[str]:
    """A sentence for each large difference, and one for the distance of features."""
    yield from _sizes(shift)
    yield from _orientation(shift)
    yield from _recording(shift)
    yield from _classes(shift)
    distance = shift.same_classes or shift.all_clips
    of = "clips of shared classes" if shift.same_classes else "clips"
    if distance.proxy_a < APART:
        yield f"After normalisation a linear classifier hardly tells the {of} of the two sets apart."
    else:
        right = 0.5 + distance.proxy_a / 4
        yield f"After normalisation a linear classifier tells {right:.0%} of the {of} apart by set; chance is 50%."


def _sizes(shift: DomainShift) -> Iterator[str]:
    (a, b), (first, second) = _names(shift), (shift.first, shift.second)
    if first.unit != second.unit:
        yield f"Sizes do not compare: {a} is in {_unit(first.unit)}, {b} in {_unit(second.unit)}."
    else:
        ratio = second.poses.torso.median / first.poses.torso.median
        if max(ratio, 1 / ratio) >= LARGE_RATIO:
            yield f"Torsos are {ratio:.2f} times as long in {b} as in {a}."
    ratios = {
        bone: length / first.poses.bones[bone]
        for bone, length in second.poses.bones.items()
        if min(length, first.poses.bones[bone]) >= SHORT_BONE
    }
    if ratios:
        bone, ratio = max(ratios.items(), key=lambda each: max(each[1], 1 / each[1]))
        if max(ratio, 1 / ratio) >= LARGE_RATIO:
            yield f"The bone that differs most, {bone}, is {ratio:.2f} times as long in {b}, as share of the torso."


def _orientation(shift: DomainShift) -> Iterator[str]:
    (a, b), (first, second) = _names(shift), (shift.first.poses, shift.second.poses)
    if first.up != second.up:
        yield f"Up is {first.up} in {a} and {second.up} in {b}."
    agreement = first.heading_agreement, second.heading_agreement
    if first.heading is None or second.heading is None or None in agreement:
        return
    turn = (second.heading - first.heading + 180) % 360 - 180
    if min(each or 0 for each in agreement) >= 0.5 and abs(turn) >= LARGE_TURN:
        yield f"People in {b} are turned by {abs(turn):.0f} degrees about the vertical from those in {a}."


def _recording(shift: DomainShift) -> Iterator[str]:
    (a, b), (first, second) = _names(shift), (shift.first, shift.second)
    if first.frame_rate and second.frame_rate:
        ratio = second.frame_rate / first.frame_rate
        if max(ratio, 1 / ratio) >= LARGE_RATIO:
            yield f"{a} has {first.frame_rate:g} frames a second, {b} has {second.frame_rate:g}."
    for share, what in (("empty_frames", "of the frames show nobody"), ("unseen_joints", "of the joints are not seen")):
        shares = [getattr(each.poses, share) for each in (first, second)]
        if abs(shares[0] - shares[1]) >= LARGE_SHARE:
            yield f"{shares[0]:.0%} {what} in {a}, {shares[1]:.0%} in {b}."


def _classes(shift: DomainShift) -> Iterator[str]:
    a, b = _names(shift)
    if shift.class_imbalance is None:
        yield f"{a} and {b} share no class."
        return
    totals = [sum(getattr(each, side) for each in shift.shared_classes) for side in ("first", "second")]
    shares = {each.name: (each.first / totals[0], each.second / totals[1]) for each in shift.shared_classes}
    name, (first, second) = max(shares.items(), key=lambda each: abs(each[1][0] - each[1][1]))
    if abs(first - second) >= LARGE_SHARE:
        yield f"Of the clips of shared classes, {first:.0%} are of {name} in {a} and {second:.0%} in {b}."


def _names(shift: DomainShift) -> tuple[str, str]:
    return shift.first.summary["name"], shift.second.summary["name"]


def _unit(unit: str) -> str:
    return "image heights" if unit == "image" else unit
