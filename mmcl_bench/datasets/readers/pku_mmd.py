"""PKU-MMD, both phases: long videos of Kinect v2 joints, cut into clips at the labelled intervals.

Form of the files: the README beside the data of its owners. A line of a skeleton file is a frame: 2 bodies of 25 joints
of x, y and z, zeros for a body that is not there. A line of a label file is an interval: action, first frame, last
frame, confidence; frames count from 1 and the last one belongs to it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name, text_bytes
from mmcl_bench.datasets.readers import (
    BadClip,
    OnBad,
    Reader,
    Settings,
    Unit,
    WholeCopy,
    camera_1_tests,
    folds_of_the_files,
    listed_samples,
    matched,
    text_of,
)
from mmcl_bench.datasets.store import Clip, DatasetCard, Side
from mmcl_bench.skeleton.dense import tracks_of

N_BODIES, N_JOINTS, N_CLASSES = 2, 25, 51
N_NUMBERS = N_BODIES * N_JOINTS * 3
VIEWS = ("L", "M", "R")
"""Cameras 1 to 3: left, middle, right."""
TRAIN, TEST = 1, 2
_INTERVAL = re.compile(rb"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*(?:,[^,]*)?")
_MOST_LABELS_A_FRAME = 8
"""Intervals overlap where actions do; more labels on every frame than this are no annotation."""
_LIST = re.compile(r"\s*training videos\s*:(?P<train>.*)\svalid\w* videos\s*:(?P<test>.*)", re.IGNORECASE | re.DOTALL)
"""The owners spell the second heading ``Validataion videos``."""
_BETWEEN = re.compile(r"[\s,]+")


class PkuMmdSettings(Settings):
    missing: Literal["leave-out", "keep"] = "leave-out"
    """What becomes of the intervals that are known to have no skeleton; one that is kept is refused."""


class _PkuMmd(Reader):
    """Kinect v2 joints in the camera frame: metres, y up."""

    layout = "kinect-v2"
    class_table = "pku-mmd"
    frame_rate = 30.0
    default_side = "x-sub"
    homepage = "https://www.icst.pku.edu.cn/struct/Projects/PKUMMD.html"
    citation = (
        "C. Liu, Y. Hu, Y. Li, S. Song, J. Liu: PKU-MMD: A Large Scale Benchmark for Continuous Multi-Modal Human "
        "Action Understanding. ACM MM workshops 2017 (arXiv 1703.07475)"
    )
    settings_model = PkuMmdSettings
    settings: PkuMmdSettings
    video: ClassVar[re.Pattern[str]]
    """Matches the name of a video, the same for its skeleton and its label file; groups view, subject, setup."""
    example: ClassVar[str]
    subject_list: ClassVar[re.Pattern[str]]
    view_list: ClassVar[re.Pattern[str]]
    split_files: ClassVar[str]
    n_videos: ClassVar[int]
    videos: ClassVar[Mapping[str, tuple[int, int]]]
    """For training and for testing, by side."""

    def whole_copy(self) -> WholeCopy:
        """In videos: papers count clips in slightly different ways."""
        return WholeCopy(self.n_videos, counted="videos", sides=self.videos)

    def card(self, archive: Archive) -> DatasetCard:
        """Notes listed videos that are not there, and a list of views that is not as the side x-view has it."""
        card = super().card(archive)
        noted = {}
        if list_file := self._find(archive, self.subject_list):
            there = {base_name(file).removesuffix(".txt") for file in archive.names()}
            if absent := sorted(self._folds(archive, list_file).keys() - there):
                noted[list_file] = f"lists videos that are not there: {some_of(absent)}"
        file = self._find(archive, self.view_list)
        tested = {name[-1] for name, fold in self._folds(archive, file).items() if fold == TEST} if file else set()
        expected = {VIEWS[camera - 1] for camera in self.sides["x-view"].test}
        if file is not None and tested != expected:
            cameras = ", ".join(sorted(tested)) or "none"
            noted[file] = f"tests cameras {cameras}; x-view tests {', '.join(expected)}"
        return card.model_copy(update={"noted": noted})

    def units(self, archive: Archive) -> list[Unit]:
        skeletons: dict[str, str] = {}
        labels: dict[str, str] = {}
        for file in archive.names():
            name = base_name(file).removesuffix(".txt")
            if file.endswith(".txt") and self.video.fullmatch(name):
                known = labels if _is_label(file) else skeletons
                if name in known:
                    raise UserError(f"{archive.source}: holds {known[name]} and {file}; keep one of them")
                known[name] = file
        if not skeletons:
            raise self.lacking(archive, f"no skeletons like {self.example}")
        list_file = self._find(archive, self.subject_list)
        if list_file is None:
            raise UserError(
                f"{archive.source}: holds no {self.split_files}, which says which videos train; put it in there too"
            )
        folds = self._folds(archive, list_file)
        return [
            Unit(
                skeletons.get(name, labels.get(name, "")),
                (name, name in skeletons, labels.get(name), folds.get(name, 0)),
            )
            for name in sorted({*skeletons, *labels})
        ]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        video, has_skeleton, label_file, fold = unit.detail
        if not has_skeleton:
            raise BadFile("labels a video whose skeleton file is not there")
        if label_file is None:
            raise BadFile("has no label file of its name in a folder called after labels")
        numbers = matched(self.video, video).groupdict()
        bodies = read_frames(archive.read(unit.file))
        left_out = listed_samples(self.name) if self.settings.missing == "leave-out" else frozenset()
        lines = _lines(text_bytes(archive.read(label_file)))
        if not lines:
            raise BadFile(f"has an empty label file, {label_file}")
        labelled = 0
        for number, line in enumerate(lines, start=1):
            sample_id = f"{video}_{number:03d}"
            if sample_id in left_out:
                continue
            try:
                label, first, last = _interval(line, bodies.shape[1])
            except BadClip as error:
                on_bad(sample_id, str(error))
                continue
            labelled += last - first
            if labelled > _MOST_LABELS_A_FRAME * bodies.shape[1]:
                raise BadFile(f"has labels for {labelled} frames and more; it has {bodies.shape[1]}")
            yield Clip(
                sample_id=sample_id,
                label=label,
                subject=int(numbers.get("subject") or 0),
                camera=VIEWS.index(numbers["view"]) + 1,
                setup=int(numbers["setup"]),
                fold=fold,
                n_frames=last - first,
                bodies=tracks_of(bodies[:, first:last]),
            )

    def _find(self, archive: Archive, pattern: re.Pattern[str]) -> str | None:
        """The first file whose name matches."""
        return next((file for file in archive.names() if pattern.fullmatch(base_name(file))), None)

    def _folds(self, archive: Archive, file: str) -> dict[str, int]:
        """By name of a video, whether a published list trains or tests it. Raises :class:`UserError` for no list."""
        parted = _LIST.fullmatch(text_of(archive, file))
        folds = [self._videos(parted[group]) if parted else set() for group in ("train", "test")]
        if not all(folds):
            raise UserError(f"{archive.source}: {file} lists no training and validation videos; download it again")
        train, test = folds
        if both := sorted(train & test):
            raise UserError(f"{archive.source}: {file} lists {both[0]} for training and validation; download it again")
        return dict.fromkeys(train, TRAIN) | dict.fromkeys(test, TEST)

    def _videos(self, listed: str) -> set[str]:
        return {word for word in _BETWEEN.split(listed) if self.video.fullmatch(word)}


class PkuMmd(_PkuMmd):
    """Phase I. ``setup`` is the number of the video; subjects are not published.

    Three cameras record each performance, and their videos have one number.
    """

    recording = "setup"
    name = "pku-mmd"
    title = "PKU-MMD phase I"
    video = re.compile(r"(?P<setup>\d{4})-(?P<view>[LMR])", re.ASCII)
    example = "0002-L.txt"
    subject_list = re.compile(r"cross[-_]subject\.txt", re.IGNORECASE)
    view_list = re.compile(r"cross[-_]view\.txt", re.IGNORECASE)
    split_files = "cross-subject.txt"
    n_videos = 1076
    videos: ClassVar[Mapping[str, tuple[int, int]]] = {"x-sub": (944, 132), "x-view": (717, 359)}
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": folds_of_the_files("cross-subject.txt of the owners: 57 of 66 subjects train (arXiv 1703.07475)"),
        "x-view": camera_1_tests("arXiv 1703.07475: the middle and the right camera train, the left one tests"),
    }


class PkuMmd2(_PkuMmd):
    """Phase II. ``setup`` is the number of the script that was acted."""

    name = "pku-mmd-2"
    title = "PKU-MMD phase II"
    video = re.compile(r"A(?P<setup>\d{2})N(?P<subject>\d{2})-(?P<view>[LMR])", re.ASCII)
    example = "A01N01-L.txt"
    subject_list = re.compile(r"cross[-_]subject[-_]v2\.txt", re.IGNORECASE)
    view_list = re.compile(r"cross[-_]view[-_]v2\.txt", re.IGNORECASE)
    split_files = "cross_subject_v2.txt"
    n_videos = 1009
    videos: ClassVar[Mapping[str, tuple[int, int]]] = {"x-view": (671, 338)}
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": folds_of_the_files("cross_subject_v2.txt of the owners, by video"),
        "x-view": camera_1_tests(
            "as in phase I (arXiv 1703.07475): the middle and the right camera train, the left one tests"
        ),
    }


def read_frames(content: bytes) -> np.ndarray:
    """float64 (2, T, 25, 3): the bodies in the text of a skeleton file; raises :class:`BadFile`."""
    content = text_bytes(content)
    if not content.strip():
        raise BadFile("is empty")
    try:
        numbers = np.loadtxt(io.BytesIO(content), ndmin=2, comments=None, encoding="ascii")
    except ValueError as error:
        raise BadFile(_fault_in(content)) from error
    if numbers.shape[1] != N_NUMBERS:
        raise BadFile(_fault_in(content))
    return numbers.reshape(-1, N_BODIES, N_JOINTS, 3).transpose(1, 0, 2, 3)


def _fault_in(content: bytes) -> str:
    """Why the text of a skeleton file is none."""
    for number, line in enumerate(_lines(content), start=1):
        if (found := len(line.split())) != N_NUMBERS:
            return f"has {found} numbers in line {number}; expected {N_NUMBERS}"
    return "holds something that is no number"


def _lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines() if line.strip()]


def _interval(line: bytes, n_frames: int) -> tuple[int, int, int]:
    """Zero-based class, first frame, and the frame after the last; raises :class:`BadClip`."""
    match = _INTERVAL.fullmatch(line)
    if match is None:
        raise BadClip("has a label line that is not action,start,end,confidence")
    action, first, last = map(int, match.groups())
    if not 1 <= action <= N_CLASSES:
        raise BadClip(f"has action {action}; there are 1 to {N_CLASSES}")
    if not 1 <= first <= last <= n_frames:
        raise BadClip(f"goes from frame {first} to {last} of a video of {n_frames}")
    return action - 1, first - 1, last


def _is_label(file: str) -> bool:
    """Skeletons and labels have the same names; they lie in folders such as ``Train_Label_PKU_final``."""
    return any("label" in part.lower() for part in PurePosixPath(file).parts[:-1])
