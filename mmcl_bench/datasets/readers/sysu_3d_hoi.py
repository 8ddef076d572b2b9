"""SYSU 3D Human-Object Interaction: its Kinect skeletons.

Form, as public code that reads it has it: ``3DvideoNorm/<person>/video<action>/sklWorld.mat``, each with an array
``SW`` (20, 3, T).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import Archive
from mmcl_bench.datasets.formats.mat5 import read_joints
from mmcl_bench.datasets.readers import OnBad, Reader, Unit, WholeCopy, odd_subjects_train, single_body
from mmcl_bench.datasets.store import Clip, Side

N_PEOPLE, N_JOINTS = 40, 20
_FILE = re.compile(r"(?:.*/)?(?P<person>[^/]+)/video(?P<action>\d{1,3})/sklWorld\.mat", re.ASCII)


class Sysu3DHoi(Reader):
    """Kinect v1 joints in the camera frame: metres, y up. People are numbered in the order of their folders' names."""

    name = "sysu-3d-hoi"
    title = "SYSU 3D Human-Object Interaction"
    layout = "kinect-v1"
    class_table = "sysu-3d-hoi"
    frame_rate = 30.0
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": odd_subjects_train(
            N_PEOPLE,
            "every other person trains; J.-F. Hu et al. (CVPR 2015) average over 30 random halves of the people",
        )
    }
    default_side = "x-sub"
    homepage = "https://www.isee-ai.cn/~hujianfang/ProjectJOULE.html"
    citation = (
        "J.-F. Hu, W.-S. Zheng, J. Lai, J. Zhang: Jointly Learning Heterogeneous Features for RGB-D Activity "
        "Recognition. CVPR 2015"
    )

    def whole_copy(self) -> WholeCopy:
        # Without names: a person who is missing gives the number to another.
        return WholeCopy(N_PEOPLE * self.n_classes)

    def units(self, archive: Archive) -> list[Unit]:
        found = sorted(
            (match["person"], int(match["action"]), file)
            for file in archive.names()
            if (match := _FILE.fullmatch(file))
        )
        if not found:
            raise self.lacking(archive, "none of its <person>/video<action>/sklWorld.mat")
        people = sorted({person for person, _, _ in found})
        if len(people) > N_PEOPLE:
            raise UserError(f"{archive.source}: holds clips of {len(people)} people; {self.title} has {N_PEOPLE}")
        seen: dict[tuple[str, int], str] = {}
        for person, action, file in found:
            if (first := seen.setdefault((person, action), file)) != file:
                raise UserError(f"{archive.source}: {first} and {file} are one clip; remove one")
        return [Unit(file, (people.index(person) + 1, action)) for person, action, file in found]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        subject, action = unit.detail
        label = self.label_of(action)
        positions = read_joints(archive.read(unit.file), "SW", N_JOINTS)
        yield Clip(
            sample_id=f"s{subject:02d}_a{action:02d}",
            label=label,
            subject=subject,
            n_frames=len(positions),
            bodies=single_body(positions),
            file=unit.file,
        )
