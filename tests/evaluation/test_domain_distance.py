"""Distances of features where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcl_bench.evaluation.domain_distance import proxy_a_distance, squared_mmd
from mmcl_bench.nn.adaptation.moments import _mmd


def drawn(seed: int, n: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)) + shift


def clips(*features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each clip by itself."""
    first, second = (np.arange(len(rows)) for rows in features)
    return first, second


def test_sets_drawn_alike_are_near_each_other() -> None:
    first, second = drawn(0, 400), drawn(1, 300)
    assert proxy_a_distance(first, second, clips(first, second)) < 0.2
    assert abs(squared_mmd(first, second)) < 0.01


def test_sets_without_overlap_are_as_far_apart_as_can_be() -> None:
    first, second = drawn(0, 40), drawn(1, 300, shift=50)
    assert proxy_a_distance(first, second, clips(first, second)) == 2
    assert squared_mmd(first, second) > 0.5


def test_the_proxy_is_the_error_of_the_best_line_where_that_is_known() -> None:
    """Two normal distributions two standard deviations apart along one axis: Bayes' error is Phi(-1) = 0.1587."""
    first, second = drawn(0, 3000), drawn(1, 3000) + np.array([2.0, 0, 0, 0])
    assert proxy_a_distance(first, second, clips(first, second)) == pytest.approx(2 * (1 - 2 * 0.1587), abs=0.06)


def test_people_who_are_told_apart_are_no_difference_of_sets() -> None:
    """Every person is a cluster of clips: known people are told by set, others are not."""
    people = np.random.default_rng(5).normal(size=(40, 60)) * 5
    features = np.repeat(people, 10, axis=0) + np.random.default_rng(6).normal(size=(400, 60))
    groups = np.repeat(np.arange(40), 10)
    first, second = (features[:200], features[200:])
    assert proxy_a_distance(first, second, clips(first, second)) > 1.9
    assert proxy_a_distance(first, second, (groups[:200], groups[200:])) < 1


def test_a_set_of_two_people_is_divided_between_them() -> None:
    first, second = drawn(0, 30), drawn(1, 30, shift=50)
    assert proxy_a_distance(first, second, (np.arange(30) > 28, np.arange(30))) == 2


def test_the_discrepancy_is_the_unbiased_estimate_of_its_formula() -> None:
    first, second = drawn(0, 7), drawn(1, 5, shift=1)
    rows = torch.tensor(np.concatenate([first, second]))
    squares = torch.cdist(rows, rows).square()
    median = np.median([float(squares[i, j]) for i in range(12) for j in range(i)])
    assert squared_mmd(first, second) == pytest.approx(float(_mmd(torch.exp(-squares / (2 * median)), 7, False)))


def test_clips_that_are_all_equal_have_no_distance() -> None:
    same = np.ones((6, 3))
    assert squared_mmd(same, same) == pytest.approx(0)
    assert proxy_a_distance(same, same, clips(same, same)) == 0
