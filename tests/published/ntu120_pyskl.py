"""NTU RGB+D 120 as pyskl publishes it: one pickle of protocol 2, here in a folder."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path

from published.ntu60_pyskl import annotated


def write(folder: Path) -> Path:
    names = [
        f"S{setup:03d}C001P{subject:03d}R001A{action:03d}"
        for setup, subject, action in [*product((1, 2), (1, 3), (9,)), *product((18, 19), (1, 3), (61, 106))]
    ]
    source = folder / "pyskl"
    source.mkdir()
    content = annotated(names, "xset", lambda name: int(name[1:4]) % 2 == 0)
    (source / "ntu120_3danno.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return source
