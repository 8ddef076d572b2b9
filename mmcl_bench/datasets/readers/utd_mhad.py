"""UTD-MHAD, the UTD Multimodal Human Action Dataset: its Kinect skeletons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from mmcl_bench.datasets.formats.mat5 import read_joints
from mmcl_bench.datasets.readers import FilePerClipReader, WholeCopy, named_clips, odd_subjects_train, single_body
from mmcl_bench.datasets.store import Clip, Side

FROM_FILE = (3, 2, 1, 0, *range(4, 20))
"""Joints of the file in the order of kinect-v1: the file lists head, shoulder_center, spine, hip_center first
(``Skeleton_joint_order.txt`` of the archive)."""


class UtdMhad(FilePerClipReader):
    """Kinect v1 joints in the camera frame: metres, y up, z away from the camera."""

    name = "utd-mhad"
    title = "UTD-MHAD"
    layout = "kinect-v1"
    class_table = "utd-mhad"
    frame_rate = 30.0
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": odd_subjects_train(8, "C. Chen et al., ICIP 2015: odd subjects train, even subjects test")
    }
    default_side = "x-sub"
    homepage = "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"
    citation = (
        "C. Chen, R. Jafari, N. Kehtarnavaz: UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a "
        "Depth Camera and a Wearable Inertial Sensor. ICIP 2015"
    )
    files = "aN_sN_tN_skeleton.mat (the folder Skeleton)"
    file_name = re.compile(
        r"(?P<sample_id>a(?P<action>\d{1,2})_s(?P<subject>\d{1,2})_t\d{1,2})_skeleton\.mat", re.ASCII
    )

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(861, sides={"x-sub": (431, 430)}, sample_ids=named_clips(self.name))

    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        label = self.label_of(int(name["action"]))
        positions = read_joints(content, "d_skel", len(FROM_FILE))[:, FROM_FILE]
        return Clip(
            sample_id=name["sample_id"],
            label=label,
            subject=int(name["subject"]),
            n_frames=len(positions),
            bodies=single_body(positions),
        )
