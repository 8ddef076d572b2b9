"""Ranks of methods over tasks, and whether they differ by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from mmcl_bench.evaluation.statistics import holm

if TYPE_CHECKING:
    import pandas as pd


PostHoc = Literal["nemenyi", "wilcoxon-holm"]


@dataclass(frozen=True)
class Ranks:
    """Methods by their mean rank over tasks; the data of a critical-difference diagram."""

    methods: tuple[str, ...]
    """By rising mean rank: the best first."""
    average: tuple[float, ...]
    """Mean rank of each, 1 is best; equal figures share the mean of their ranks."""
    n_tasks: int
    friedman_p: float
    """Of Friedman's test that all methods are alike; nan for two methods, for which it is not defined."""
    posthoc: PostHoc
    critical_difference: float
    """Nemenyi: mean ranks further apart than this differ. nan for ``wilcoxon-holm``, which compares pair by pair."""
    p_values: np.ndarray
    """float64 (M, M), post-hoc p-values in the order of ``methods``; 1 on the diagonal."""
    cliques: tuple[tuple[str, ...], ...]
    """Longest runs of neighbouring methods of which no two differ: the bars of the diagram. Two methods or more each.
    """
    level: float


def ranks(table: pd.DataFrame, posthoc: PostHoc = "nemenyi", level: float = 0.95) -> Ranks:
    """Ranks of methods over tasks: Friedman's test, then which methods differ (Demsar, JMLR 7, 2006).

    ``table`` has a row a task and a column a method, higher is better. ``nemenyi`` compares mean ranks over all
    methods; ``wilcoxon-holm`` compares two methods by their figures alone (Benavoli, Corani, Mangili, JMLR 17, 2016)
    and so does not change with who else is in the table. Where Friedman's test finds nothing at ``1 - level``, no two
    methods differ.

    Raises :class:`ValueError` with fewer than two methods or two tasks, or where a figure is missing.
    """
    figures = table.to_numpy(dtype=np.float64)
    n_tasks, n_methods = figures.shape
    if n_tasks < 2 or n_methods < 2:
        raise ValueError(f"ranks need two methods and two tasks at least, not {n_methods} and {n_tasks}")
    if np.isnan(figures).any():
        raise ValueError("ranks need a figure of every method on every task")
    # Figures that differ in the last bits of their arithmetic are equal.
    figures = figures.round(12)
    mean_ranks = stats.rankdata(-figures, axis=1).mean(axis=0)
    order = np.argsort(mean_ranks, kind="stable")
    friedman_p = _friedman_p(figures)
    p_values = _posthoc_p(figures[:, order], posthoc)
    if friedman_p > 1 - level:
        p_values[:] = 1.0
    methods = tuple(str(table.columns[i]) for i in order)
    return Ranks(
        methods=methods,
        average=tuple(float(mean) for mean in mean_ranks[order]),
        n_tasks=n_tasks,
        friedman_p=friedman_p,
        posthoc=posthoc,
        critical_difference=_nemenyi_difference(n_methods, n_tasks, level) if posthoc == "nemenyi" else math.nan,
        p_values=p_values,
        cliques=tuple(methods[first:last] for first, last in _runs_alike(p_values > 1 - level)),
        level=level,
    )


def _friedman_p(figures: np.ndarray) -> float:
    if figures.shape[1] < 3:
        return math.nan
    if (figures == figures[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*figures.T).pvalue)


def _posthoc_p(figures: np.ndarray, posthoc: PostHoc) -> np.ndarray:
    """float64 (M, M), by scikit-posthocs."""
    import scikit_posthocs

    if posthoc == "nemenyi":
        return np.array(scikit_posthocs.posthoc_nemenyi_friedman(figures), dtype=np.float64)

    def wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
        if np.array_equal(a, b):
            return 1.0
        return float(scikit_posthocs.posthoc_wilcoxon([a, b], zero_method="zsplit").iloc[0, 1])

    pairs = list(combinations(range(figures.shape[1]), 2))
    adjusted = holm([wilcoxon(figures[:, i], figures[:, j]) for i, j in pairs])
    found = np.eye(figures.shape[1])
    for (i, j), p_value in zip(pairs, adjusted, strict=True):
        found[i, j] = found[j, i] = p_value
    return found


def _nemenyi_difference(n_methods: int, n_tasks: int, level: float) -> float:
    """q sqrt(M (M + 1) / 6 N), Demsar, section 3.2.2; q is the studentized range over sqrt 2."""
    q = float(stats.studentized_range.isf(1 - level, n_methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(n_methods * (n_methods + 1) / (6 * n_tasks))


def _runs_alike(alike: np.ndarray) -> list[tuple[int, int]]:
    """The longest runs [first, last) of two or more neighbours that are all alike, by a symmetric bool (M, M)."""
    n_methods = len(alike)
    found: list[tuple[int, int]] = []
    for first in range(n_methods):
        last = first + 1
        while last < n_methods and alike[first : last + 1, first : last + 1].all():
            last += 1
        if last - first > 1 and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
