"""SYSU 3D Human-Object Interaction as published: a zip of MATLAB files by person and action."""

from __future__ import annotations

import io
import zipfile
from itertools import product
from pathlib import Path

from scipy.io import savemat

from published import kinect_v1_person


def write(folder: Path) -> Path:
    path = folder / "SYSU3DAction.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (person, action) in enumerate(product(("anna", "bo", "chen"), (1, 2, 5, 12))):
            file = io.BytesIO()
            savemat(file, {"SW": kinect_v1_person(number, 12 + number).transpose(1, 2, 0)}, do_compression=True)
            zipped.writestr(f"SYSU3DAction/3DvideoNorm/{person}/video{action}/sklWorld.mat", file.getvalue())
    return path
