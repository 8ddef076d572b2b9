"""PKU-MMD phase II as published: skeletons, labels and split lists in folders."""

from __future__ import annotations

from pathlib import Path

from published.pku_mmd import files


def write(folder: Path) -> Path:
    source = folder / "PKUMMDv2"
    videos = [f"A01{person}-{view}" for person in ("N01", "N02") for view in "LMR"]
    for name, text in files(videos, [name for name in videos if "N02" in name], "_v2", (8, 51)).items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return source
