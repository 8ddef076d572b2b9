"""MMCL's teachers on the source, with another method's adaptation loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from methods.test_methods import N_CLASSES, clips, problem, settings
from mmcl_bench.core.grants import Setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.adaptation.mmcl_adapted import MMCLAdapted, MMCLAdaptedSettings
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, DomainBatch
from mmcl_bench.nn.losses import contrastive_loss
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality

ADAPTATION_LOSSES = get_args(MMCLAdaptedSettings.model_fields["adaptation_loss"].annotation)
TEACHERS = {Modality.RGB: 12, Modality.INSTRUCT: 6}


def taught(features: dict[Modality, int]) -> Problem:
    return replace(problem("transfer", features, Setting.UNLABELLED), validation=None)


def fitted(given: Problem, folder: Path, shared: Path, **changes: object) -> tuple[MMCLAdapted, FitReport]:
    kind = METHODS.get("mmcl-adapted")
    method = kind(**settings(kind, **changes))
    assert isinstance(method, MMCLAdapted)
    return method, method.fit(given, Context(seed=5, folder=folder, shared=shared, shared_seed=1))


@pytest.mark.parametrize(
    ("features", "losses"),
    [
        ({}, ["classification", "confusion"]),
        ({Modality.RGB: 12}, ["classification", "contrastive", "confusion"]),
        (TEACHERS, ["classification", "contrastive", "refinement", "confusion"]),
    ],
)
def test_it_learns_from_what_the_source_has_and_says_so(
    features: dict[Modality, int], losses: list[str], tmp_path: Path, shared: Path
) -> None:
    _, report = fitted(taught(features), tmp_path, shared, adaptation_loss="mcc")
    assert report.notes["losses"] == losses


def test_a_teacher_that_is_off_is_not_asked_for_and_not_heard(tmp_path: Path, shared: Path) -> None:
    method, report = fitted(taught(TEACHERS), tmp_path, shared, adaptation_loss="mcc", fam=False)
    assert set(method.encoders()) == {Modality.INSTRUCT}
    assert report.notes["losses"] == ["classification", "refinement", "confusion"]


@pytest.mark.parametrize("name", ADAPTATION_LOSSES)
def test_on_skeletons_alone_it_is_the_method_whose_loss_is_added(name: str, tmp_path: Path, shared: Path) -> None:
    method, _ = fitted(taught({}), tmp_path, shared, adaptation_loss=name, rate=0.01)
    kind = METHODS.get(name)
    # The discriminators are of the width that the paper's preset has.
    alone = kind(**settings(kind, rate=0.01, **({"width": 1024} if "width" in kind.Settings.model_fields else {})))
    alone.fit(taught({}), Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))
    np.testing.assert_allclose(method.score(clips(4, 3)), alone.score(clips(4, 3)), rtol=1e-4, atol=1e-5)


def test_a_teacher_s_row_is_that_of_the_clip_and_weights_are_mmcl_s(tmp_path: Path, shared: Path) -> None:
    given = taught(TEACHERS)
    method, _ = fitted(given, tmp_path, shared, adaptation_loss="afn", adaptation_weight=3.0)
    draw = torch.Generator().manual_seed(0)
    features, logits = torch.randn(3, 8, generator=draw), torch.randn(3, N_CLASSES, generator=draw)
    places, labels = torch.tensor([7, 2, 11]), torch.tensor([2, 2, 1])
    side = DomainBatch(features, logits, places)
    losses = method.added_losses(AdaptationBatch(side, labels, labels, side, lambda: logits, 0.5, 1))
    rgb, answers = (torch.from_numpy(given.train.features[each])[places] for each in TEACHERS)
    parts = dict(method.parts.named_children())
    weights = parts["frm"].instruct(answers).softmax(1)  # type: ignore[operator, union-attr]
    refined = (weights[:, :1] * parts["frm"].positive + weights[:, 1:] * parts["frm"].negative) * logits
    expected = {
        "contrastive": (0.1, contrastive_loss(features, parts["fam"].align(rgb), 0.4)),  # type: ignore[operator]
        "refinement": (0.2, F.cross_entropy(refined, labels)),
        "norm": (3.0 * 0.05, torch.tensor(2.0)),
    }
    assert losses.keys() == expected.keys()
    for name, (weight, loss) in losses.items():
        assert weight == pytest.approx(expected[name][0])
        torch.testing.assert_close(loss, expected[name][1])


def test_teachers_change_what_is_learned_and_are_not_saved(tmp_path: Path, shared: Path) -> None:
    scores = []
    for name, features in (("alone", {}), ("taught", TEACHERS)):
        method, _ = fitted(taught(features), tmp_path / name, shared, adaptation_loss="mcc")
        (tmp_path / name / "model").mkdir(parents=True, exist_ok=True)
        method.save(tmp_path / name / "model")
        read = MMCLAdapted(**method.settings.as_json())
        read.load(tmp_path / name / "model")
        scores.append(method.score(clips(4, 3)))
        np.testing.assert_array_equal(read.score(clips(4, 3)), scores[-1])
    assert not np.allclose(*scores)


def test_losses_that_can_be_added_are_all_a_method_adds() -> None:
    for name in ADAPTATION_LOSSES:
        kind = METHODS.get(name)
        assert issubclass(kind, AdaptationMethod)
        assert kind.setting is Setting.UNLABELLED
        for kept in ("classification_loss", "logits_of", "varied", "fit"):
            assert getattr(kind, kept) is getattr(AdaptationMethod, kept)


def test_a_new_version_of_a_loss_is_one_of_this_method_too() -> None:
    """A job names the loss but not its version: where that rises, raise the version here and in the method."""
    of_losses = {name: METHODS.get(name).version for name in ADAPTATION_LOSSES}
    assert (MMCLAdapted.version, of_losses) == (1, dict.fromkeys(ADAPTATION_LOSSES, 1))
