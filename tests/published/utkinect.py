"""UTKinect as published: a zip of one file of joints a recording, and a file of labels."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path

from published import kinect_v1_person

CLIPS = {"walk": (2, 40), "sitDown": (44, 80), "standUp": (80, 112), "clapHands": (114, 140)}


def write(folder: Path) -> Path:
    path = folder / "utkinect.zip"
    labels = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (subject, take) in enumerate(product((1, 2), (1, 2))):
            name = f"s{subject:02d}_e{take:02d}"
            labels += [name, *(f"{action}: {first} {last}" for action, (first, last) in CLIPS.items())]
            positions = kinect_v1_person(number, 75).reshape(75, 60).tolist()
            rows = ["  ".join([str(2 * at), *(f"{value:f}" for value in row)]) for at, row in enumerate(positions)]
            zipped.writestr(f"joints/joints_{name}.txt", "\n".join([*rows, ""]))
        zipped.writestr("joints/actionLabel.txt", "\n".join([*labels, ""]))
    return path
