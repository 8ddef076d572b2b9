"""A skeleton network that is trained once on the seen classes of a fit and then frozen.

Zero-shot methods on frozen features share it: which network, how it is trained and on what, decide its folder, so the
second method of a run finds it there. Its classes are the seen ones of its fit alone, so the first fit, which chooses
on pseudo-unseen classes, has an extractor that has seen none of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import is_read_only, write_atomically, write_text
from mmcl_bench.core.version import series
from mmcl_bench.methods.shared.network_method import SCORED_SHARE
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.methods.skeleton_only import SkeletonOnly
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols.problem import ClipView, Context, LabelledClips, Problem
from mmcl_bench.skeleton.augmentation import Transform, centre_crop
from mmcl_bench.skeleton.layouts import Layout
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last

VERSION = 1
"""Raised when a change of the extractor changes its features."""
CHOSEN = "extractor"
"""The entry of what a first fit chose that belongs to its extractor."""
_REPORT = "report.json"
_AT_ONCE = 64
"""Clips whose features by frame and joint are computed together."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """What a frozen extractor gives for some clips."""

    pooled: np.ndarray
    """float32 (N, D), the mean over frames, joints and bodies."""
    logits: np.ndarray
    """float32 (N, S), of the seen classes."""
    maps: np.ndarray | None = None
    """float16 (N, D, T', V), features by frame and joint; None where they were not asked for."""

    def __len__(self) -> int:
        return len(self.pooled)


class Extractor(SkeletonOnly):
    """The network of ``skeleton-only``, trained with cross-entropy."""

    folder: Path | None = None
    """Where its features are kept; None: they are not."""

    def features(self, clips: ClipView, maps: bool = False) -> Features:
        """Features of clips, from disk where they are kept."""
        if self.folder is None:
            return self._computed(clips, maps)
        path = self.folder / f"{clips.fingerprint()[:32]}{'-maps' if maps else ''}.safetensors"
        try:
            return Features(**load_file(path))
        except (OSError, SafetensorError, TypeError):
            found = self._computed(clips, maps)
        arrays = {name: array for name, array in vars(found).items() if array is not None}
        write_atomically(path, lambda draft: save_file(arrays, draft))
        return found

    @property
    def network(self) -> SkeletonNetwork:
        """The network itself."""
        return self._network

    @property
    def layout(self) -> Layout:
        """The joint layout of its input."""
        return self._layout

    def to_last_block(
        self, clips: ClipView, vary: torch.Generator | None = None, augment: Transform | None = None
    ) -> PreparedTracks:
        """What the backbone's last block takes of each body, on the host, a clip having as many as the network does.

        With a generator clips are augmented, as in training or by ``augment``, which is told each track's clip by its
        place among ``clips``; else they are as they are scored.
        """
        prepared, settings = self.settings.prepare(clips), self.settings
        augment = augment or settings.augmentation(self._layout)
        self._network.eval()
        taken = []
        for some in torch.arange(prepared.n_clips).split(_AT_ONCE):
            tracks, clip = prepared.batch(some)
            varied = (
                centre_crop(tracks, settings.n_frames, SCORED_SHARE)
                if vary is None
                else augment(tracks, some[clip], vary)
            )
            streams = self._streams(varied)
            if settings.n_bodies == 1:
                bodies = streams.unsqueeze(-1)
            else:
                bodies = bodies_last(streams, clip, len(some), settings.n_bodies)
            taken.append(self._network.backbone.to_last_block(bodies.to(self._network.device)).detach().cpu())
        clip = prepared.clip
        if settings.n_bodies > 1:
            clip = torch.arange(prepared.n_clips).repeat_interleave(settings.n_bodies)
        return PreparedTracks(torch.cat(taken), clip, prepared.n_clips)

    def features_of(self, prepared: PreparedTracks, clips: Tensor) -> Tensor:
        """(N, D) of the chosen ``clips`` (N,) int64, in the mode that the network is in, with gradients."""
        tracks, clip = prepared.batch(clips)
        streams = self._streams(centre_crop(tracks, self.settings.n_frames, SCORED_SHARE))
        device = self._network.device
        return self._network.global_feature(streams.to(device), clip.to(device), len(clips))

    def _computed(self, clips: ClipView, maps: bool) -> Features:
        prepared, network = self.settings.prepare(clips), self._network
        width = network.backbone.feature_channels
        both = self._by_clip(prepared, lambda pooled: torch.cat([pooled, network.backbone.classify(pooled)], dim=1))
        pooled, logits = np.ascontiguousarray(both[:, :width]), np.ascontiguousarray(both[:, width:])
        if not maps:
            return Features(pooled, logits)
        by_batch = [found.half().cpu() for found in self._of_batches(prepared, network.feature_map)]
        return Features(pooled, logits, torch.cat(by_batch).numpy())


def trained_extractor(
    problem: Problem, context: Context, settings: NetworkSettings
) -> tuple[Extractor, dict[str, Any]]:
    """The extractor of a fit and what was chosen for it: read from disk, or trained.

    With validation clips its epoch is chosen on those of seen classes; else it is that in ``context.chosen``. Of jobs
    that need the same one at once, one trains it and the others wait.
    """
    classification = _classification(problem)
    chosen = None if context.chosen is None else context.chosen[CHOSEN]
    seed = context.seed if context.shared_seed is None else context.shared_seed
    key = _key(classification, settings, chosen, seed, context.device)
    folder = _place(context) / key
    extractor = Extractor(**settings.as_json())
    with FileLock(folder.with_name(f".{key}.lock")):
        found = _read(extractor, folder, context.device)
        if found is None:
            shutil.rmtree(folder / "features", ignore_errors=True)
            given = replace(context, seed=seed, folder=folder / "work", chosen=chosen, scalars=None)
            found = extractor.fit(classification, given).chosen
            extractor.save(folder)
            write_text(folder / _REPORT, json.dumps(found))
            shutil.rmtree(folder / "work")
            # Read again, so that the features are those of any job that finds it.
            extractor.load(folder, context.device)
    extractor.folder = folder / "features"
    # Another number of clips may give the fit another number of epochs; their share is what was chosen.
    return extractor, found if chosen is None else chosen


def _place(context: Context) -> Path:
    """The folder of extractors: the shared one, or the fit's own where nothing can be written there."""
    place = (context.shared or context.folder) / "extractors"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        if context.shared is None or not is_read_only(error):
            raise
        return _place(replace(context, shared=None))


def _read(extractor: Extractor, folder: Path, device: str) -> dict[str, Any] | None:
    """What was chosen for the extractor in ``folder``, which is loaded; None where there is none that is whole."""
    try:
        chosen: dict[str, Any] = json.loads((folder / _REPORT).read_bytes())
        extractor.load(folder, device)
    except FileNotFoundError:
        return None
    except (UserError, ValueError) as error:
        _LOG.warning("%s; the extractor is trained again", error)
        return None
    return chosen


def _classification(problem: Problem) -> Problem:
    """The recognition of the seen classes on the same clips, which is what the extractor learns."""
    columns = np.flatnonzero(problem.classes.seen)
    classes = replace(problem.classes.take(columns, np.ones(len(columns), dtype=bool)), texts=None, embeddings=None)
    held_out = problem.validation
    return replace(
        problem,
        family="supervised",
        metric="top1",
        classes=classes,
        train=_of_classes(problem.train, columns),
        validation=None if held_out is None else _of_classes(held_out, columns),
        target_unlabelled=None,
        target=None,
        few_shot=None,
    )


def _of_classes(clips: LabelledClips, columns: np.ndarray) -> LabelledClips:
    """The clips of the classes in ``columns``, labelled by their places there, without other modalities."""
    kept = np.flatnonzero(np.isin(clips.labels, columns))
    view = clips.clips
    if len(kept) < len(clips):
        view = ClipView([view.bodies(int(at)) for at in kept], view.n_frames[kept].tolist(), view.layout)
    return LabelledClips(view, np.searchsorted(columns, clips.labels[kept]), clips.subjects[kept], {})


def _key(problem: Problem, settings: NetworkSettings, chosen: Any, seed: int, device: str) -> str:
    """The sha256 of everything that the extractor depends on."""
    sides = [problem.train] if problem.validation is None else [problem.train, problem.validation]
    content = {
        "version": [VERSION, SkeletonOnly.version, torch.__version__, *series()],
        "backbone": BACKBONES.get(settings.backbone).version,
        "settings": settings.as_json(),
        "classes": problem.classes.names,
        "clips": [[side.clips.fingerprint(), hashlib.sha256(side.labels.tobytes()).hexdigest()] for side in sides],
        "chosen": chosen,
        "seed": seed,
        # Last digits follow from these.
        "device": torch.device(device).type,
        "threads": torch.get_num_threads(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
