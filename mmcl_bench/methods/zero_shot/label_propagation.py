"""Label propagation: surely predicted clips label their neighbours.

The baseline that methods of test-time adaptation have to beat: scikit-learn's ``LabelSpreading`` (Zhou et al.,
"Learning with Local and Global Consistency", NeurIPS 2003) on the graph of nearest neighbours in the extractor's
features, or in the space that the base maps clips to. The labels are the base's predictions for the share of clips of
each class with the lowest entropy; the other clips are unlabelled. Share and number of neighbours are chosen on
validation.

A clip's label distribution is the mean of those of its nearest neighbours among the clips that were adapted to, as
``LabelSpreading.predict_proba`` has it; a clip that was among them is its own nearest. As it is zero for many classes,
it is added to the base's scores, which are divided by their spread, so that one weight suits every base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.methods.shared.transductive import BaseClips, Choice, TransductiveMethod, TransductiveSettings
from mmcl_bench.protocols.problem import ClipView

_UNLABELLED = -1


class LabelPropagation(TransductiveMethod):
    """The share of labelled clips and the number of neighbours are chosen on validation."""

    name: ClassVar[str] = "label-propagation"
    summary: ClassVar[str] = "surely predicted test clips label their neighbours (scikit-learn); on another method"
    kind: ClassVar[str] = "test-time"
    cost: ClassVar[str] = "a minute"

    class Settings(TransductiveSettings):
        base: str = "eszsl"
        shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (0.2, 0.5, 1.0)
        """Shares of the clips that are predicted as a class and label others, to choose from."""
        neighbours: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (5, 10, 20)
        """Numbers of nearest neighbours, a clip itself included, to choose from."""
        alpha: float = Field(default=0.2, gt=0, lt=1)
        """How much of a clip's distribution comes from its neighbours, rather than from its own label."""
        weight: float = Field(default=1.0, gt=0)
        """Of the distribution, beside the base's scores."""

        @classmethod
        def lacks(cls, base: type[Method]) -> str:
            usable = issubclass(base, FeatureMethod) or base.embed is not Method.embed
            return "" if usable else "has no features to compare clips by"

    settings: Settings

    def choices(self) -> Sequence[Choice]:
        both = product(self.settings.shares, self.settings.neighbours)
        return [{"share": share, "neighbours": neighbours} for share, neighbours in both]

    def vectors(self, clips: ClipView) -> np.ndarray:
        base = self.base
        found = base.features(clips).pooled if isinstance(base, FeatureMethod) else base.embed(clips)
        if found is None:
            raise ValueError(f"{self.settings.base} has no features of these clips")
        return found.astype(np.float64)

    def kept_of(self, clips: BaseClips, choice: Choice) -> dict[str, np.ndarray]:
        spread = propagated(clips, choice["share"], int(choice["neighbours"]), self.settings.alpha)
        return {"vectors": clips.vectors, "distributions": spread, "spread": np.array(clips.spread)}

    def adapted(self, clips: BaseClips, kept: Mapping[str, np.ndarray], choice: Choice) -> np.ndarray:
        found = NearestNeighbors(n_neighbors=min(int(choice["neighbours"]), len(kept["vectors"])))
        nearest = found.fit(kept["vectors"]).kneighbors(clips.vectors, return_distance=False)
        from_neighbours = kept["distributions"][nearest].mean(axis=1)
        scores: np.ndarray = clips.scores / kept["spread"] + self.settings.weight * from_neighbours
        return scores


def propagated(clips: BaseClips, share: float, neighbours: int, alpha: float) -> np.ndarray:
    """(N, K) label distributions, from the predictions for a share, and at least one, of the clips of each class."""
    labels = np.full(len(clips.scores), _UNLABELLED)
    for column, of_class in enumerate(clips.most_confident()):
        labels[of_class[: max(1, int(share * len(of_class)))]] = column
    model = LabelSpreading(kernel="knn", n_neighbors=min(neighbours, len(labels)), alpha=alpha, max_iter=1000)
    model.fit(clips.vectors, labels)
    found = np.zeros_like(clips.scores)
    found[:, model.classes_] = model.label_distributions_
    return found
