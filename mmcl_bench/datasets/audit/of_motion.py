"""What the poses of a prepared set give away: lost tracking, jumps, bones that stretch, clips that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mmcl_bench.datasets.audit import checks
from mmcl_bench.datasets.audit.checks import Example, Finding, found
from mmcl_bench.datasets.store import DatasetCard
from mmcl_bench.skeleton.layouts import LONGEST_BONE, Layout


@dataclass(frozen=True)
class _Symptom:
    """A kind of finding: the clips that have it, what they are ordered by, and what is said of one."""

    kind: str
    clips: pd.Series
    worst: str
    detail: Callable[[Any], str]
    falling: bool = True


def motion_findings(clips: pd.DataFrame, card: DatasetCard, layout: Layout) -> Iterator[Finding]:
    """``clips`` has a row a clip: sample_id, n_frames and the fields of :class:`.clip_facts.ClipFacts`."""
    symptoms = [*_of_tracking(clips, layout), *_of_jumps(clips, card, layout)]
    if card.unit == "metres":
        symptoms += _of_build(clips, layout)
    for symptom in symptoms:
        worst_first = clips[symptom.clips].sort_values(symptom.worst, ascending=not symptom.falling, kind="stable")
        examples = [Example(clip.sample_id, symptom.detail(clip)) for clip in worst_first.itertuples()]
        yield from found(symptom.kind, len(clips), "clips", examples)


def shared_poses(
    codes: Sequence[np.ndarray],
    clips: pd.DataFrame,
    classes: Sequence[str],
    partings: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> list[Finding]:
    """Clips that have most of their poses in common with an earlier one, and are not equal to it.

    ``codes`` are the :func:`.clip_facts.frame_codes` of each clip; ``clips`` has their sample_id, label
    and content; ``partings`` the masks of training and test clips by side.
    """
    lengths = np.array([len(own) for own in codes])
    first, second, common = _common_poses(codes)
    shorter = np.minimum(lengths[first], lengths[second])
    content, names, labels = (clips[column].to_numpy() for column in ("content", "sample_id", "label"))
    kept = (common >= checks.SHARED * shorter) & (shorter >= checks.SHORT) & (content[first] != content[second])
    order = np.flatnonzero(kept)[np.argsort(-common[kept] / shorter[kept], kind="stable")]
    examples = []
    for pair in order:
        a, b = int(first[pair]), int(second[pair])
        sides = [side for side, (train, test) in partings.items() if (train[a] and test[b]) or (train[b] and test[a])]
        detail = f"shares {common[pair]} of {shorter[pair]} poses with {names[a]}"
        if sides:
            detail += f"; across {', '.join(sides)}"
        if labels[a] != labels[b]:
            detail += f"; {classes[labels[b]]} and {classes[labels[a]]}"
        examples.append(Example(names[b], detail))
    return found("shared-poses", len(clips), "clips", examples, count=len(np.unique(second[order])))


def _common_poses(codes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P,) each: a clip, a later clip, and the poses that they have in common with no clip before the first."""
    every = np.concatenate(codes)
    owners = np.repeat(np.arange(len(codes)), [len(own) for own in codes])
    order = np.argsort(every, kind="stable")
    every, owners = every[order], owners[order]
    starts = np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1]]))
    first = np.repeat(owners[starts], np.diff(np.append(starts, len(every))))
    again = first != owners
    pairs, common = np.unique(first[again] * len(codes) + owners[again], return_counts=True)
    return pairs // len(codes), pairs % len(codes), common


def _of_tracking(clips: pd.DataFrame, layout: Layout) -> list[_Symptom]:
    n_frames, empty, repeated = clips["n_frames"], clips["empty_frames"], clips["repeated_frames"]
    mostly_empty, stuck = empty > checks.MOSTLY * n_frames, repeated > checks.MOSTLY * n_frames

    def emptiness(clip: Any) -> str:
        return f"{clip.empty_frames} of {clip.n_frames} frames ({clip.empty_frames / clip.n_frames:.0%})"

    def repetition(clip: Any) -> str:
        return f"{clip.repeated_frames} of {clip.n_frames} frames"

    def joint(name: str) -> Callable[[Any], str]:
        def detail(clip: Any) -> str:
            first, count = layout.joints[getattr(clip, f"{name}_joint")], getattr(clip, f"{name}_joints")
            return f"{first} and {count - 1} more" if count > 1 else first

        return detail

    return [
        _Symptom("mostly-empty", mostly_empty, "empty_frames", emptiness),
        _Symptom("empty-frames", empty > 0, "empty_frames", emptiness),
        _Symptom("stuck", stuck, "repeated_frames", repetition),
        _Symptom("repeated-frames", (repeated > 0) & ~stuck, "repeated_frames", repetition),
        _Symptom(
            "frozen-joints", (clips["frozen_joints"] > 0) & (n_frames >= checks.STILL), "frozen_joints", joint("frozen")
        ),
        _Symptom("unseen-joints", clips["unseen_joints"] > 0, "unseen_joints", joint("unseen")),
        _Symptom("twins", clips["twins"], "n_frames", lambda clip: ""),
    ]


def _of_jumps(clips: pd.DataFrame, card: DatasetCard, layout: Layout) -> list[_Symptom]:
    in_metres = card.unit == "metres"
    limit = checks.FASTEST / (card.frame_rate or checks.SLOWEST_RATE) if in_metres else checks.FARTHEST_STEP

    def jump(clip: Any) -> str:
        far = f"{clip.step:.2f} m" if in_metres else f"{clip.step:.2f} of the height"
        return f"{layout.joints[clip.step_joint]} moves {far} from frame {clip.step_frame - 1} to {clip.step_frame}"

    return [_Symptom("jumps", clips["step"] > limit, "step", jump)]


def _of_build(clips: pd.DataFrame, layout: Layout) -> list[_Symptom]:
    def bone(clip: Any) -> str:
        outer, inner = layout.bones[clip.bone]
        off = f"is off its median of {clip.bone_length:.2f} m by {clip.bone_change:.2f} m"
        return f"{outer} to {inner} {off} in frame {clip.bone_frame}"

    return [
        _Symptom(
            "long-bones",
            clips["longest_bone"] > LONGEST_BONE,
            "longest_bone",
            lambda clip: f"{clip.longest_bone:.2f} m",
        ),
        _Symptom("bone-changes", clips["bone_change"] > checks.BONE_CHANGE, "bone_change", bone),
        _Symptom("far", clips["distance"] > checks.FAR, "distance", lambda clip: f"{clip.distance:.1f} m"),
        _Symptom(
            "upside-down",
            clips["uprightness"] < checks.UPSIDE_DOWN,
            "uprightness",
            lambda clip: f"head {-clip.uprightness:.2f} m below the legs",
            falling=False,
        ),
    ]
