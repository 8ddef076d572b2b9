"""MSR-Action3D as published: a zip of text files, twenty rows a frame."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path

import numpy as np

from published import kinect_v1_person

# The set's own order, counted from one, of the joints of kinect-v1.
IN_FILE = (7, 4, 3, 20, 1, 8, 10, 12, 2, 9, 11, 13, 5, 14, 16, 18, 6, 15, 17, 19)

NOT_USUAL = ("a01_s01_e02", "a20_s02_e02")
"""Synthetic counterparts of the clips that the list of the set's usual ones does not name."""


def write(folder: Path) -> Path:
    path = folder / "msr-action3d.zip"
    usual = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (action, subject, take) in enumerate(product((1, 20), (1, 2, 3), (1, 2))):
            positions = kinect_v1_person(number, 12 + number)
            rows = np.empty((len(positions), 20, 4))
            rows[:, np.array(IN_FILE) - 1, :3] = positions
            rows[..., 3] = 1
            text = "".join(" ".join(f"{value:f}" for value in row) + "\n" for row in rows.reshape(-1, 4).tolist())
            name = f"a{action:02d}_s{subject:02d}_e{take:02d}"
            zipped.writestr(f"real_world_coordinates/{name}_skeleton3D.txt", text)
            usual += [name] if name not in NOT_USUAL else []
        zipped.writestr("real_world_coordinates/files_used_in_cvpr12_paper.txt", "\n".join(usual))
    return path
