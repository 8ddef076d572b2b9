"""Prototypes: class texts are replaced by the mean of clips that are surely of the class (Zhou et al., IEEE TIP 2025).

PGFA's test-time step, on any base that maps clips to the space of class texts. Clips and texts are compared by cosine.
Of the clips that are predicted as a class, the share with the lowest entropy of the softmax of their cosines is taken;
the mean of their unit vectors replaces the text of the class. A class with less than one such clip keeps its text.

Differences from the release: the share is chosen on validation, where theirs is set for each data set by its test
figure; clips are assigned to seen and unseen classes after a calibration that is fitted on validation, where theirs
are known to be of unseen classes; and the means are of one pass over all clips, then fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.transductive import BaseClips, Choice, TransductiveMethod, TransductiveSettings
from mmcl_bench.protocols.problem import ClipView


class Prototypes(TransductiveMethod):
    """The share of clips is chosen on validation."""

    name: ClassVar[str] = "prototypes"
    summary: ClassVar[str] = "means of surely predicted test clips in the place of class texts; on another method"
    kind: ClassVar[str] = "test-time"
    published: ClassVar[str] = "IEEE TIP 2025"
    cost: ClassVar[str] = "a minute"

    class Settings(TransductiveSettings):
        base: str = "pgfa"
        shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
            *(0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0),
        )
        """Shares of the clips that are predicted as a class, to choose from."""

        @classmethod
        def lacks(cls, base: type[Method]) -> str:
            return "" if base.embed is not Method.embed else "maps clips to no space of class texts"

    settings: Settings

    def choices(self) -> Sequence[Choice]:
        return [{"share": share} for share in self.settings.shares]

    def vectors(self, clips: ClipView) -> np.ndarray:
        embedded = self.base.embed(clips)
        if embedded is None:
            raise ValueError(f"{self.settings.base} maps these clips to no space of class texts")
        return unit(embedded.astype(np.float64))

    def base_scores(self, clips: ClipView, vectors: np.ndarray) -> np.ndarray:
        cosines: np.ndarray = vectors @ unit(self.texts).T
        return cosines

    def kept_of(self, clips: BaseClips, choice: Choice) -> dict[str, np.ndarray]:
        return {"prototypes": prototypes(clips, self.texts, choice["share"])}

    def adapted(self, clips: BaseClips, kept: Mapping[str, np.ndarray], choice: Choice) -> np.ndarray:
        cosines: np.ndarray = clips.vectors @ unit(kept["prototypes"]).T
        return cosines


def prototypes(clips: BaseClips, texts: np.ndarray, share: float) -> np.ndarray:
    """(K, E): for each class the mean vector of a share of the clips that are predicted as it, or else its text."""
    found = texts.astype(np.float64)
    for column, of_class in enumerate(clips.most_confident()):
        if taken := int(share * len(of_class)):
            found[column] = clips.vectors[of_class[:taken]].mean(axis=0)
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (..., E) of length 1; a row of zeros stays."""
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return scaled
