"""Gates of the generalised setting: whether a clip is of a seen class, from how sure two classifiers are.

One classifier knows the seen classes, the other one the unseen classes. The gate of Gupta et al., "SynSE", ICIP 2021,
is a logistic regression on the largest probabilities of both. It is fitted on validation clips, where pseudo-unseen
classes stand for the unseen ones. A simpler one, with nothing to fit, is the ratio of the largest probabilities.

A gate's decision becomes the margin between the best seen and the best unseen class, so that calibration, which moves
the threshold, and the area under the seen-unseen curve are those of any method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

TEMPERATURES = tuple(range(1, 10))
"""Of the seen classifier's softmax, to choose from."""
_C = 2.0
"""SynSE's two-class multinomial model with C = 1 is the binary one with C = 2."""
_FOLDS = 5


@dataclass(frozen=True)
class Gate:
    """A fitted gate."""

    temperature: float
    top: int
    """How many of the largest probabilities of each classifier it reads."""
    coefficients: tuple[float, ...]
    intercept: float

    def margin(self, unseen: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(N,) log-odds that a clip is of a seen class, from logits of unseen (N, U) and of seen classes (N, S)."""
        inputs = gate_inputs(softmax(unseen, axis=1), seen, self.temperature, self.top)
        margin: np.ndarray = inputs @ np.array(self.coefficients) + self.intercept
        return margin

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "coefficients": list(self.coefficients)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Gate:
        return cls(**{**content, "coefficients": tuple(content["coefficients"])})


def gate_inputs(unseen: np.ndarray, seen: np.ndarray, temperature: float, top: int) -> np.ndarray:
    """(N, 2 * top): the largest probabilities of the unseen classes (N, U), largest first, and of the seen ones, whose
    logits (N, S) are divided by the temperature. Fewer classes than ``top`` have probabilities of 0 behind theirs."""
    both = (unseen, softmax(seen / temperature, axis=1))
    largest = [-np.sort(-probabilities, axis=1)[:, :top] for probabilities in both]
    return np.concatenate([np.pad(each, ((0, 0), (0, top - each.shape[1]))) for each in largest], axis=1)


def fit_gate(draws: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Gate:
    """The gate for logits of unseen (N, U) and seen classes (N, S) and the truth (N,) bool, of one or several draws of
    pseudo-unseen classes, with two clips of each side at least.

    The temperature is the first of those with the best cross-validated accuracy.
    """
    top = min(min(unseen.shape[1], seen.shape[1]) for unseen, seen, _ in draws)
    truth = np.concatenate([is_seen for *_, is_seen in draws])
    fewest = min(truth.sum(), (~truth).sum())
    folds = StratifiedKFold(min(_FOLDS, int(fewest)), shuffle=True, random_state=0)
    inputs = {
        temperature: np.concatenate(
            [gate_inputs(softmax(unseen, axis=1), seen, temperature, top) for unseen, seen, _ in draws]
        )
        for temperature in TEMPERATURES
    }
    accuracies = {
        temperature: cross_val_score(_model(), given, truth, cv=folds).mean() for temperature, given in inputs.items()
    }
    best = max(accuracies, key=lambda temperature: accuracies[temperature])
    model = _model().fit(inputs[best], truth)
    return Gate(best, top, tuple(model.coef_[0].tolist()), float(model.intercept_[0]))


def ratio_margin(unseen: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N,) the logarithm of the largest probability of the seen classes over that of the unseen ones, from logits of
    unseen (N, U) and of seen classes (N, S). Calibration sets the ratio from which a clip counts as seen."""
    margin: np.ndarray = log_softmax(seen, axis=1).max(axis=1) - log_softmax(unseen, axis=1).max(axis=1)
    return margin


def gated(unseen: np.ndarray, seen: np.ndarray, margin: np.ndarray, is_seen: np.ndarray) -> np.ndarray:
    """(N, K) scores: log-probabilities within each side, moved so that the best of the seen classes is ``margin`` (N,)
    above the best of the unseen ones. ``is_seen`` (K,) says which columns are whose."""
    scores = np.empty((len(margin), len(is_seen)))
    for columns, logits, half in ((is_seen, seen, margin / 2), (~is_seen, unseen, -margin / 2)):
        within = log_softmax(logits, axis=1)
        scores[:, columns] = within - within.max(axis=1, keepdims=True) + half[:, None]
    return scores


def _model() -> LogisticRegression:
    return LogisticRegression(C=_C, tol=1e-6, max_iter=5000)
