"""NTU RGB+D 120 as published: two zips of ``.skeleton`` text files, here in one folder."""

from __future__ import annotations

from pathlib import Path

from published.ntu60 import ZIP, write_zip

SECOND_ZIP = "nturgbd_skeletons_s018_to_s032.zip"


def write(folder: Path) -> Path:
    source = folder / "nturgbd_skeletons"
    source.mkdir()
    write_zip(source / ZIP, setups=[1], actions=[9])
    write_zip(source / SECOND_ZIP, setups=[18], actions=[61, 106])
    return source
