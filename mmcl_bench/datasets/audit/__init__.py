"""Looking for faults in a prepared data set that are no reason to refuse it, and yet decide what it is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import pandas as pd

from mmcl_bench.datasets.audit.checks import CHECKS, Finding, Severity
from mmcl_bench.datasets.audit.clip_facts import Anatomy, ClipFacts, frame_codes, measure
from mmcl_bench.datasets.audit.of_index import index_findings
from mmcl_bench.datasets.audit.of_motion import motion_findings, shared_poses
from mmcl_bench.datasets.audit.sequential import read_through
from mmcl_bench.datasets.store import DatasetCard, SkeletonDataset
from mmcl_bench.skeleton.layouts import get_layout

__all__ = ["Audit", "ClassCount", "Finding", "Severity", "audit"]

Advance = Callable[[int, int], None]
"""Called with the clips that are looked at and all of them."""
_CLIPS_A_STEP = 64
_WEIGHT = list(Severity)


@dataclass(frozen=True)
class ClassCount:
    """Clips of one class."""

    label: int
    name: str
    clips: int
    sides: dict[str, tuple[int, int]]
    """Training clips and test clips by side."""


@dataclass(frozen=True)
class Audit:
    """What was found in a prepared data set."""

    card: DatasetCard
    n_frames: int
    """Of all clips together."""
    findings: tuple[Finding, ...]
    """The gravest first."""
    classes: tuple[ClassCount, ...]

    @property
    def tally(self) -> dict[Severity, int]:
        """Findings by severity."""
        counted = Counter(finding.check.severity for finding in self.findings)
        return {severity: counted[severity] for severity in Severity}

    @property
    def not_found(self) -> list[str]:
        """Titles of what was looked for and is not there."""
        kinds = {finding.kind for finding in self.findings}
        return [check.title for kind, check in CHECKS.items() if kind not in kinds]

    def as_json(self) -> dict[str, Any]:
        """Everything, in plain values."""
        return {
            "name": self.card.name,
            "title": self.card.title,
            "synthetic": self.card.synthetic,
            "fingerprint": self.card.fingerprint,
            "clips": self.card.n_clips,
            "frames": self.n_frames,
            "tally": {str(severity): count for severity, count in self.tally.items()},
            "findings": [_finding_as_json(finding) for finding in self.findings],
            "classes": [
                {
                    **asdict(count),
                    "sides": {side: dict(zip(("train", "test"), n, strict=True)) for side, n in count.sides.items()},
                }
                for count in self.classes
            ],
        }


def audit(dataset: SkeletonDataset, advance: Advance) -> Audit:
    """Looks for every fault of :data:`.checks.CHECKS`, reading the set once from front to back.

    One clip at a time is in memory, and 8 bytes for every pose of the set. Raises
    :class:`~mmcl_bench.core.errors.UserError` for a damaged set.
    """
    card, index, layout = dataset.card, dataset.index, get_layout(dataset.card.layout)
    anatomy, total = Anatomy(layout), len(index)
    facts, codes = [], []
    for clip in read_through(dataset):
        facts.append(measure(clip.n_frames, clip.bodies, anatomy))
        codes.append(frame_codes(clip.bodies))
        if (done := clip.row + 1) % _CLIPS_A_STEP == 0 or done == total:
            advance(done, total)
    measured = pd.DataFrame(facts, columns=list(ClipFacts._fields))
    clips = pd.concat([index[["sample_id", "label", "n_frames", "content"]], measured], axis=1)
    partings = {name: side.masks(index) for name, side in card.sides.items()}
    findings = chain(
        index_findings(dataset),
        motion_findings(clips, card, layout),
        shared_poses(codes, clips, card.classes, partings),
    )
    return Audit(
        card=card,
        n_frames=int(index["n_frames"].sum()),
        findings=tuple(sorted(findings, key=_order)),
        classes=_classes(dataset),
    )


def _order(finding: Finding) -> tuple[int, int]:
    return _WEIGHT.index(finding.check.severity), list(CHECKS).index(finding.kind)


def _classes(dataset: SkeletonDataset) -> tuple[ClassCount, ...]:
    card, index = dataset.card, dataset.index

    def counts(clips: pd.DataFrame) -> list[int]:
        of_label = clips["label"].value_counts().reindex(range(len(card.classes)), fill_value=0)
        return [int(count) for count in of_label]

    of_sides = {}
    for name, side in card.sides.items():
        train, test = side.masks(index)
        of_sides[name] = list(zip(counts(index[train]), counts(index[test]), strict=True))
    return tuple(
        ClassCount(label, card.classes[label], count, {side: both[label] for side, both in of_sides.items()})
        for label, count in enumerate(counts(index))
    )


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        **asdict(finding.check),
        **{name: getattr(finding, name) for name in ("side", "count", "of", "what")},
        "examples": [asdict(example) for example in finding.examples],
    }
