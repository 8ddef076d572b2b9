"""Northwestern-UCLA Multiview Action 3D, in the JSON form that skeleton networks are trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.checked_json import read_json
from mmcl_bench.datasets.readers import FilePerClipReader, WholeCopy, named_clips, odd_subjects_train, single_body
from mmcl_bench.datasets.store import Clip, Side

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
"""Action numbers in the file names; a number's position is its label."""


class _ClipFile(BaseModel):
    skeletons: list[list[tuple[float, float, float]]]
    label: int


class NwUcla(FilePerClipReader):
    """Kinect v1 joints in the camera frame, as recorded: metres, y up, z away from the camera."""

    name = "nw-ucla"
    title = "Northwestern-UCLA Multiview Action 3D"
    layout = "kinect-v1"
    class_table = "nw-ucla"
    frame_rate = None
    sides: ClassVar[Mapping[str, Side]] = {
        "x-view": Side(
            column="camera",
            train=(1, 2),
            test=(3,),
            source="J. Wang et al., CVPR 2014: two cameras train, the third tests",
        ),
        "x-sub": odd_subjects_train(
            10, "odd subjects train, even subjects test, as in UTD-MHAD; not a published protocol of this set"
        ),
    }
    default_side = "x-view"
    homepage = "https://github.com/Uason-Chen/CTR-GCN#nw-ucla"
    citation = (
        "J. Wang, X. Nie, Y. Xia, Y. Wu, S.-C. Zhu: Cross-view Action Modeling, Learning and Recognition. CVPR 2014"
    )
    files = "aNN_sNN_eNN_vNN.json (the folder all_sqe)"
    file_name = re.compile(
        r"(?P<sample_id>a(?P<action>\d\d)_s(?P<subject>\d\d)_e\d\d_v(?P<camera>\d\d))\.json", re.ASCII
    )

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(1484, sides={"x-view": (1020, 464)}, sample_ids=named_clips(self.name))

    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        action = int(name["action"])
        if action not in ACTIONS:
            raise BadFile(f"has action {action}, which {self.title} lacks")
        label = ACTIONS.index(action)
        recorded = read_json(_ClipFile, content)
        if recorded.label != label + 1:
            raise BadFile(f"says label {recorded.label}; its name says {label + 1}")
        return Clip(
            sample_id=name["sample_id"],
            label=label,
            subject=int(name["subject"]),
            camera=int(name["camera"]),
            n_frames=len(recorded.skeletons),
            bodies=single_body(_positions(recorded.skeletons)),
        )


def _positions(frames: list[list[tuple[float, float, float]]]) -> np.ndarray:
    try:
        return np.array(frames, dtype=np.float64)
    except ValueError as error:
        raise BadFile("has frames of differing joint counts") from error
