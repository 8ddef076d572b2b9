"""Second-order alignment: which clips are compared, and that classes come closer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from methods.test_methods import problem, settings
from mmcl_bench.core.grants import Setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.adaptation.second_order_alignment import SecondOrderAlignment, of_classes
from mmcl_bench.nn.adaptation.moments import class_moments_loss
from mmcl_bench.protocols.problem import Context, LabelledClips

GIVEN = replace(problem("transfer", setting=Setting.FEW_SHOT), validation=None)


def few_clips() -> LabelledClips:
    assert GIVEN.few_shot is not None
    return GIVEN.few_shot


def fitted(folder: Path, shared: Path, few: LabelledClips | None = None, **changes: object) -> SecondOrderAlignment:
    kind = METHODS.get("second-order-alignment")
    method = kind(**settings(kind, few_steps=30, rate=0.02, dropout=0.0, **changes))
    assert isinstance(method, SecondOrderAlignment)
    given = replace(GIVEN, few_shot=few_clips() if few is None else few)
    method.fit(given, Context(seed=5, folder=folder, shared=shared, shared_seed=1))
    return method


def test_a_batch_has_as_many_clips_of_each_class_as_there_are_and_none_twice() -> None:
    labels = torch.tensor([0, 1, 1, 1, 1, 2, 2, 0])
    drawn = of_classes(labels, torch.tensor([1, 2]), 3, torch.Generator().manual_seed(0))
    assert labels[drawn].tolist() == [1, 1, 1, 2, 2]
    assert len(drawn.unique()) == 5


def distance(method: SecondOrderAlignment) -> float:
    """Of the classes' means and covariances, each side normalised by itself."""
    sides = []
    for given in (GIVEN.train, few_clips()):
        prepared = method.extractor.to_last_block(given.clips)
        method.normalise_by(prepared)
        sides += [method.network.all_features(prepared), torch.from_numpy(given.labels)]
    return class_moments_loss(*sides).item()


def test_classes_of_both_sides_come_closer(tmp_path: Path, shared: Path) -> None:
    without, with_it = (fitted(tmp_path / str(weight), shared, weight=weight) for weight in (0.0, 5.0))
    assert distance(with_it) < 0.5 * distance(without)


@pytest.mark.parametrize("n_few", [5, 2])
def test_one_clip_a_class_and_classes_without_any_are_no_obstacle(n_few: int, tmp_path: Path, shared: Path) -> None:
    few = few_clips()
    bodies = type(few.clips)([few.clips.bodies(at) for at in range(n_few)], [9] * n_few, few.clips.layout)
    fewer = LabelledClips(bodies, few.labels[:n_few], few.subjects[:n_few], {})
    method = fitted(tmp_path, shared, fewer, weight=1.0)
    assert torch.isfinite(method.network.classifier.weight).all()
