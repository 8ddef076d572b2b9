"""Neuron and STAR against numbers of their authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mmcl_bench.methods.shared.head_method import _share_of_rate
from mmcl_bench.methods.zero_shot.neuron import EvolvingPrototypes, NeuronSettings
from mmcl_bench.methods.zero_shot.star import PartPrompts, StarSettings
from mmcl_bench.nn.losses import text_similarity
from mmcl_bench.skeleton.layouts import PARTS
from vectors import Vectors, check_gradients, close, take_weights

NEURON = {
    "space.prototypes": "spatial_prototype.weight",
    "space.updates": "update_spatial",
    "time.prototypes": "temporal_prototype.weight",
    "time.updates": "update_temporal",
    "time.keeps": "recall_temporal",
    "time.takes": "memory_temporal",
    "from_space": "spatial_project",
    "from_time": "temporal_project",
}
STAR_PART = {
    "prompts": "body_part_prompts.{at}",
    "mixing": "body_part_w.{at}",
    "attention": "body_part_st_attention_networks.{at}",
    "layers.0": "body_part_mapping_matrix1.{at}",
    "layers.2": "body_part_mapping_matrix2.{at}",
}
STAR_TEXT = {"0": "pd_mapping_matrix1.{at}", "2": "pd_mapping_matrix2.{at}"}
STAR_WHOLE = {"table": "pd_prompt", "label.0": "crossmodal_align1", "label.2": "crossmodal_align2"}


@pytest.fixture
def neuron(parity_dir: Path) -> tuple[EvolvingPrototypes, Vectors]:
    given = load_file(parity_dir / "zoo_neuron.safetensors")
    n_prototypes, n_features = given["weights.spatial_prototype.weight"].shape
    settings = NeuronSettings(
        prototypes=n_prototypes, scale=round(float(given["coefficient.logit_scale"]), 6), as_released=True
    )
    head = EvolvingPrototypes(settings, n_features, given["input.spatial_texts"].shape[3])
    take_weights(head, given, NEURON)
    return head, given


def test_neuron_s_losses_are_those_of_the_release(neuron: tuple[EvolvingPrototypes, Vectors]) -> None:
    head, given = neuron
    maps, seen = given["input.map"], given["input.seen_classes"]
    texts = [given[f"input.{branch}_texts"][:, seen] for branch in ("spatial", "temporal")]
    for branch, module, project in (("spatial", head.space, head.from_space), ("temporal", head.time, head.from_time)):
        for at, prototypes in enumerate(module(maps)):
            close(prototypes.mean(1), given[f"output.{branch}.round{at}.pooled"], 1e-4)
            embedded = nn.functional.normalize(project(prototypes.mean(1)), dim=1)
            close(embedded, given[f"output.{branch}.round{at}.embedding"], 1e-4)
    for branch, rounds in zip(("spatial", "temporal"), head.logits(maps, *texts), strict=True):
        for at, logits in enumerate(rounds):
            close(logits, given[f"output.{branch}.round{at}.logits"], 1e-4)
    losses = head.losses_of(maps, given["input.labels"], *texts)
    for own, name in {"loss": "total", "space": "spatial", "time": "temporal"}.items():
        close(losses[own], given[f"loss.{name}"], 1e-5)
    losses["loss"].backward()
    check_gradients(head, given, NEURON, "gradient.")


def test_neuron_scores_the_mean_of_both_branches(neuron: tuple[EvolvingPrototypes, Vectors]) -> None:
    """The release's branches predict each for itself."""
    head, given = neuron
    unseen = given["input.unseen_classes"]
    texts = [given[f"input.{branch}_texts"][:, unseen] for branch in ("spatial", "temporal")]
    both = head.logits(given["input.map"], *texts)
    for branch, rounds in zip(("spatial", "temporal"), both, strict=True):
        close(rounds[-1], given[f"output.unseen.{branch}_logits"], 1e-4)
    generator = torch.Generator().manual_seed(0)
    slots = ("label", "global", "head", "hands", "torso", "legs", "start", "middle", "end")
    own = {slot: torch.randn(3, texts[0].shape[3], generator=generator) for slot in slots}
    parts = torch.stack([own[slot] for slot in ("label", "head", "hands", "torso", "legs")], dim=1)
    phases = torch.stack([own[slot] for slot in ("label", "start", "middle", "end")], dim=1)
    space, time = head.logits(given["input.map"], [parts] * 3, [phases] * 3)
    torch.testing.assert_close(head.scores(given["input.map"], given["input.map"], own), (space[2] + time[2]) / 2)


def test_neuron_s_rounds_see_shares_of_a_clip_of_any_length() -> None:
    time = EvolvingPrototypes(NeuronSettings(prototypes=4), 6, 8).time
    assert time.pieces(16) == (5, 10, 16)
    assert time.pieces(6) == (2, 4, 6)


def test_the_rate_falls_to_a_tenth_after_each_share_of_the_steps() -> None:
    """After epochs 4 and 20 of Neuron's 30."""
    paper = NeuronSettings(steps=300)
    rates = [_share_of_rate(paper, step) for step in (1, 40, 41, 200, 201, 300)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.fixture
def star(parity_dir: Path) -> tuple[PartPrompts, Vectors, dict[str, str]]:
    given = load_file(parity_dir / "zoo_star.safetensors")
    for kind in ("weights", "gradient"):
        given[f"{kind}.pd_prompt"] = torch.stack([given.pop(f"{kind}.pd_prompt.{at}") for at in range(6)])
    joints = [given[f"weights.body_part_index_list.{at}"].tolist() for at in range(6)]
    of_part = {f"parts.{{at}}.{own}": name for own, name in STAR_PART.items()}
    of_part |= {f"text_maps.{{at}}.{own}": name for own, name in STAR_TEXT.items()}
    names = STAR_WHOLE | {own.format(at=at): name.format(at=at) for at in range(6) for own, name in of_part.items()}
    n_prompts, width = given["weights.body_part_prompts.0"].shape
    hidden, text_width = given["weights.crossmodal_align1.weight"].shape
    settings = StarSettings(width=width, hidden=hidden, prompts=n_prompts)
    n_features = given["input.extractor_map"].shape[1]
    head = PartPrompts(settings, n_features, joints, text_width, n_table=len(given["input.label_texts"]))
    take_weights(head, given, names)
    return head, given, names


def test_star_s_losses_are_those_of_the_release(star: tuple[PartPrompts, Vectors, dict[str, str]]) -> None:
    head, given, names = star
    maps, seen = given["output.map_after_body_merge"], given["input.seen_classes"]
    found = torch.stack([part.found(maps[..., at]) for part, at in zip(head.parts, head.joints, strict=True)], dim=1)
    close(found, given["output.part_visual"], 1e-4)
    close(head.visual(maps), given["output.global_visual"], 1e-4)
    labels = given["input.labels"]
    described = head.described(given["input.part_texts"])[:, labels].transpose(0, 1)
    close(described, given["output.part_description"], 1e-4)
    close(head.label(given["input.label_texts"][labels]), given["output.label_language"], 1e-4)
    among_seen = (seen == labels[:, None]).int().argmax(1)
    losses = head.losses_of(maps, among_seen, given["input.label_texts"], given["input.part_texts"], seen)
    in_release = {"loss": "total", "label": "global_ce", "parts": "part_ce", "texts": "pd_label"}
    for own, name in in_release.items():
        close(losses[own], given[f"loss.{name}"], 1e-5)
    losses["loss"].backward()
    check_gradients(head, given, names, "gradient.")


def test_star_s_scores_are_those_of_the_release(star: tuple[PartPrompts, Vectors, dict[str, str]]) -> None:
    head, given, _ = star
    maps, unseen = given["output.test.map_after_body_merge"], given["input.unseen_classes"]
    scores = text_similarity(head.visual(maps).sum(1), head.label(given["input.label_texts"]))
    close(head.visual(maps).sum(1), given["output.test.global_semantic"], 1e-4)
    close(scores, given["output.test.scores_all"], 1e-4)
    assert scores.argmax(1).tolist() == given["output.test.gzsl_prediction"].tolist()
    assert scores[:, unseen].argmax(1).tolist() == given["output.test.zsl_prediction"].tolist()


def test_star_learns_from_texts_of_seen_classes_alone() -> None:
    """The loss of labels and texts by hand, over two classes."""
    torch.manual_seed(0)
    head = PartPrompts(StarSettings(width=8, hidden=5, prompts=3), 4, [[0], [1], [2], [0, 2]], 6)
    assert head.table is None
    labels, parts = torch.randn(2, 6), torch.randn(2, len(PARTS), 6)
    losses = head.losses_of(torch.randn(5, 4, 2, 3), torch.tensor([0, 1, 1, 0, 1]), labels, parts, torch.arange(2))
    expected = []
    for at in range(len(PARTS)):
        products = head.text_maps[at](parts[:, at]) @ head.label(labels).T
        expected += [products[0, 1] - products[0, 0], products[1, 0] - products[1, 1]]
    torch.testing.assert_close(losses["texts"], torch.stack(expected).exp().log1p().mean())
