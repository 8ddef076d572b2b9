"""How far apart the features of two sets of clips are."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, euclidean_distances
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_FOLDS = 5


def proxy_a_distance(first: np.ndarray, second: np.ndarray, groups: tuple[np.ndarray, np.ndarray]) -> float:
    """2 (1 - 2 e) of features (N, D) and (M, D), e being the error of a linear classifier that tells which set a clip
    is of: 0 where it does no better than chance, 2 where it makes no error.

    Ben-David et al., "Analysis of Representations for Domain Adaptation", NIPS 2006. The error is cross-validated, and
    both sets count alike. ``groups``, (N,) and (M,), say which clips stay together, such as those of a person; each
    set needs two or more.
    """
    n_folds = min(_FOLDS, *(len(np.unique(of_set)) for of_set in groups))
    # Each set is divided by itself, so that every fold has clips of both.
    folds = np.concatenate([_folds(of_set, n_folds) for of_set in groups])
    sides = np.repeat([0, 1], [len(first), len(second)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    rows = np.concatenate([first, second]).astype(np.float64)
    predicted = cross_val_predict(classifier, rows, sides, cv=PredefinedSplit(folds))
    error = 1 - balanced_accuracy_score(sides, predicted)
    return max(0.0, 2 * (1 - 2 * float(error)))


def _folds(groups: np.ndarray, n_folds: int) -> np.ndarray:
    """(N,): the fold of each clip."""
    folds = np.zeros(len(groups), dtype=np.int64)
    for number, (_, held_out) in enumerate(GroupKFold(n_folds).split(groups, groups=groups)):
        folds[held_out] = number
    return folds


def squared_mmd(first: np.ndarray, second: np.ndarray) -> float:
    """The squared maximum mean discrepancy of features (N, D) and (M, D), an unbiased estimate that may be below 0.

    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, with a Gaussian kernel as wide as the median distance of two
    clips: about 0 where both are drawn alike, 2 at most. Training losses are in :mod:`mmcl_bench.nn.adaptation`; their
    kernels suit batches, and need memory for N M D numbers.
    """
    n, m = len(first), len(second)
    squares = euclidean_distances(np.concatenate([first, second]).astype(np.float64), squared=True)
    median = float(np.median(squares[np.triu_indices(n + m, 1)]))
    kernel = np.exp(-squares / (2 * max(median, 1e-12)))
    within = (kernel[:n, :n].sum() - n) / (n * (n - 1)) + (kernel[n:, n:].sum() - m) / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())
