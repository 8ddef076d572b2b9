"""Skeleton-Cache: clips that are surely predicted vote for their class by how alike a clip is (NeurIPS 2025).

A cache holds, for each class, the clips of lowest entropy among those that are predicted as it. Eight descriptors of a
clip's feature map are compared: the means over four body parts, over three thirds of time, and over all. With beta, a
cached clip votes exp(-beta (1 - cos)) for its class; s is the mean of the votes for a class and over descriptors, and
the scores are those of the base plus alpha s.

Differences from the release: alpha and beta are chosen on validation, where the release prints the best of its grid on
the test set; descriptors count alike, where weights for each class come from a language model; a clip that is nearly
of a second class is not entered there as well; the cache is filled once from all clips, by the entropy of the base's
calibrated scores, where the release fills it as clips come, by that of the adapted ones. The release adds up the votes
for a class; where seen and unseen classes come mixed, few caches are full, and the number of clips in a cache would
outweigh how alike they are. And alpha is in units of the spread of the base's scores, so that one list of them suits
every base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.methods.shared.transductive import BaseClips, Choice, TransductiveMethod, TransductiveSettings
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.layouts import PARTS, get_layout

_Numbers = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
_AT_ONCE = 256


class SkeletonCache(TransductiveMethod):
    """Weight and sharpness of votes are chosen on validation."""

    name: ClassVar[str] = "skeleton-cache"
    summary: ClassVar[str] = "votes of surely predicted test clips, by parts of the body and of time; on another method"
    kind: ClassVar[str] = "test-time"
    published: ClassVar[str] = "NeurIPS 2025"
    cost: ClassVar[str] = "a minute"

    class Settings(TransductiveSettings):
        base: str = "smie"
        size: int = Field(default=8, ge=1)
        """Most clips of a class in the cache."""
        alphas: _Numbers = (0.5, 1.0, 2.0, 3.0, 5.0)
        """Weights of the votes, to choose from."""
        betas: _Numbers = (3.0, 5.0, 9.0, 20.0)
        """How sharply votes fall with distance, to choose from."""

        @classmethod
        def lacks(cls, base: type[Method]) -> str:
            return "" if issubclass(base, FeatureMethod) else "has no feature maps of the shared extractor"

    settings: Settings

    def choices(self) -> Sequence[Choice]:
        return [{"alpha": alpha, "beta": beta} for alpha, beta in product(self.settings.alphas, self.settings.betas)]

    def vectors(self, clips: ClipView) -> np.ndarray:
        if not isinstance(self.base, FeatureMethod):
            raise ValueError(f"{self.settings.base} has no feature maps")
        layout, maps = get_layout(clips.layout), self.base.features(clips, maps=True).maps
        if maps is None:
            raise ValueError("the extractor gave no feature maps")
        joints = [[layout.index(joint) for joint in layout.parts[part]] for part in PARTS]
        batches = torch.from_numpy(maps).split(_AT_ONCE)
        return torch.cat([descriptors(batch.float(), joints) for batch in batches]).numpy()

    def kept_of(self, clips: BaseClips, choice: Choice) -> dict[str, np.ndarray]:
        cached = [of_class[: self.settings.size] for of_class in clips.most_confident()]
        return {
            "descriptors": clips.vectors[np.concatenate(cached)],
            "classes": np.repeat(np.arange(len(cached)), [len(of_class) for of_class in cached]),
            "spread": np.array(clips.spread),
        }

    def adapted(self, clips: BaseClips, kept: Mapping[str, np.ndarray], choice: Choice) -> np.ndarray:
        n_classes = clips.scores.shape[1]
        votes = votes_by_class(clips.vectors, kept["descriptors"], kept["classes"], n_classes, choice["beta"])
        scores: np.ndarray = clips.scores / kept["spread"] + choice["alpha"] * votes
        return scores


def descriptors(maps: Tensor, joints: Sequence[Sequence[int]]) -> Tensor:
    """Maps (N, D, T', V) -> (N, 8, D) of unit length: the mean over the joints of each of four parts and all frames,
    over each third of the frames, and over all."""
    parts = [maps[..., list(part)].mean((2, 3)) for part in joints]
    thirds = F.adaptive_avg_pool1d(maps.mean(3), 3).unbind(2)
    return F.normalize(torch.stack([*parts, *thirds, maps.mean((2, 3))], dim=1), dim=2)


def votes_by_class(
    vectors: np.ndarray, cached: np.ndarray, classes: np.ndarray, n_classes: int, beta: float
) -> np.ndarray:
    """(N, K): for clips (N, 8, D), the mean vote of the cached clips (M, 8, D) of a class (M,); 0 without any."""
    alike = [np.exp(-beta * (1 - vectors[:, at] @ cached[:, at].T)) for at in range(vectors.shape[1])]
    votes: np.ndarray = np.mean(alike, axis=0) @ np.eye(n_classes)[classes]
    return votes / np.maximum(np.bincount(classes, minlength=n_classes), 1)
