"""Northwestern-UCLA as published for skeleton networks: a zip of JSON files."""

from __future__ import annotations

import json
import zipfile
from itertools import product
from pathlib import Path

from published import kinect_v1_person


def write(folder: Path) -> Path:
    path = folder / "nw-ucla.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, (label, subject, camera) in enumerate(product((1, 2), (1, 2), (1, 2, 3))):
            name = f"a{label:02d}_s{subject:02d}_e00_v{camera:02d}"
            skeletons = kinect_v1_person(number, 12 + number).round(6).tolist()
            content = {"file_name": name, "skeletons": skeletons, "label": label}
            zipped.writestr(f"all_sqe/{name}.json", json.dumps(content))
    return path
