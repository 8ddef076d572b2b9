"""HDM05, the motion capture database: the eleven motions of the usual recognition subset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name
from mmcl_bench.datasets.formats.asf_amc import Skeleton, joint_positions, read_amc, read_asf
from mmcl_bench.datasets.readers import (
    OnBad,
    Reader,
    Settings,
    Unit,
    WholeCopy,
    matched,
    named_clips,
    odd_subjects_train,
    require_once,
    single_body,
)
from mmcl_bench.datasets.store import Clip, DatasetCard, Side

RECORDED_RATE = 120.0
ACTORS = ("bd", "bk", "dg", "mm", "tr")
"""Subjects 1 to 5."""
MOTIONS = (
    "depositFloorR",
    "elbowToKnee1RepsLelbowStart",
    "grabHighR",
    "hopBothLegs1hops",
    "jogLeftCircle4StepsRstart",
    "kickLFront1Reps",
    "lieDownFloor",
    "rotateArmsBothBackward1Reps",
    "sneak2StepsLStart",
    "squat1Reps",
    "throwBasketball",
)
"""Motions as the files are called; a motion's position is its label."""
_LEG = ("hipjoint", "femur", "tibia", "foot", "toes")
_ARM = ("clavicle", "humerus", "radius", "wrist", "hand", "fingers", "thumb")
BONES = (
    "root",
    *(f"{side}{bone}" for side in "lr" for bone in _LEG),
    *("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head"),
    *(f"{side}{bone}" for side in "lr" for bone in _ARM),
)
"""Bones of the files in the order of the layout ``hdm05``: a joint is where its bone ends."""


class Hdm05Settings(Settings):
    every: int = Field(4, ge=1, le=120)
    """Of how many recorded frames one is kept; 4 leaves 30 frames a second, as depth cameras record."""


class Hdm05(Reader):
    """Mocap joints in the studio frame: metres, y up, the floor at about 0."""

    name = "hdm05"
    title = "HDM05, eleven motions"
    layout = "hdm05"
    class_table = "hdm05"
    frame_rate = RECORDED_RATE / 4
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": odd_subjects_train(5, "odd subjects (bd, dg, tr) train, even subjects (bk, mm) test, as in UTD-MHAD"),
        "folders": Side(
            column="subject",
            train=(1, 2, 3),
            test=(4, 5),
            source="the folders train (bd, bk, dg) and test (mm, tr) in which the subset is passed on",
        ),
    }
    default_side = "x-sub"
    homepage = "https://resources.mpi-inf.mpg.de/HDM05/"
    citation = (
        "M. Müller, T. Röder, M. Clausen, B. Eberhardt, B. Krüger, A. Weber: Documentation Mocap Database HDM05. "
        "Technical report CG-2007-2, Universität Bonn 2007"
    )
    settings_model = Hdm05Settings
    settings: Hdm05Settings
    file_name = re.compile(
        rf"(?P<sample_id>HDM_(?P<actor>{'|'.join(ACTORS)})_(?P<motion>{'|'.join(MOTIONS)})_\d{{3}}_120)\.amc", re.ASCII
    )

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(287, sample_ids=named_clips(self.name))

    def card(self, archive: Archive) -> DatasetCard:
        return super().card(archive).model_copy(update={"frame_rate": RECORDED_RATE / self.settings.every})

    def units(self, archive: Archive) -> list[Unit]:
        names = archive.names()
        wanted = sorted(
            (match["sample_id"], name, _skeleton_name(match))
            for name in names
            if (match := self.file_name.fullmatch(base_name(name)))
        )
        if not wanted:
            raise self.lacking(archive, "none of its HDM_xx_motion_NNN_120.amc")
        require_once(archive, wanted)
        skeletons = {base_name(name): name for name in reversed(names) if name.endswith(".asf")}
        beside = set(names)
        units = []
        for _, name, skeleton in wanted:
            own = name.removesuffix(base_name(name)) + skeleton
            units.append(Unit(name, (own if own in beside else skeletons.get(skeleton),)))
        return units

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        match = matched(self.file_name, base_name(unit.file))
        (skeleton_file,) = unit.detail
        if skeleton_file is None:
            raise BadFile(f"comes without its skeleton {_skeleton_name(match)}")
        skeleton = _skeleton(archive, skeleton_file)
        motion = read_amc(archive.read(unit.file), skeleton)
        ends = joint_positions(skeleton, motion, self.settings.every)
        names = list(skeleton.bones)
        positions = ends[:, [names.index(bone) for bone in BONES]]
        yield Clip(
            sample_id=match["sample_id"],
            label=MOTIONS.index(match["motion"]),
            subject=1 + ACTORS.index(match["actor"]),
            n_frames=len(positions),
            bodies=single_body(positions),
            file=unit.file,
        )


def _skeleton(archive: Archive, file: str) -> Skeleton:
    """The skeleton of a motion. Raises :class:`BadFile`, worded for the motion's own file."""
    try:
        skeleton = read_asf(archive.read(file))
    except BadFile as error:
        raise BadFile(f"needs {file}, which {error}") from error
    if lacking := [bone for bone in BONES if bone not in skeleton.bones]:
        raise BadFile(f"needs {file}, which lacks bone {lacking[0]!r}")
    return skeleton


def _skeleton_name(motion: re.Match[str]) -> str:
    return f"HDM_{motion['actor']}.asf"
