"""NTU RGB+D 60, cross-view, in the form of CTR-GCN, deflated, as some copies of it are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from published.ntu60_cs_npz import arrays


def write(folder: Path) -> Path:
    np.savez_compressed(folder / "NTU60_CV.npz", **arrays(60, seed=2))
    return folder / "NTU60_CV.npz"
