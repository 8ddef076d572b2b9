"""All that a method may see of a task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.joint_maps import joint_matrix, map_joints
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.unseen import fill_missing


class ClipView:
    """Skeleton clips: no label, no sample id, no reference to the data set. Frozen features of other modalities are
    there only for a method that says in ``scores_with`` that it scores with them.

    Positions are a copy of only these clips, so no other data can be reached through the view. Joints that were not
    seen are filled, see :func:`~mmcl_bench.skeleton.unseen.fill_missing`; a body of which nothing was seen is left out.
    """

    def __init__(self, clips: Sequence[Sequence[BodyTrack]], n_frames: Sequence[int], layout: str | Layout) -> None:
        self.layout = layout
        """The joint layout, or its name."""
        self.features: Mapping[Modality, np.ndarray] = {}
        """float32 (N, D) by modality that the method scores with; mostly empty."""
        self.n_frames = np.array(n_frames, dtype=np.int64)
        """(N,) frames of each clip."""
        clips = [[body for body in clip if (np.abs(body.positions) > 0).any()] for clip in clips]
        tracks = [body for clip in clips for body in clip]
        self._track_at = np.cumsum([0, *(len(body.positions) for body in tracks)], dtype=np.int64)
        self._positions = np.empty((self._track_at[-1], len(get_layout(layout)), 3), dtype=np.float32)
        for body, first, end in zip(tracks, self._track_at, self._track_at[1:], strict=False):
            self._positions[first:end] = fill_missing(body.positions, get_layout(layout))
        self._track_start = np.array([body.start for body in tracks], dtype=np.int64)
        self._clip_at = np.cumsum([0, *(len(clip) for clip in clips)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.n_frames)

    def fingerprint(self) -> str:
        """sha256 of the clips: layout, positions, bodies, frames and their order."""
        digest = hashlib.sha256(repr(get_layout(self.layout)).encode())
        for array in (self.n_frames, self._positions, self._track_at, self._track_start, self._clip_at):
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def bodies(self, clip: int) -> tuple[BodyTrack, ...]:
        """The body tracks of one clip: float32 (T, V, 3), metres, y up."""
        return tuple(
            BodyTrack(int(self._track_start[t]), self._positions[self._track_at[t] : self._track_at[t + 1]])
            for t in range(self._clip_at[clip], self._clip_at[clip + 1])
        )


@dataclass(frozen=True)
class LabelledClips:
    """Clips with labels, and the frozen features of their other modalities."""

    clips: ClipView
    labels: np.ndarray
    """(N,) int64, positions in ``problem.classes``."""
    subjects: np.ndarray
    """(N,) int64, an arbitrary number for each subject, for splits by person; people whom clips show together share
    one."""
    features: Mapping[Modality, np.ndarray]
    """float32 (N, D) by modality; a modality that the data set lacks is absent."""
    domains: np.ndarray | None = None
    """(N,) int64, an arbitrary number for each source data set, from 0 on; None where there is one data set."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class UnlabelledPairs:
    """Training clips to which the task gives no label, and the frozen features of their other modalities."""

    clips: ClipView
    features: Mapping[Modality, np.ndarray]
    """float32 (N, D) by modality."""

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class ClassTable:
    """The candidate classes, in score-column order."""

    names: tuple[str, ...]
    seen: np.ndarray
    """(K,) bool: True for classes with training clips."""
    texts: tuple[str, ...] | None = None
    """What was embedded for each class; None where the task uses no text."""
    embeddings: np.ndarray | None = None
    """float32 (K, D) unit rows; None where the task uses no text, or the embeddings were not requested."""
    slots: Mapping[str, np.ndarray] = field(default_factory=dict)
    """float32 (K, D) unit rows of the other texts of a class, by text slot: those that the method asked for."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, columns: np.ndarray, seen: np.ndarray) -> ClassTable:
        """The table of some of the classes, with its own seen mask."""
        return ClassTable(
            tuple(self.names[c] for c in columns),
            seen,
            None if self.texts is None else tuple(self.texts[c] for c in columns),
            None if self.embeddings is None else self.embeddings[columns],
            {slot: rows[columns] for slot, rows in self.slots.items()},
        )


@dataclass(frozen=True)
class Problem:
    """All that a method may see of a task. No test label, no test sample id, ever."""

    task: str
    family: str
    metric: str
    """Name of the task's main metric, for choosing on validation."""
    classes: ClassTable
    train: LabelledClips
    validation: LabelledClips | None
    """Held-out training-side clips; in zero-shot they include clips of classes that ``train`` lacks."""
    target_unlabelled: ClipView | None = None
    """None unless the method's setting is transductive. The test clips; in the selection fit, the validation clips."""
    target: ClipView | None = None
    """Clips of the target's training side; None unless the method's setting is unlabelled."""
    few_shot: LabelledClips | None = None
    """Labelled clips of the target's training side, as many of each class; None unless the method's setting is
    few-shot."""
    unlabelled: UnlabelledPairs | None = None
    """The other clips of the training side where the task gives a label to a share of them alone; None unless the
    method reads them."""
    draws: tuple[Problem, ...] = ()
    """The same choice on other pseudo-unseen classes, for methods that average over several draws of them."""


def mapped_to_layout(view: ClipView, target: str | Layout) -> ClipView:
    """A view with every joint of layout ``target`` computed from the view's own layout, by :func:`.joint_matrix`."""
    if get_layout(view.layout) == get_layout(target):
        return view
    mapped = copy(view)
    mapped.layout = target
    mapped._positions = map_joints(view._positions, joint_matrix(view.layout, target))
    return mapped


Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with a phase, the steps done, the steps in all, and figures to show."""


def silent(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """A :data:`Progress` that shows nothing."""


@dataclass(frozen=True)
class Context:
    """What a fit gets besides the problem: seed, device, folders, progress."""

    seed: int
    folder: Path
    """The method's own folder for scratch files and checkpoints; after a kill, its files are still there."""
    device: str = "cpu"
    progress: Progress = silent
    chosen: Mapping[str, Any] | None = None
    """What an earlier fit chose on validation (epoch, hyper-parameters); None: choose, or use the preset's own."""
    choice: Callable[[], Mapping[str, Any] | None] | None = None
    """For a fit that begins before an earlier one has chosen: tells, between epochs, what was chosen, or None while
    nothing is. Any epoch may turn out to be the last, so all are kept until then. Other fits have no such function."""
    shared: Path | None = None
    """Folder for what other jobs can use as well, such as a frozen extractor; None: nothing is shared."""
    shared_seed: int | None = None
    """Seed of what is shared: of the task, the job's seed and this fit, not of the method; None: ``seed``."""
    scalars: Path | None = None
    """Folder for the training's scalars in the form of TensorBoard; None: they are not written."""


@dataclass
class FitReport:
    """What a fit leaves besides the fitted method."""

    chosen: dict[str, Any] = field(default_factory=dict)
    """Settings chosen on ``problem.validation``, to be used by the fit on all training clips, e.g. ``{"epoch": 17}``.
    The method now holds the state that they name."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: epoch, losses, validation figure."""
    snapshot: int | None = None
    """The one of the method's snapshots that it now holds; None where it keeps none."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Facts to record in the result, such as which losses were used."""
    calibration: float | None = None
    """That of seen against unseen classes, where it comes from more than ``problem.validation``; None: fit it there."""
    shared_seconds: float = 0.0
    """Seconds of the fit for what other methods share, such as an extractor and its features: they are not counted as
    the method's own."""
