"""JHMDB, the joint-annotated part of HMDB51: puppet joints of every frame, as its authors publish them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from mmcl_bench.datasets.formats.archive import Archive, BadFile, NoFiles, open_with_zips
from mmcl_bench.datasets.formats.jhmdb_joints import FRAME, JOINT_FILE, read_puppet, video_of
from mmcl_bench.datasets.readers import OnBad, Reader, Unit, WholeCopy, require_once, single_body, text_of
from mmcl_bench.datasets.store import Clip, Side

SPLITS = (1, 2, 3)
_LIST = re.compile(r"(?P<action>\w+)_test_split(?P<split>[123])\.txt", re.ASCII)
_LISTED = re.compile(r"(?P<video>\S+)\.avi\s+(?P<side>[012])", re.ASCII)
_TRAINS = "1"
_TAGS = r"_[fulh]_(cm|nm)_np\d_(fr|ba|le|ri)_(bad|med|goo)_\d+"
"""What HMDB51 puts behind the source video and the action: visible body part, camera motion, people, view, quality and
the number of the clip."""


def source_video(video: str, action: str) -> str:
    """The video from which a clip was cut: its name without the action and the tags behind it."""
    found = re.fullmatch(rf"(.+?)(_{re.escape(action)})?{_TAGS}", video)
    return found[1] if found else video


class Jhmdb(Reader):
    """Joints in the image, in image heights from its middle: x to the right, y up, z 0.

    ``subject`` is the video from which a clip was cut: those of one video show the same people. ``setup`` says where it
    trains: 1 for split 1, plus 2 for split 2, plus 4 for split 3.
    """

    name = "jhmdb"
    title = "JHMDB"
    layout = "jhmdb-15"
    unit = "image"
    class_table = "jhmdb"
    frame_rate = 30.0
    sides: ClassVar[Mapping[str, Side]] = {
        f"split-{split}": Side(
            column="setup",
            train=tuple(setup for setup in range(8) if setup >> (split - 1) & 1),
            test=tuple(setup for setup in range(8) if not setup >> (split - 1) & 1),
            source=f"split {split} of the authors (H. Jhuang et al., ICCV 2013), those of HMDB51 for these clips",
        )
        for split in SPLITS
    }
    default_side = "split-1"
    homepage = "http://jhmdb.is.tue.mpg.de"
    citation = (
        "H. Jhuang, J. Gall, S. Zuffi, C. Schmid, M. J. Black: Towards Understanding Action Recognition. ICCV 2013"
    )

    def open(self, source: Path | None) -> AbstractContextManager[Archive]:
        """A folder may hold the published zips as they are."""
        return NoFiles() if source is None else open_with_zips(source, "*.zip")

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(928)

    def units(self, archive: Archive) -> list[Unit]:
        found = sorted((video_of(name), name) for name in archive.names() if name.endswith(f"/{JOINT_FILE}"))
        if not found:
            raise self.lacking(archive, f"no {JOINT_FILE}")
        require_once(archive, found)
        trains = self._listed(archive)
        actions = {video: PurePosixPath(name).parts[-3] for video, name in found if len(PurePosixPath(name).parts) > 2}
        sources = {video: source_video(video, action) for video, action in actions.items()}
        numbers = {source: number for number, source in enumerate(sorted(set(sources.values())), 1)}
        return [
            Unit(name, (actions.get(video, ""), numbers.get(sources.get(video, ""), 0), trains.get(video, "")))
            for video, name in found
        ]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        action, subject, sides = unit.detail
        if action not in self.class_names:
            raise BadFile(f"is in no folder of one of the {self.n_classes} actions")
        if not re.fullmatch("[12]{3}", sides):
            raise BadFile(f"is of a clip that the lists {action}_test_split1.txt to 3 do not put on one side each")
        pixels = read_puppet(archive.read(unit.file))
        width, height = FRAME
        positions = np.zeros((*pixels.shape[:2], 3))
        positions[..., 0] = (pixels[..., 0] - width / 2) / height
        positions[..., 1] = (height / 2 - pixels[..., 1]) / height
        yield Clip(
            sample_id=video_of(unit.file),
            label=self.class_names.index(action),
            subject=subject,
            setup=sum(1 << at for at, side in enumerate(sides) if side == _TRAINS),
            n_frames=len(positions),
            bodies=single_body(positions),
            file=unit.file,
        )

    def _listed(self, archive: Archive) -> dict[str, str]:
        """By video, its side in splits 1, 2 and 3: 1 trains, 2 tests; shorter where a list lacks it."""
        lists = {(match["action"], match["split"]): name for name in archive.names() if (match := _list(name))}
        if not lists:
            raise self.lacking(archive, "no list such as catch_test_split1.txt; it comes with the joints")
        sides: dict[str, str] = defaultdict(str)
        for (_, split), name in sorted(lists.items(), key=lambda item: item[0][::-1]):
            for line in text_of(archive, name).splitlines():
                listed = _LISTED.fullmatch(line.strip())
                if listed and len(sides[listed["video"]]) == int(split) - 1:
                    sides[listed["video"]] += listed["side"]
        return dict(sides)


def _list(name: str) -> re.Match[str] | None:
    return _LIST.fullmatch(PurePosixPath(name).name)
