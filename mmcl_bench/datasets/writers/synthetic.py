"""Synthetic clips in the forms of NTU RGB+D, as many as wanted, from the generator of synth60."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.parallel import in_order
from mmcl_bench.datasets.readers.ntu import N_SETUPS_60, N_SETUPS_120, Ntu60, Ntu120, missing_samples
from mmcl_bench.datasets.synth.actions import ACTIONS
from mmcl_bench.datasets.synth.more_actions import ALL_ACTIONS
from mmcl_bench.datasets.synth.scene import CAMERA_YAW, MORE_SUBJECTS, SUBJECTS, camera_of, make_skeleton
from mmcl_bench.datasets.writers import Advance, counted, new_output
from mmcl_bench.datasets.writers.ctr_gcn_npz import Fold, row, write_npz
from mmcl_bench.datasets.writers.ntu_skeleton import ClipNames, skeleton_text, write_files


class Wanted(NamedTuple):
    """The arguments of :func:`make_skeleton`."""

    label: int
    subject: int
    take: int


@dataclass(frozen=True)
class Published:
    """What the generator has of a published data set."""

    reader: type[Ntu60 | Ntu120]
    n_classes: int
    n_subjects: int

    def setup_of(self, clip: Wanted) -> int:
        """The setup in a clip's name: 1 of NTU RGB+D 60; of 120 those in which the class was recorded, in turn."""
        if self.reader is Ntu60:
            return 1
        setups = range(1, N_SETUPS_60 + 1) if clip.label < len(ACTIONS) else range(N_SETUPS_60 + 1, N_SETUPS_120 + 1)
        return setups[(clip.subject // len(CAMERA_YAW) + clip.take) % len(setups)]


LIKE: Mapping[str, Published] = {
    Ntu60.name: Published(Ntu60, len(ACTIONS), len(SUBJECTS)),
    Ntu120.name: Published(Ntu120, len(ALL_ACTIONS), len(SUBJECTS + MORE_SUBJECTS)),
}
TAKES_A_SEED = 1000
"""A seed stands for takes of its own, so that sets of two seeds share no clip."""
N_FRAMES = 300
"""Of a clip in an ``.npz``, as in the published ones."""


def wanted_clips(
    n_clips: int, seed: int = 0, n_subjects: int | None = None, like: Published = LIKE[Ntu60.name]
) -> list[Wanted]:
    """``n_clips`` spread evenly over all classes, over the first ``n_subjects``, and by that over the cameras.

    Raises :class:`UserError` for more clips than names of NTU's form, or more subjects than there are.
    """
    n_subjects = like.n_subjects if n_subjects is None else n_subjects
    if not 1 <= n_subjects <= like.n_subjects:
        raise UserError(f"--subjects {n_subjects}: the generator has 1 to {like.n_subjects} subjects")
    most = like.n_classes * n_subjects * (TAKES_A_SEED - 2)
    if not 1 <= n_clips <= most:
        raise UserError(f"--clips {n_clips}: with {n_subjects} subjects there are names for 1 to {most} clips")
    wanted = []
    for number in range(n_clips):
        turn, label = divmod(number, like.n_classes)
        take, subject = divmod(turn, n_subjects)
        wanted.append(Wanted(label, (subject + label) % n_subjects + 1, seed * TAKES_A_SEED + take + 1))
    return wanted


def synth_skeletons(
    clips: Sequence[Wanted],
    output: Path,
    advance: Advance,
    workers: int | None = None,
    like: Published = LIKE[Ntu60.name],
) -> None:
    """Writes synthetic clips as ``.skeleton`` files, to a folder or to a zip where it is called so."""
    texts = counted(in_order(_text, clips, workers), advance, 0, len(clips))
    with new_output(output), closing(texts):
        named = zip(clip_names(clips, like), texts, strict=True)
        write_files(output, ((f"{name}.skeleton", text) for name, text in named), synthetic=True)


def clip_names(clips: Iterable[Wanted], like: Published = LIKE[Ntu60.name]) -> Iterator[str]:
    """A name of NTU's form for each, none of which is that of a sample that the reader of NTU RGB+D leaves out."""
    names = ClipNames(missing_samples())
    return (names.name(like.setup_of(clip), camera_of(*clip), clip.subject, clip.label) for clip in clips)


def synth_npz(
    clips: Sequence[Wanted],
    output: Path,
    advance: Advance,
    side: str | None = None,
    workers: int | None = None,
    like: Published = LIKE[Ntu60.name],
) -> None:
    """Writes synthetic clips as the ``.npz`` of CTR-GCN, parted by a side of the published set, by default ``x-sub``.

    Raises :class:`UserError` for an unknown side, and for one on which no clip trains or tests.
    """
    sides = like.reader.sides
    chosen = side or like.reader.default_side
    if chosen not in sides:
        raise UserError(f"--side {chosen}: there are {' and '.join(sides)}")
    parting = sides[chosen]
    columns = {"camera": [camera_of(*clip) for clip in clips], "setup": [like.setup_of(clip) for clip in clips]}
    numbers = columns.get(parting.column, [clip.subject for clip in clips])
    train, test = (
        [clip for clip, number in zip(clips, numbers, strict=True) if number in fold]
        for fold in (parting.train, parting.test)
    )
    if not (train and test):
        raise UserError(f"{len(clips)} clips are too few to train and to test on side {chosen}; raise --clips")

    def rows(fold: Sequence[Wanted], done: int) -> Generator[np.ndarray]:
        return counted(in_order(_row, fold, workers), advance, done, len(clips))

    def labels(fold: Sequence[Wanted]) -> np.ndarray:
        return np.array([clip.label for clip in fold])

    with new_output(output):
        write_npz(
            output,
            Fold(labels(train), partial(rows, train, 0)),
            Fold(labels(test), partial(rows, test, len(train))),
            N_FRAMES,
            like.n_classes,
            synthetic=True,
        )


def _text(wanted: Wanted) -> bytes:
    clip = make_skeleton(*wanted)
    return skeleton_text(clip.n_frames, clip.bodies)


def _row(wanted: Wanted) -> np.ndarray:
    return row(make_skeleton(*wanted).bodies, N_FRAMES)
