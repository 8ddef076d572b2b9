"""Every method with very few classes, and what it says before it trains anything where they are too few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.test_methods import clips, families, problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.methods.shared.gated_method import GatedMethod
from mmcl_bench.methods.shared.head_method import HeadBatch, HeadMethod
from mmcl_bench.methods.shared.network_method import NetworkMethod
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.methods.zero_shot.pgfa import PGFAHead
from mmcl_bench.protocols.problem import Context, LabelledClips, Problem
from mmcl_bench.training.loop import DivergedError, Losses, Trainer

ZERO_SHOT = [name for name, family in families() if family == "zero-shot"]
FEATURE_METHODS = [name for name in ZERO_SHOT if issubclass(METHODS.get(name), FeatureMethod)]
HEADS = [name for name in FEATURE_METHODS if issubclass(METHODS.get(name), HeadMethod)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where methods find what an earlier one has made, such as an extractor."""
    return tmp_path_factory.mktemp("shared")


def few(n_seen: int, held_out: tuple[int, ...] = (0, 0, 1, 1, 2, 2)) -> Problem:
    """Some seen classes and one unseen class, the last; ``held_out`` are the classes of the validation clips."""
    whole = problem("zero-shot")
    seen = np.arange(n_seen + 1) < n_seen
    train = LabelledClips(clips(8, 1), np.arange(8) % n_seen, np.arange(8) % 3, {})
    labels = np.array(held_out)
    validation = LabelledClips(clips(len(labels), 2), labels, np.zeros(len(labels), dtype=np.int64), {})
    classes = whole.classes.take(np.arange(n_seen + 1), seen)
    return replace(whole, classes=classes, train=train, validation=validation)


@pytest.fixture
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(Trainer, "run", refused)


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_two_seen_classes_and_one_unseen_class_are_enough(name: str, tmp_path: Path, shared: Path) -> None:
    method = METHODS.get(name)
    fitted = method(**settings(method))
    context = Context(seed=5, folder=tmp_path / "first", shared=shared, shared_seed=1)
    given = replace(few(2), target_unlabelled=clips(6, 2) if method.setting is Setting.TRANSDUCTIVE else None)
    chosen = fitted.fit(given, context).chosen
    final = method(**settings(method))
    final.fit(replace(given, validation=None), replace(context, folder=tmp_path / "final", chosen=chosen))
    for each in (fitted, final):
        scores = each.score(clips(3, 3))
        assert scores.shape == (3, 3)
        assert np.isfinite(scores).all()


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_one_seen_class_is_refused_before_anything_is_trained(name: str, tmp_path: Path) -> None:
    method = METHODS.get(name)
    with pytest.raises(UserError, match=f"method {name} needs training clips of two classes; raise --limit") as caught:
        method(**settings(method)).fit(few(1, held_out=(0, 0, 1, 1)), Context(seed=5, folder=tmp_path))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("name", [name for name in HEADS if issubclass(METHODS.get(name), GatedMethod)])
@pytest.mark.parametrize("held_out", [(0, 1, 2), (0, 2, 2)])
def test_a_gate_without_clips_of_a_side_is_refused_before_anything_is_trained(
    name: str, held_out: tuple[int, ...], tmp_path: Path
) -> None:
    method = METHODS.get(name)
    with pytest.raises(UserError, match=f"the gate of method {name} needs two held-out clips .* gate=ratio"):
        method(**settings(method)).fit(few(2, held_out), Context(seed=5, folder=tmp_path))


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize("name", [name for name in FEATURE_METHODS if METHODS.get(name).text_slots])
def test_a_slot_without_texts_is_refused_before_anything_is_trained(name: str, tmp_path: Path) -> None:
    method, given = METHODS.get(name), few(2)
    kept = {slot: rows for slot, rows in given.classes.slots.items() if slot != method.text_slots[-1]}
    lacking = replace(given, classes=replace(given.classes, slots=kept))
    with pytest.raises(
        UserError, match=f"method {name} reads text slots that the classes lack: {method.text_slots[-1]};"
    ):
        method(**settings(method)).fit(lacking, Context(seed=5, folder=tmp_path))


def test_a_loss_that_is_not_finite_names_method_step_and_batch(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty clips in batches of eight are three batches an epoch: the fifth step is the second batch of the second."""
    method = METHODS.get("pgfa")
    losses = PGFAHead.losses

    def spoilt(head: PGFAHead, batch: HeadBatch) -> Losses:
        found = losses(head, batch)
        return {**found, "loss": found["loss"] * (torch.nan if batch.step == 5 else 1)}

    monkeypatch.setattr(PGFAHead, "losses", spoilt)
    context = Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1)
    with pytest.raises(
        DivergedError, match="method pgfa diverged in step 5, batch 2 of 3 in epoch 2: loss nan"
    ) as caught:
        method(**settings(method)).fit(problem("zero-shot"), context)
    assert "--set rate=" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in ZERO_SHOT if issubclass(METHODS.get(name), NetworkMethod)])
def test_a_network_s_loss_that_is_not_finite_names_the_method(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = METHODS.get(name)

    def spoilt(network: SkeletonNetwork, *_: object) -> Losses:
        return {"loss": sum(weights.sum() for weights in network.parameters()) * torch.nan}

    monkeypatch.setattr(SkeletonNetwork, "forward", spoilt)
    with pytest.raises(DivergedError, match=f"method {name}: training diverged in epoch 1, batch 0: loss nan"):
        method(**settings(method)).fit(problem("zero-shot"), Context(seed=5, folder=tmp_path))
