"""UTD-MHAD as published: a zip of MATLAB files."""

from __future__ import annotations

import io
import zipfile
from itertools import product
from pathlib import Path

from scipy.io import savemat

from published import kinect_v1_person

TRUNK_IN_FILE = (3, 2, 1, 0)
"""The files list the trunk from the head down."""


def write(folder: Path) -> Path:
    path = folder / "utd-mhad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (action, subject, take) in enumerate(product((1, 27), (1, 2, 3), (1, 2))):
            positions = kinect_v1_person(number, 12 + number)[:, [*TRUNK_IN_FILE, *range(4, 20)]]
            file = io.BytesIO()
            savemat(file, {"d_skel": positions.transpose(1, 2, 0)}, do_compression=number % 2 == 0)
            zipped.writestr(f"Skeleton/a{action}_s{subject}_t{take}_skeleton.mat", file.getvalue())
    return path
