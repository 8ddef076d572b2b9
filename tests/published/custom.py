"""Somebody's own data: a folder with dataset.toml, manifest.csv and clips as .npy and .csv."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from published import kinect_v1_person

FACTS = """\
title = "Waving and jumping (synthetic)"
synthetic = true
layout = "kinect-v1"
unit = "millimetres"
up = "z"
frame_rate = 30

[[class]]
name = "wave"
global = "One hand is raised beside the head and swings from side to side."

[[class]]
name = "jump"
global = "The whole body leaves the floor and lands on both feet."

[[class]]
name = "bend"
global = "The trunk goes down and forward while the legs stay straight."

[[class]]
name = "clap"
global = "Both hands meet in front of the chest again and again."

[[class]]
name = "kick"
global = "One leg swings forward and up while the other one stands."

[side.x-sub]
column = "subject"
train = [1, 3]
test = [2]

[folds.by-subject]
column = "subject"
parts = [[1, 2], [3]]

[split."3/2"]
unseen = ["jump", "kick"]
"""
CLASSES = ("wave", "jump", "bend", "clap", "kick")


def write(folder: Path) -> Path:
    source = folder / "my-data"
    source.mkdir()
    (source / "dataset.toml").write_text(FACTS, encoding="utf-8")
    rows = ["sample_id,file,label,subject,fold"]
    for number, (label, subject, take) in enumerate(product(CLASSES, (1, 2, 3), (1, 2))):
        name = f"{label}-{subject}-{take}"
        positions = kinect_v1_person(number, 12 + number % 9)[..., [0, 2, 1]] * [1000, -1000, 1000]
        if number % 5:
            np.save(source / f"{name}.npy", positions.astype(np.float32))
            file = f"{name}.npy"
        else:
            lines = [",".join(f"{value:.4f}" for value in frame) for frame in positions.reshape(len(positions), -1)]
            file = f"{name}.csv"
            (source / file).write_text("\n".join([*lines, ""]))
        rows.append(f"{name},{file},{label},{subject},{'test' if subject == 2 else 'train'}")
    (source / "manifest.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return source
