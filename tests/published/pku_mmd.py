"""PKU-MMD phase I as published: skeletons, labels and split lists in folders, here in one zip."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from published.ntu60 import moving_person

N_FRAMES = 50


class Interval(NamedTuple):
    action: int
    first: int
    last: int


def skeleton_file(bodies: np.ndarray) -> bytes:
    """The text of a video of (2, T, 25, 3), with a blank at the end of each line."""
    frames = bodies.transpose(1, 0, 2, 3).reshape(bodies.shape[1], -1)
    return "".join("".join(f"{number:.7g} " for number in frame) + "\n" for frame in frames.tolist()).encode()


def label_file(intervals: Sequence[Interval]) -> bytes:
    return "".join(f"{each.action},{each.first},{each.last},2\n" for each in intervals).encode()


def split_file(train: Sequence[str], test: Sequence[str]) -> str:
    return f"Training videos: \n{', '.join(train)}\nValidataion videos: \n{', '.join(test)}"


def video(seed: int, n_bodies: int) -> np.ndarray:
    """(2, T, 25, 3): a synthetic video; the second body is zeros where there is one only."""
    bodies = np.zeros((2, N_FRAMES, 25, 3))
    for body in range(n_bodies):
        bodies[body] = moving_person(seed + 100 * body, N_FRAMES) + np.array([body, 0, 0])
    return bodies


def files(videos: Sequence[str], test: Sequence[str], suffix: str, actions: tuple[int, int]) -> dict[str, bytes | str]:
    """The files of a phase whose list names end in ``suffix``; the second action is one of two bodies."""
    content: dict[str, bytes | str] = {
        f"Split/cross_subject{suffix}.txt": split_file([name for name in videos if name not in test], test),
        f"Split/cross_view{suffix}.txt": split_file(
            [name for name in videos if name[-1] != "L"], [name for name in videos if name[-1] == "L"]
        ),
    }
    for seed, name in enumerate(videos):
        bodies = video(seed, 2)
        bodies[1, : N_FRAMES // 2] = 0
        content[f"Data/Skeleton/{name}.txt"] = skeleton_file(bodies)
        content[f"Label/Train_Label/{name}.txt"] = label_file(
            [Interval(actions[0], 3, 20), Interval(actions[1], 28, N_FRAMES)]
        )
    return content


def write_zip(path: Path, content: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in content.items():
            zipped.writestr(name, text)
    return path


def write(folder: Path) -> Path:
    videos = [f"{number}-{view}" for number in ("0002", "0300") for view in "LMR"]
    return write_zip(folder / "pku-mmd.zip", files(videos, [name for name in videos if "0300" in name], "", (8, 26)))
