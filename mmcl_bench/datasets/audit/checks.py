"""What is looked for, and what each of it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mmcl_bench.skeleton.layouts import LONGEST_BONE

SHORT = 8
"""Frames; fewer are near to nothing."""
MOSTLY = 0.5
"""Part of a clip's frames."""
STILL = 15
"""Frames; in a clip as long as that no joint of a living body stays exactly where it is."""
FASTEST = 20.0
"""Metres a second; the fastest serves and throws move a hand at about this speed."""
SLOWEST_RATE = 15.0
"""Frames a second that are assumed where a set names none: at more, a joint moves less from frame to frame."""
FARTHEST_STEP = 0.5
"""Image heights from one frame to the next, for key points of images."""
BONE_CHANGE = 0.5
"""Metres; no bone is as long, so none can change by as much."""
FAR = 8.0
"""Metres; depth sensors see no person beyond."""
UPSIDE_DOWN = -0.3
"""Metres of the head over the legs; someone who lies is at about 0."""
LONG = 5.0
"""Times the median of a clip's class."""
RARE = 0.5
"""Times the median number of clips of a class."""
SHARED = 0.5
"""Part of a clip's poses that another clip has too."""


class Severity(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    """Figures measured on the set as it is are wrong or misleading."""
    WARNING = "warning"
    """Some clips are not what they should be."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Check:
    """One thing that is looked for."""

    severity: Severity
    title: str
    """What was found, as a heading over a number."""
    meaning: str
    advice: str


@dataclass(frozen=True)
class Example:
    """One clip, class, subject or file that a finding is about."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    kind: str
    """Its key in :data:`CHECKS`."""
    check: Check
    count: int
    of: int | None
    """How many were looked at; None where that says nothing."""
    what: str
    """What is counted, such as clips."""
    examples: tuple[Example, ...]
    """All of them, the worst first."""
    side: str | None = None

    @property
    def title(self) -> str:
        return f"{self.check.title} ({self.side})" if self.side else self.check.title

    @property
    def figure(self) -> str:
        of = "" if self.of is None else f" of {self.of:,}"
        return f"{self.count:,}{of} {self.what}"


def found(
    kind: str, of: int | None, what: str, examples: Iterable[Example], side: str | None = None, count: int | None = None
) -> list[Finding]:
    """The finding with these examples; none where there are none. ``count`` is by default the number of examples."""
    every = tuple(examples)
    if not every:
        return []
    return [Finding(kind, CHECKS[kind], len(every) if count is None else count, of, what, every, side)]


CHECKS: Mapping[str, Check] = {
    "incomplete": Check(
        Severity.ERROR,
        "Not all of the published set",
        "Clips that a whole copy has are not there, so figures do not compare with those of a whole copy.",
        "Get the missing files and prepare the set again; tables keep its rows apart until then.",
    ),
    "duplicates-across": Check(
        Severity.ERROR,
        "Test clips that equal a training clip",
        "They are equal in every number, so a method may know them by heart: accuracy on this side is too high.",
        "Report figures with and without them: mmcl-bench run has --duplicates removed.",
    ),
    "duplicate-labels": Check(
        Severity.ERROR,
        "Equal clips under different classes",
        "The same motion has two labels, so at least one of them is wrong and no method can get both right.",
        "Look at them with mmcl-bench data show, and leave out what is labelled wrongly.",
    ),
    "both-sides": Check(
        Severity.ERROR,
        "Clips on both the training and the test side",
        "The two lists of numbers that part the set overlap.",
        "Mend the side in the reader or the manifest.",
    ),
    "mostly-empty": Check(
        Severity.ERROR,
        "Clips in which nobody is seen for most of the time",
        "More than half of their frames are empty or all zeros.",
        "Leave them out, or cut out the empty frames; most published lists do one of the two.",
    ),
    "long-bones": Check(
        Severity.ERROR,
        f"Clips with a bone longer than {LONGEST_BONE:g} m",
        "No human bone is that long: positions are in another unit, or joints are in another order than the layout's.",
        "Mend the reader's unit or its order of joints.",
    ),
    "duplicates-within": Check(
        Severity.WARNING,
        "Clips that equal another one of the same side",
        "They are equal in every number but have names of their own; they count twice in training or in accuracy.",
        "Harmless if few. Say so when you report figures.",
    ),
    "shared-poses": Check(
        Severity.WARNING,
        "Clips that share most poses with another clip, and are not equal",
        f"{SHARED:.0%} or more of the poses of the shorter are found in the other, to the last bit: both are cut from "
        "the same recording, and overlap.",
        "Where they lie on both sides of a test, treat them as duplicates; where their classes differ, one is wrong.",
    ),
    "left-out": Check(
        Severity.WARNING,
        "Clips or files that were left out when the set was prepared",
        "They could not be used; the reason stands beside each.",
        "Say how many when you report figures: other papers may have used them, or have left out more.",
    ),
    "untrained-classes": Check(
        Severity.WARNING,
        "Classes that are tested and never trained",
        "Supervised methods cannot know them.",
        "Prepare the whole set, or choose another side.",
    ),
    "absent-classes": Check(
        Severity.WARNING,
        "Classes without a single clip",
        "The set's list of classes names them, but no clip has that label.",
        "Prepare the whole set; if it is a part on purpose, compare no figures with those of the whole.",
    ),
    "subjects-across": Check(
        Severity.WARNING,
        "Subjects on both the training and the test side",
        "The same people are learned from and tested on, which is easier than people never seen.",
        "Do not compare with cross-subject figures.",
    ),
    "one-frame": Check(
        Severity.WARNING,
        "Clips of one frame",
        "A single pose shows no motion; streams of motion are zero.",
        "Leave them out if your method cannot take them; the usual lists keep them.",
    ),
    "short": Check(
        Severity.WARNING,
        f"Clips of 2 to {SHORT - 1} frames",
        "So few frames are hardly an action; resampled to a fixed length they are repeated or stretched.",
        "Look at them with mmcl-bench data show.",
    ),
    "long": Check(
        Severity.WARNING,
        f"Clips more than {LONG:g} times as long as is usual in their class",
        "Either the person went on much longer than the others, or the recording was not cut.",
        "Look at them with mmcl-bench data show.",
    ),
    "empty-frames": Check(
        Severity.WARNING,
        "Clips with frames in which nobody is seen",
        "In these frames the tracking was lost, and all joints are zero.",
        "Nothing, as long as your transforms treat all-zero frames as missing, as those of this package do.",
    ),
    "stuck": Check(
        Severity.WARNING,
        "Clips that stand still for most of the time",
        "More than half of their frames equal the frame before in every number: tracking hung, or a pose was repeated "
        "to fill up the clip.",
        "Cut the repeated frames out if they are padding.",
    ),
    "frozen-joints": Check(
        Severity.WARNING,
        "Clips with a joint that never moves",
        f"It is seen, and in {STILL} frames or more it never moves by the last bit: it was not tracked but filled in.",
        "Do not rely on that joint.",
    ),
    "jumps": Check(
        Severity.WARNING,
        "Clips in which a joint jumps",
        f"It moves faster than {FASTEST:g} m/s from one frame to the next (in images: more than "
        f"{FARTHEST_STEP:g} of the height): tracking lost it, or took another person for this one. Where the set names "
        f"no frame rate, {SLOWEST_RATE:g} frames a second are assumed.",
        "Common with depth sensors. Smooth the tracks, or expect noise in streams of motion.",
    ),
    "bone-changes": Check(
        Severity.WARNING,
        f"Clips in which a bone changes its length by more than {BONE_CHANGE:g} m",
        "Bones do not stretch: one of the two joints was somewhere else.",
        "Smooth the tracks, or expect noise in streams of bones.",
    ),
    "upside-down": Check(
        Severity.WARNING,
        "Clips in which the head is below the legs",
        "For half of the frames or more. If these are nearly all clips, the y axis points down.",
        "Turn the axis in the reader; single clips may be what the action is.",
    ),
    "twins": Check(
        Severity.WARNING,
        "Clips with the same body twice",
        "Two of their body tracks are equal in every number.",
        "Leave the second out, or methods take one person for an interaction.",
    ),
    "far": Check(
        Severity.NOTE,
        f"Clips farther than {FAR:g} m from the origin",
        "No depth sensor sees that far; a capture volume may reach so far if the origin is not in its middle.",
        "Check the reader's unit.",
    ),
    "unseen-joints": Check(
        Severity.NOTE,
        "Clips with a joint that is never seen",
        "It is NaN or zero all the time while others are seen.",
        "Nothing, if the joint was out of the picture: methods get the place of the nearest joint that was seen.",
    ),
    "repeated-frames": Check(
        Severity.NOTE,
        "Clips with frames that equal the frame before",
        "Sensor and recording ran at different rates, or a frame was written twice.",
        "Nothing, if few. Motion is zero in these frames and too large in the next.",
    ),
    "brief-bodies": Check(
        Severity.NOTE,
        f"Clips with a body that is there for fewer than {SHORT} frames",
        "Others in the clip are there for longer. Sensors take furniture for people for a moment.",
        "Leave such bodies out with the reader's settings, if it has any.",
    ),
    "neither-side": Check(
        Severity.NOTE,
        "Clips on neither side",
        "Their number is in neither list of this side.",
        "Nothing, if the protocol leaves them out.",
    ),
    "subjects-across-by-design": Check(
        Severity.NOTE,
        "Subjects on both sides, as the protocol has it",
        "The side parts views or setups, not people: the same people are learned from and tested on.",
        "Do not compare with cross-subject figures.",
    ),
    "untested-classes": Check(
        Severity.NOTE,
        "Classes that are trained and never tested",
        "No test clip has that label.",
        "Accuracy by class cannot be given for them.",
    ),
    "rare-classes": Check(
        Severity.NOTE,
        "Classes with far fewer clips than others",
        f"Fewer than {RARE:.0%} of the median class.",
        "Give macro accuracy beside top-1.",
    ),
    "gaps": Check(
        Severity.NOTE,
        "Subjects who did not do every action as often as the others",
        "Nearly all have the same number of clips of every class; these have another, so clips may be missing.",
        "Compare with the number of clips that the owner states.",
    ),
    "known-faults": Check(
        Severity.NOTE,
        "Faults of the published files that the reader knows",
        "The reader works around them as it says.",
        "Nothing.",
    ),
    "frame-rate": Check(
        Severity.NOTE,
        "No frame rate",
        "The published files name none, or it varies from frame to frame, so time is known in frames only.",
        "Do not compare speeds with those of other sets.",
    ),
}
