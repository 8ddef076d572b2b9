"""What a step of a training, or a setting, is chosen by: figures on validation, or scores that need no target label.

The label-free scores are those of scikit-adaptation (``skada.metrics``), on arrays in the place of its estimators.
Differences from its version 0.6: entropy is summed over classes, not averaged; and a weight of deep embedded validation
multiplies the loss of its own clip, where the default loss there multiplies all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from scipy.special import entr, log_softmax, softmax

ChosenBy = Literal["source", "entropy", "snd", "dev", "mixval"]
"""``source`` is the figure on held-out source clips; the others are label-free scores."""
SOURCE: ChosenBy = "source"
TITLES: Mapping[ChosenBy, str] = {
    SOURCE: "held-out source clips",
    "entropy": "prediction entropy",
    "snd": "soft neighbourhood density",
    "dev": "deep embedded validation",
    "mixval": "MixVal",
}
LABEL_FREE: tuple[ChosenBy, ...] = tuple(by for by in TITLES if by != SOURCE)
MOST_CLIPS = 1000
"""Clips of each domain that label-free scores are computed from, as one of them compares all pairs of clips."""
MIXED_SHARE = 0.55
"""Of MixVal: the share of a clip in a mixture; its partner has the rest."""
_LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Observed:
    """What label-free scores are computed from; features are what the classifier is applied to."""

    source: np.ndarray
    """(S, D), features of source training clips."""
    held_out: np.ndarray
    """(H, D), features of held-out source clips."""
    held_out_logits: np.ndarray
    """(H, K)."""
    held_out_labels: np.ndarray
    """(H,) int64."""
    target: np.ndarray
    """(N, D), features of unlabelled target training clips."""
    logits: np.ndarray
    """(N, K), of the target clips."""
    partners: np.ndarray
    """(N,) int64, the target clip that each is mixed with; see :func:`partners`."""
    mixed_logits: np.ndarray
    """(N, K), of the mixtures."""

    def scores(self) -> dict[str, float]:
        """All label-free scores by column of a history, see :func:`column_of`; higher is better."""
        of_held_out = log_softmax(np.asarray(self.held_out_logits, dtype=float), axis=1)
        losses = -of_held_out[np.arange(len(of_held_out)), self.held_out_labels]
        found: dict[ChosenBy, float] = {
            "entropy": certainty(self.logits),
            "snd": neighbourhood_density(self.logits),
            "dev": -estimated_target_loss(
                self.source, self.target, self.held_out, np.minimum(losses, -np.log(_LEAST_PROBABILITY))
            ),
            "mixval": mixture_consistency(self.logits.argmax(1), self.partners, self.mixed_logits.argmax(1)),
        }
        return {column_of(by): score for by, score in found.items()}


def column_of(by: ChosenBy) -> str:
    """The column of a training's history that holds what is chosen by."""
    return "validation" if by == SOURCE else f"{by}_score"


def smoothed(history: Sequence[Mapping[str, float]], by: ChosenBy = SOURCE) -> dict[int, float]:
    """The figure of each step that is chosen by, averaged with its neighbours'; last step first, as the later of equals
    is chosen."""
    figures = [row[column_of(by)] for row in history]
    smooth = [fmean(figures[max(0, at - 1) : at + 2]) for at in range(len(figures))]
    return {int(row["epoch"]): figure for row, figure in reversed(list(zip(history, smooth, strict=True)))}


def partners(n_clips: int) -> np.ndarray:
    """(N,) int64, the clip that each is mixed with: a random permutation, always the same."""
    return np.random.default_rng(0).permutation(n_clips)


def certainty(logits: np.ndarray) -> float:
    """Minus the mean entropy, in nats, of predictions from logits (N, K).

    Morerio, Cavazza, Murino, "Minimal-Entropy Correlation Alignment", ICLR 2018, arXiv 1711.10288.
    """
    return -float(entr(softmax(np.asarray(logits, dtype=float), axis=1)).sum(axis=1).mean())


def neighbourhood_density(logits: np.ndarray, temperature: float = 0.05) -> float:
    """Mean entropy of a clip's similarities to the others, of predictions from logits (N, K): high in dense clusters.

    Soft neighbourhood density; Saito et al., "Tune it the Right Way", ICCV 2021, arXiv 2108.10860.
    """
    predicted = softmax(np.asarray(logits, dtype=float), axis=1)
    predicted /= np.linalg.norm(predicted, axis=1, keepdims=True)
    similarity = predicted @ predicted.T / temperature
    # A clip is not its own neighbour: it gets the least weight.
    np.fill_diagonal(similarity, -1 / temperature)
    return float(entr(softmax(similarity, axis=1)).sum(axis=1).mean())


def estimated_target_loss(source: np.ndarray, target: np.ndarray, held_out: np.ndarray, losses: np.ndarray) -> float:
    """The target's loss, from the losses (H,) of held-out source clips, weighed by how like target clips they are.

    Arguments are features (S, D), (N, D), (H, D). The density ratios come from a classifier of the domains, and the
    weights are a control variate. Deep embedded validation; You et al., ICML 2019.
    """
    # Imported here, as tables read this module.
    from sklearn.linear_model import LogisticRegression

    domains = np.repeat([0, 1], [len(source), len(target)])
    classifier = LogisticRegression(max_iter=1000).fit(np.concatenate([source, target]), domains)
    weights = len(source) / len(target) * np.exp(classifier.decision_function(held_out))
    covariance = np.cov(weights * losses, weights) if len(weights) > 1 else np.zeros((2, 2))
    slope = -covariance[0, 1] / covariance[1, 1] if covariance[1, 1] else 0.0
    return float((weights * losses).mean() + slope * (weights.mean() - 1))


def mixture_consistency(predicted: np.ndarray, partners: np.ndarray, of_mixtures: np.ndarray) -> float:
    """The share of mixtures (N,) that are predicted as their larger part (N,).

    The mean of two shares: over partners of the same predicted class, and of another one. MixVal; Hu et al., "Mixed
    Samples as Probes for Unsupervised Model Selection in Domain Adaptation", NeurIPS 2023.
    """
    kept, same = of_mixtures == predicted, predicted == predicted[partners]
    return fmean(float(kept[some].mean()) for some in (same, ~same) if some.any())
