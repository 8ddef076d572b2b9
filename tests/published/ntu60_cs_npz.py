"""NTU RGB+D 60 in the form of CTR-GCN: arrays of train and test clips in one ``.npz``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from published.ntu60 import moving_person

N_FRAMES = 30
"""The real files have 300."""


def rows(first_seed: int, labels: list[int]) -> np.ndarray:
    """(N, T, 150): a clip of every label, with two people in every second one, one of whom is seen late."""
    x = np.zeros((len(labels), N_FRAMES, 2, 25, 3), dtype=np.float32)
    for clip in range(len(labels)):
        n_frames, seed = 12 + clip, first_seed + 10 * clip
        origin = moving_person(seed, n_frames)[0, 1]
        x[clip, :n_frames, 0] = moving_person(seed, n_frames) - origin
        if clip % 2:
            x[clip, 3:n_frames, 1] = moving_person(seed + 1, n_frames)[3:] - origin + np.array([1, 0, 0])
    return x.reshape(len(labels), N_FRAMES, 150)


def arrays(n_classes: int, seed: int) -> dict[str, np.ndarray]:
    train, test = [8, 49, 0, 8, 49], [8, 49, n_classes - 1, 0]
    return {
        "x_train": rows(seed, train),
        "y_train": np.eye(n_classes)[train],
        "x_test": rows(seed + 500, test),
        "y_test": np.eye(n_classes)[test],
    }


def write(folder: Path) -> Path:
    np.savez(folder / "NTU60_CS.npz", **arrays(60, seed=1))
    return folder / "NTU60_CS.npz"
