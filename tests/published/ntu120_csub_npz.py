"""NTU RGB+D 120, cross-subject, in the form of CTR-GCN."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from published.ntu60_cs_npz import arrays


def write(folder: Path) -> Path:
    np.savez(folder / "NTU120_CSub.npz", **arrays(120, seed=3))
    return folder / "NTU120_CSub.npz"
