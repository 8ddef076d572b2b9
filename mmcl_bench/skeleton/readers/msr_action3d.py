"""MSR-Action3D: its skeletons in real-world coordinates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from mmcl_bench.skeleton.archive import BadFile
from mmcl_bench.skeleton.formats.number_table import read_numbers
from mmcl_bench.skeleton.readers import FilePerClipReader, single_body
from mmcl_bench.skeleton.store import Clip, Side

N_ACTIONS = 20
FROM_FILE = (6, 3, 2, 19, 0, 7, 9, 11, 1, 8, 10, 12, 4, 13, 15, 17, 5, 14, 16, 18)
"""Joints of the file in the order of kinect-v1: the file begins with the shoulders and ends with the head."""


class MsrAction3D(FilePerClipReader):
    """Kinect v1 joints in the camera frame: metres, y up, z away from the camera. The confidence column is left."""

    name = "msr-action3d"
    title = "MSR-Action3D"
    layout = "kinect-v1"
    class_table = "msr-action3d"
    frame_rate = 15.0
    sides: ClassVar[Mapping[str, Side]] = {
        "x-sub": Side(
            column="subject",
            train=(1, 3, 5, 7, 9),
            test=(2, 4, 6, 8, 10),
            source="W. Li et al., CVPRW 2010, as commonly used over all 20 actions: odd subjects train, even ones test",
        ),
    }
    default_side = "x-sub"
    homepage = "https://sites.google.com/view/wanqingli/data-sets/msr-action3d"
    citation = "W. Li, Z. Zhang, Z. Liu: Action Recognition Based on A Bag of 3D Points. CVPR Workshops 2010"
    files = "aNN_sNN_eNN_skeleton3D.txt (the folder of real-world coordinates)"
    file_name = re.compile(r"(?P<sample_id>a(?P<action>\d\d)_s(?P<subject>\d\d)_e\d\d)_skeleton3D\.txt", re.ASCII)

    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        action = int(name["action"])
        if not 1 <= action <= N_ACTIONS:
            raise BadFile(f"has action {action}; {self.title} has 1 to {N_ACTIONS}")
        rows = read_numbers(content, 4)
        n_frames, rest = divmod(len(rows), len(FROM_FILE))
        if rest:
            raise BadFile(f"has {len(rows)} rows, which is no multiple of {len(FROM_FILE)} joints; it is cut short")
        return Clip(
            sample_id=name["sample_id"],
            label=action - 1,
            subject=int(name["subject"]),
            n_frames=n_frames,
            bodies=single_body(rows.reshape(n_frames, len(FROM_FILE), 4)[:, FROM_FILE, :3]),
        )
