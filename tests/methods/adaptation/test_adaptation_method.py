"""Adaptation of the last block: which clips normalise, what is trained, what is drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.test_methods import N_CLASSES, clips, problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.inference.cost import complexity
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared import adaptation_method, extractor, shallow_adaptation
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod, batches, by_group, groups_of
from mmcl_bench.methods.shared.adapted_network import normalise_by, parts_of
from mmcl_bench.protocols.problem import Context, LabelledClips
from mmcl_bench.training.loop import DivergedError


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def fitted(name: str, folder: Path, shared: Path, validated: bool = False, **changes: object) -> AdaptationMethod:
    """A final fit, or with ``validated`` a first one."""
    kind = METHODS.get(name)
    method = kind(**settings(kind, **changes))
    assert isinstance(method, AdaptationMethod)
    whole = problem("transfer", setting=kind.setting)
    context = Context(seed=5, folder=folder, shared=shared, shared_seed=1)
    method.fit(whole if validated else replace(whole, validation=None), context)
    return method


def bottleneck_means(method: AdaptationMethod, seed: int, n: int) -> Tensor:
    """What goes into the bottleneck's normalisation, averaged over clips."""
    prepared = method.extractor.to_last_block(clips(n, seed))
    linear, seen = method.network.bottleneck[0], []
    with linear.register_forward_hook(lambda _, inputs, output: seen.append(output)):
        method.network.all_features(prepared)
    return torch.cat(seen).mean(0)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", ["adabn", "coral"])
def test_scoring_a_clip_costs_what_the_extractor_costs(name: str, tmp_path: Path, shared: Path) -> None:
    kind = METHODS.get(name)
    method = kind(**settings(kind, features="extractor") if name == "coral" else settings(kind))
    given = replace(problem("transfer", setting=kind.setting), validation=None)
    method.fit(given, Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))
    network = method.fitted_network()
    assert network is not None
    before, scores = state(network.module), method.score(clips(3, 1))
    assert complexity(network).parameters == sum(weights.numel() for weights in network.module.parameters())
    np.testing.assert_array_equal(method.score(clips(3, 1)), scores)
    assert not changed(before, network.module)


def test_statistics_become_those_of_the_clips() -> None:
    x = torch.randn(600, 3, generator=torch.Generator().manual_seed(0)) * 2 + 5
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3))
    normalise_by(net, lambda some: net(x[some]), len(x))
    norm = net[1]
    torch.testing.assert_close(norm.running_mean, x.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_var, x.var(0), rtol=0.05, atol=0.05)
    assert norm.momentum == 0.1
    assert not net.training


def test_the_final_fit_normalises_by_the_target_and_the_first_by_the_source(tmp_path: Path, shared: Path) -> None:
    final = fitted("mcc", tmp_path / "final", shared)
    running = final.network.bottleneck[1].running_mean
    # In evaluation the last block has the target's statistics as well, so both are of the same features but for those
    # of batches.
    of_target, of_source = bottleneck_means(final, 6, 12), bottleneck_means(final, 1, 20)
    assert (running - of_target).norm() < 0.2 * (running - of_source).norm()
    first = fitted("mcc", tmp_path / "first", shared, validated=True)
    running = first.network.bottleneck[1].running_mean
    of_target, of_source = bottleneck_means(first, 6, 12), bottleneck_means(first, 1, 20)
    assert (running - of_source).norm() < 0.2 * (running - of_target).norm()


@pytest.mark.parametrize("name", ["mcc", "adabn"])
def test_a_map_shows_each_domain_by_its_own_statistics(name: str, tmp_path: Path, shared: Path) -> None:
    method = fitted(name, tmp_path, shared)
    source, target = clips(8, 1), clips(8, 6)
    found = method.embed_domains(source, target)
    of_target = method.network.all_features(method.extractor.to_last_block(target))
    method.normalise_domain(source)
    of_source = method.network.all_features(method.extractor.to_last_block(source))
    for one, other in zip(found, (of_source, of_target), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(found[1], method.network.all_features(method.extractor.to_last_block(target)))


def test_target_clips_change_what_is_learned_and_source_only_gets_none(tmp_path: Path, shared: Path) -> None:
    kind = METHODS.get("dann")
    found = []
    for seed in (6, 7):
        method = kind(**settings(kind))
        whole = replace(problem("transfer"), target=clips(12, seed), validation=None)
        method.fit(whole, Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))
        found.append(method.score(clips(4, 3)))
    assert not np.allclose(*found)
    assert METHODS.get("source-only").setting is Setting.INDUCTIVE


def test_only_last_block_bottleneck_and_classifier_learn(tmp_path: Path, shared: Path) -> None:
    slow, fast = (fitted("source-only", tmp_path / str(steps), shared, steps=steps) for steps in (1, 4))
    backbones = [dict(method.extractor.network.backbone.named_parameters()) for method in (slow, fast)]
    moved = {name for name, value in backbones[0].items() if not torch.equal(value, backbones[1][name])}
    block = slow.extractor.network.backbone.last_block
    (last,) = (name for name, module in slow.extractor.network.backbone.named_modules() if module is block)
    assert moved
    assert all(name.startswith(f"{last}.") for name in moved)
    assert not torch.equal(slow.network.classifier.weight, fast.network.classifier.weight)


@pytest.mark.parametrize("name", ["shot", "nrc", "adabn"])
def test_source_free_adaptation_leaves_the_classifier(name: str, tmp_path: Path, shared: Path) -> None:
    method = fitted(name, tmp_path, shared)
    classifier, network = state(method.network.classifier), state(method.network)
    method.adapt(clips(12, 6), Context(seed=5, folder=tmp_path))
    assert not changed(classifier, method.network.classifier)
    moved = changed(network, method.network)
    assert "bottleneck.1.running_mean" in moved
    assert ("bottleneck.0.weight" in moved) == (name != "adabn")


def test_adabn_changes_the_statistics_of_every_layer_and_no_weight(tmp_path: Path, shared: Path) -> None:
    method = fitted("adabn", tmp_path, shared)
    before = state(method.extractor.network)
    method.adapt(clips(12, 6), Context(seed=5, folder=tmp_path))
    moved = changed(before, method.extractor.network)
    assert "backbone.data_bn.running_mean" in moved
    assert {name.rpartition(".")[2] for name in moved} <= {"running_mean", "running_var", "num_batches_tracked"}


def test_tent_adapts_scales_and_shifts_of_every_normalisation(tmp_path: Path, shared: Path) -> None:
    method = METHODS.get("tent")(**settings(METHODS.get("tent")))
    whole = replace(problem("transfer"), validation=None)
    context = Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1)
    method.fit(whole, context)
    before, classifier = state(method.extractor.network), state(method.network.classifier)
    method.fit(replace(whole, target_unlabelled=clips(12, 6)), context)
    moved = {name for name in changed(before, method.extractor.network) if "running" not in name}
    assert {"backbone.data_bn.weight", "backbone.data_bn.bias"} <= moved
    assert not changed(classifier, method.network.classifier)
    norms = {
        name
        for name, part in method.extractor.network.named_modules()
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)
    }
    assert {name.rpartition(".")[0] for name in moved} <= norms


def test_fine_tuning_the_head_leaves_the_features(tmp_path: Path, shared: Path) -> None:
    found = {}
    for name in ("fine-tuning", "fine-tuning-head"):
        method = METHODS.get(name)(**settings(METHODS.get(name)))
        whole = replace(problem("transfer"), validation=None)
        context = Context(seed=5, folder=tmp_path / name, shared=shared, shared_seed=1)
        method.fit(whole, context)
        before = {key: value for key, value in state(method.network).items() if "running" not in key}
        method.fit(replace(whole, few_shot=problem("transfer", setting=Setting.FEW_SHOT).few_shot), context)
        found[name] = {key for key, value in before.items() if not torch.equal(value, method.network.state_dict()[key])}
    learned = {key for key in found["fine-tuning-head"] if "num_batches" not in key}
    assert learned == {"classifier.weight", "classifier.bias"}
    assert "bottleneck.0.weight" in found["fine-tuning"]


def test_nearest_class_mean_scores_cosines_with_the_means(tmp_path: Path, shared: Path) -> None:
    method = fitted("nearest-class-mean", tmp_path, shared)
    few = problem("transfer", setting=Setting.FEW_SHOT).few_shot
    assert few is not None
    features = method.network.all_features(method.extractor.to_last_block(few.clips)).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([features[few.labels == column].mean(0) for column in range(N_CLASSES)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(method.score(few.clips), features @ means.T, rtol=1e-4, atol=1e-5)


def test_groups_are_data_sets_and_else_subjects() -> None:
    given = LabelledClips(clips(4, 0), np.zeros(4, dtype=np.int64), np.array([7, 3, 7, 3]), {})
    assert groups_of(given).tolist() == [1, 0, 1, 0]
    assert groups_of(replace(given, domains=np.array([2, 2, 5, 5]))).tolist() == [0, 0, 1, 1]


def test_batches_hold_as_many_clips_of_each_group() -> None:
    groups = torch.tensor([0] * 10 + [1] * 2 + [2] * 5)
    for batch in islice(by_group(groups, 2, 8, torch.Generator().manual_seed(0)), 20):
        present, counts = groups[batch].unique(return_counts=True)
        assert (len(present), counts.tolist()) == (2, [4, 4])


def test_a_round_holds_no_clip_twice() -> None:
    drawn = list(islice(batches(10, 3, torch.Generator().manual_seed(0)), 3))
    assert len(torch.cat(drawn).unique()) == 9


def test_one_clip_of_the_target_is_refused_in_one_line(tmp_path: Path, shared: Path) -> None:
    method = METHODS.get("dann")(**settings(METHODS.get("dann")))
    whole = replace(problem("transfer"), target=clips(1, 6))
    with pytest.raises(UserError, match="method dann needs two target clips to train on; raise --limit"):
        method.fit(whole, Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))


@pytest.mark.parametrize(("n_clips", "most", "parts"), [(1, 2, 1), (5, 2, 2), (6, 2, 3), (200, 200, 1), (201, 200, 2)])
def test_no_part_of_clips_is_a_single_one(n_clips: int, most: int, parts: int) -> None:
    assert parts_of(n_clips, most) == parts
    assert n_clips == 1 or min(map(len, torch.arange(n_clips).tensor_split(parts))) >= 2


def test_one_clip_alone_is_refused_where_a_method_normalises_by_it() -> None:
    with pytest.raises(UserError, match="one clip alone has no statistics"):
        normalise_by(nn.BatchNorm1d(2), lambda at: None, 1)


def test_one_test_clip_alone_is_refused_where_a_method_adapts_to_it(tmp_path: Path, shared: Path) -> None:
    method = METHODS.get("tent")(**settings(METHODS.get("tent")))
    whole = replace(problem("transfer", setting=method.setting), validation=None, target_unlabelled=clips(1, 6))
    with pytest.raises(UserError, match="one clip alone has no statistics"):
        method.fit(whole, Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))


def test_the_time_of_a_fit_is_without_the_extractor(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def trained(*given: object) -> object:
        clock[0] += 1000
        return extractor.trained_extractor(*given)  # type: ignore[arg-type]

    for module, name in ((adaptation_method, "source-only"), (shallow_adaptation, "coral")):
        monkeypatch.setattr(module, "trained_extractor", trained)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        kind = METHODS.get(name)
        context = Context(seed=5, folder=tmp_path / name, shared=shared, shared_seed=1)
        report = kind(**settings(kind)).fit(problem("transfer", setting=kind.setting), context)
        assert report.shared_seconds == 1000


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(DivergedError, match=r"method source-only diverged in step \d: loss .*--set rate="):
        fitted("source-only", tmp_path, shared, rate=1e30)


def test_mcd_scores_by_the_mean_of_both_predictions(tmp_path: Path, shared: Path) -> None:
    method = fitted("mcd", tmp_path, shared)
    features = torch.rand(4, 8)
    one, other = (head(features).softmax(1) for head in method.parts)  # type: ignore[union-attr]
    torch.testing.assert_close(F.softmax(method.logits_of(features), dim=1), (one + other) / 2)
