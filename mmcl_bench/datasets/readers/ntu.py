"""NTU RGB+D 60 and 120, in the ``.skeleton`` text files of their owners, loose or in the official zips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.denoise import Step, denoise
from mmcl_bench.datasets.formats.archive import Archive, BadFile, NoFiles, open_with_zips
from mmcl_bench.datasets.formats.ntu_skeleton import parse_skeleton
from mmcl_bench.datasets.readers import (
    FilePerClipReader,
    Settings,
    Unit,
    WholeCopy,
    camera_1_tests,
    listed_samples,
    nobody_in,
)
from mmcl_bench.datasets.store import Clip, Side

TRAIN_SUBJECTS_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
TRAIN_SUBJECTS_120 = (
    *TRAIN_SUBJECTS_60,
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89),
    *(91, 92, 93, 94, 95, 97, 98, 100, 103),
)
N_SETUPS_60, N_SETUPS_120 = 17, 32


class NtuSettings(Settings):
    denoise: tuple[Step, ...] = (Step.LENGTH, Step.SPREAD)
    """Steps of :mod:`mmcl_bench.datasets.denoise`, by names with commas between; ``none`` keeps every body. The default
    is what the preprocessing behind published figures takes."""
    missing: Literal["leave-out", "keep"] = "leave-out"
    """What becomes of the samples that the owners list as missing or incomplete."""

    @field_validator("denoise", mode="before")
    @classmethod
    def _named(cls, steps: object) -> object:
        if not isinstance(steps, str):
            return steps
        return () if steps.strip() == "none" else tuple(step.strip() for step in steps.split(","))

    @field_validator("denoise")
    @classmethod
    def _in_order(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(step for step in Step if step in steps)


class _Ntu(FilePerClipReader):
    """Kinect v2 joints in the camera frame: metres, y up, z away from the camera."""

    layout = "kinect-v2"
    frame_rate = 30.0
    default_side = "x-sub"
    collection = "NTU RGB+D"
    homepage = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
    files = "SsssCcccPpppRrrrAaaa.skeleton"
    file_name = re.compile(
        r"(?P<sample_id>S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<take>\d{3})A(?P<action>\d{3}))\.skeleton",
        re.ASCII,
    )
    settings_model = NtuSettings
    settings: NtuSettings
    n_setups: ClassVar[int]
    n_clips: ClassVar[Mapping[str, tuple[int, int]]]
    """Training and test clips by side, without the listed samples."""

    def open(self, source: Path | None) -> AbstractContextManager[Archive]:
        return NoFiles() if source is None else open_with_zips(source, "nturgbd_skeletons_*.zip")

    def whole_copy(self) -> WholeCopy | None:
        """None where listed samples are kept: how many of them can be read is not published."""
        left_out = self.settings.missing == "leave-out"
        return WholeCopy(sum(self.n_clips["x-sub"]), sides=self.n_clips) if left_out else None

    def missing_clips(self, found: Set[str]) -> Set[str]:
        """Of the performances that are there in part: each has three cameras and all actions of its setup."""
        names = [name for clip in found if (name := self.file_name.fullmatch(f"{clip}.skeleton"))]
        performances = {(int(name["setup"]), name["subject"], name["take"]) for name in names}
        expected = {
            f"S{setup:03d}C{camera:03d}P{subject}R{take}A{action:03d}"
            for setup, subject, take in performances
            for camera, action in product((1, 2, 3), range(1, 61) if setup <= N_SETUPS_60 else range(61, 121))
        }
        return expected - found - missing_samples()

    def units(self, archive: Archive) -> list[Unit]:
        unusable = missing_samples() if self.settings.missing == "leave-out" else frozenset()
        names = [(unit, self.named(unit)) for unit in super().units(archive)]
        own = [(unit, name) for unit, name in names if 1 <= int(name["setup"]) <= self.n_setups]
        if not own:
            raise self.lacking(archive, f"none of its setups 1 to {self.n_setups}")
        self._require_whole(archive, {int(name["setup"]) for _, name in own})
        return [unit for unit, name in own if name["sample_id"] not in unusable]

    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        label = self.label_of(int(name["action"]))
        n_frames, bodies = parse_skeleton(content)
        if not bodies:
            raise BadFile(nobody_in(n_frames))
        return Clip(
            sample_id=name["sample_id"],
            label=label,
            subject=int(name["subject"]),
            camera=int(name["camera"]),
            setup=int(name["setup"]),
            n_frames=n_frames,
            bodies=tuple(body.track() for body in denoise(bodies, self.settings.denoise)),
        )

    def _require_whole(self, archive: Archive, setups: set[int]) -> None:
        """Raises :class:`UserError` when ``setups`` are those of a part of the data set alone."""


class Ntu60(_Ntu):
    """Setups 1 to 17, whatever else the source holds."""

    name = "ntu60"
    title = "NTU RGB+D 60"
    class_table = "ntu60"
    published = "nturgbd_skeletons_s001_to_s017.zip"
    n_setups = N_SETUPS_60
    n_clips: ClassVar[Mapping[str, tuple[int, int]]] = {"x-sub": (40091, 16487), "x-view": (37646, 18932)}
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": Side(
            column="subject",
            train=TRAIN_SUBJECTS_60,
            test=tuple(sorted({*range(1, 41)} - {*TRAIN_SUBJECTS_60})),
            source="A. Shahroudy et al., CVPR 2016: 20 of 40 subjects train",
        ),
        "x-view": camera_1_tests("A. Shahroudy et al., CVPR 2016: cameras 2 and 3 train, camera 1 tests"),
    }
    citation = (
        "A. Shahroudy, J. Liu, T.-T. Ng, G. Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. "
        "CVPR 2016"
    )


class Ntu120(_Ntu):
    """Setups 1 to 32: both official zips, in one folder."""

    name = "ntu120"
    title = "NTU RGB+D 120"
    class_table = "ntu120"
    n_setups = N_SETUPS_120
    n_clips: ClassVar[Mapping[str, tuple[int, int]]] = {"x-sub": (63026, 50919), "x-set": (54468, 59477)}
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": Side(
            column="subject",
            train=TRAIN_SUBJECTS_120,
            test=tuple(sorted({*range(1, 107)} - {*TRAIN_SUBJECTS_120})),
            source="J. Liu et al., TPAMI 2020 (arXiv 1905.04757): 53 of 106 subjects train",
        ),
        "x-set": Side(
            column="setup",
            train=tuple(range(2, N_SETUPS_120 + 1, 2)),
            test=tuple(range(1, N_SETUPS_120 + 1, 2)),
            source="J. Liu et al., TPAMI 2020 (arXiv 1905.04757): even setups train, odd ones test",
        ),
    }
    citation = (
        "J. Liu, A. Shahroudy, M. Perez, G. Wang, L.-Y. Duan, A. C. Kot: NTU RGB+D 120: A Large-Scale Benchmark for "
        "3D Human Activity Understanding. TPAMI 2020"
    )

    def _require_whole(self, archive: Archive, setups: set[int]) -> None:
        if min(setups) > N_SETUPS_60 or max(setups) <= N_SETUPS_60:
            raise UserError(
                f"{archive.source}: holds only setups {min(setups)} to {max(setups)}; "
                f"put both zips of {self.title} in one folder and give that"
            )


def missing_samples() -> frozenset[str]:
    """Sample ids that the owners list as missing or incomplete, of both sets."""
    return listed_samples("ntu120")
