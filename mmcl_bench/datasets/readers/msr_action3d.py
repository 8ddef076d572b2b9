"""MSR-Action3D: its skeletons in real-world coordinates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name
from mmcl_bench.datasets.formats.number_table import read_numbers
from mmcl_bench.datasets.readers import (
    FilePerClipReader,
    Settings,
    Unit,
    WholeCopy,
    named_clips,
    odd_subjects_train,
    single_body,
    text_of,
)
from mmcl_bench.datasets.store import Clip, DatasetCard, Side

USUAL = "files_used_in_cvpr12_paper.txt"
"""Beside the clips in the archive: the 557 that J. Wang et al. (CVPR 2012) and most papers since then use."""
FROM_FILE = (6, 3, 2, 19, 0, 7, 9, 11, 1, 8, 10, 12, 4, 13, 15, 17, 5, 14, 16, 18)
"""Joints of the file in the order of kinect-v1: the file begins with the shoulders and ends with the head."""

ALL_ZEROS = frozenset({"a13_s09_e02"})


class MsrAction3DSettings(Settings):
    clips: Literal["all", "usual-557"] = "all"
    """``usual-557`` leaves out what the list :data:`USUAL` of the archive does not name."""


class MsrAction3D(FilePerClipReader):
    """Kinect v1 joints in the camera frame: metres, y up, z away from the camera. The confidence column is left."""

    name = "msr-action3d"
    title = "MSR-Action3D"
    layout = "kinect-v1"
    class_table = "msr-action3d"
    frame_rate = 15.0
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": odd_subjects_train(
            10, "W. Li et al., CVPRW 2010, as commonly used over all 20 actions: odd subjects train, even ones test"
        )
    }
    default_side = "x-sub"
    homepage = "https://sites.google.com/view/wanqingli/data-sets/msr-action3d"
    citation = "W. Li, Z. Zhang, Z. Liu: Action Recognition Based on A Bag of 3D Points. CVPR Workshops 2010"
    settings_model = MsrAction3DSettings
    settings: MsrAction3DSettings
    files = "aNN_sNN_eNN_skeleton3D.txt (the folder of real-world coordinates)"
    file_name = re.compile(r"(?P<sample_id>a(?P<action>\d\d)_s(?P<subject>\d\d)_e\d\d)_skeleton3D\.txt", re.ASCII)

    def whole_copy(self) -> WholeCopy:
        if self.settings.clips == "usual-557":
            return WholeCopy(557)
        return WholeCopy(567, sample_ids=named_clips(self.name), faulty=ALL_ZEROS)

    def card(self, archive: Archive) -> DatasetCard:
        card = super().card(archive)
        if self.settings.clips == "all":
            return card
        used = {unit.file for unit in self.units(archive)}
        left_out = (unit.file for unit in super().units(archive) if unit.file not in used)
        return card.model_copy(update={"noted": dict.fromkeys(left_out, f"is not in {USUAL}; left out")})

    def units(self, archive: Archive) -> list[Unit]:
        units = super().units(archive)
        if self.settings.clips == "all":
            return units
        usual = _usual(archive)
        by_clip = {base_name(unit.file).removesuffix("_skeleton3D.txt"): unit for unit in units}
        if missing := sorted(usual - by_clip.keys()):
            raise UserError(f"{archive.source}: lacks {missing[0]}, which {USUAL} names; download it again")
        return [unit for clip, unit in by_clip.items() if clip in usual]

    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        label = self.label_of(int(name["action"]))
        rows = read_numbers(content, 4)
        n_frames, rest = divmod(len(rows), len(FROM_FILE))
        if rest:
            raise BadFile(f"has {len(rows)} rows, which is no multiple of {len(FROM_FILE)} joints; it is cut short")
        return Clip(
            sample_id=name["sample_id"],
            label=label,
            subject=int(name["subject"]),
            n_frames=n_frames,
            bodies=single_body(rows.reshape(n_frames, len(FROM_FILE), 4)[:, FROM_FILE, :3]),
        )


def _usual(archive: Archive) -> set[str]:
    """Sample ids of the usual clips. Raises :class:`UserError` where the archive has no whole list of them."""
    files = [file for file in archive.names() if base_name(file) == USUAL]
    if len(files) != 1:
        raise UserError(
            f"{archive.source}: holds {some_of(files) or f'no {USUAL}'}; one is expected, or leave out clips=usual-557"
        )
    words = text_of(archive, files[0]).split()
    if not words or not all(re.fullmatch(r"a\d\d_s\d\d_e\d\d", word) for word in words):
        raise UserError(f"{archive.source}: {files[0]} is no list of clips; download it again")
    return set(words)
