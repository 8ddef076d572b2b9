"""UTKinect-Action3D: one file of joints a recording, cut into clips by a file of labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name
from mmcl_bench.datasets.formats.number_table import read_numbers
from mmcl_bench.datasets.readers import (
    OnBad,
    Reader,
    Unit,
    WholeCopy,
    matched,
    named_clips,
    odd_subjects_train,
    single_body,
    text_of,
)
from mmcl_bench.datasets.store import Clip, DatasetCard, Side

ACTIONS = ("walk", "sitDown", "standUp", "pickUp", "carry", "throw", "push", "pull", "waveHands", "clapHands")
"""Actions as the label file calls them; an action's position is its label."""
N_JOINTS = 20
LABELS = "actionLabel.txt"
_RECORDING = re.compile(r"joints_(?P<name>s(?P<subject>\d\d)_e\d\d)\.txt", re.ASCII)
_RANGE = re.compile(r"(?P<action>\w+):\s*(?P<first>\d{1,9}|NaN)\s+(?P<last>\d{1,9}|NaN)", re.ASCII)


class UTKinect(Reader):
    """Kinect v1 joints in the camera frame: metres, y up, z away from the camera."""

    name = "utkinect"
    title = "UTKinect-Action3D"
    layout = "kinect-v1"
    class_table = "utkinect"
    frame_rate = None
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": odd_subjects_train(
            10, "odd subjects train, even ones test, as in UTD-MHAD; the authors leave out one recording at a time"
        )
    }
    default_side = "x-sub"
    homepage = "https://cvrc.ece.utexas.edu/KinectDatasets/HOJ3D.html"
    citation = (
        "L. Xia, C.-C. Chen, J. K. Aggarwal: View Invariant Human Action Recognition Using Histograms of 3D Joints. "
        "CVPR Workshops 2012"
    )

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(199, sample_ids=named_clips(self.name))

    def card(self, archive: Archive) -> DatasetCard:
        noted = {
            f"{LABELS}: {name} {action}": "has no range of frames; left out"
            for name, ranges in sorted(_ranges(archive).items())
            for action, found in ranges.items()
            if found is None
        }
        noted["joints"] = "numbers go by two and by gaps of up to hundreds, so time between frames varies; not kept"
        for unit in _recordings(archive):
            if repeated := _repeated_numbers(archive, unit.file):
                noted[unit.file] = f"gives {repeated} frame numbers twice, with other positions; both frames are kept"
        return super().card(archive).model_copy(update={"noted": noted})

    def units(self, archive: Archive) -> list[Unit]:
        """One a recording, with the ranges of its clips."""
        if found := _recordings(archive):
            return found
        raise self.lacking(archive, "none of its joints_sNN_eNN.txt")

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        match = matched(_RECORDING, base_name(unit.file))
        rows = _rows(archive, unit.file)
        for action, first, last in unit.detail:
            sample_id = f"{match['name']}_{action}"
            # The published recordings all go on after their last action.
            if not (rows[:, 0] >= last).any():
                on_bad(sample_id, f"ends at frame {last}, before which {unit.file} is cut short")
                continue
            clip_rows = rows[(rows[:, 0] >= first) & (rows[:, 0] <= last)]
            yield Clip(
                sample_id=sample_id,
                label=ACTIONS.index(action),
                subject=int(match["subject"]),
                n_frames=len(clip_rows),
                bodies=single_body(clip_rows[:, 1:].reshape(-1, N_JOINTS, 3)),
            )


def _recordings(archive: Archive) -> list[Unit]:
    """A unit for every recording, with (action, first frame, last frame) of its clips; its file may be missing."""
    files: dict[str, str] = {}
    for file in archive.names():
        match = _RECORDING.fullmatch(base_name(file))
        if match and (first := files.setdefault(match["name"], file)) != file:
            raise UserError(f"{archive.source}: {first} and {file} are one recording; remove one")
    if not files:
        return []
    ranges = _ranges(archive)
    if missing := sorted(set(files) - set(ranges)):
        raise UserError(f"{archive.source}: {LABELS} says nothing of {missing[0]}; download it again")
    return [
        Unit(
            files.get(name, f"joints_{name}.txt"),
            tuple((action, *found) for action, found in ranges[name].items() if found is not None),
        )
        for name in sorted(ranges)
    ]


def _ranges(archive: Archive) -> dict[str, dict[str, tuple[int, int] | None]]:
    """First and last frame of every action by recording; None where the published file has NaN.

    Raises :class:`UserError` for something else.
    """
    files = [file for file in archive.names() if base_name(file) == LABELS]
    if len(files) != 1:
        raise UserError(f"{archive.source}: holds {some_of(files) or f'no {LABELS}'}; one is expected")
    text = text_of(archive, files[0])
    ranges: dict[str, dict[str, tuple[int, int] | None]] = {}
    current: dict[str, tuple[int, int] | None] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if re.fullmatch(r"s\d\d_e\d\d", words) and words not in ranges:
            current = ranges[words] = {}
        elif (match := _RANGE.fullmatch(words)) and current is not None and match["action"] in {*ACTIONS} - {*current}:
            known = "NaN" not in (match["first"], match["last"])
            current[match["action"]] = (int(match["first"]), int(match["last"])) if known else None
        elif words:
            raise UserError(
                f"{archive.source}: {files[0]}, line {number}: neither a new recording nor a new action and its frames"
            )
    return ranges


def _repeated_numbers(archive: Archive, file: str) -> int:
    """Frames whose number was there before; 0 in a file that cannot be used, which is refused when it is read."""
    try:
        numbers = _rows(archive, file)[:, 0]
    except BadFile:
        return 0
    return len(numbers) - len(np.unique(numbers))


def _rows(archive: Archive, file: str) -> np.ndarray:
    """(T, 61): frame number and positions. Raises :class:`BadFile`."""
    if file not in archive.names():
        raise BadFile(f"is not there, though {LABELS} names it")
    return read_numbers(archive.read(file), 1 + 3 * N_JOINTS)
