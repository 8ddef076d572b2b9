"""Temporal-spatial cubism: which order a label means, that it can be undone, and what is learned from it."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from methods.test_methods import problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.adaptation.st_cubism import (
    Rearrange,
    RearrangedCopy,
    STCubism,
    limb_orders,
    segment_orders,
)
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, DomainBatch
from mmcl_bench.protocols.problem import Context
from mmcl_bench.skeleton.layouts import KINECT_V1, LAYOUTS
from mmcl_bench.skeleton.transforms import PreparedTracks

DRAW = torch.Generator()
"""Rearranging draws nothing."""


def test_segments_of_a_clip_change_places_whole() -> None:
    orders = segment_orders(6, 3)
    assert orders[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert orders[1].tolist() == [0, 1, 4, 5, 2, 3]
    assert orders[5].tolist() == [4, 5, 2, 3, 0, 1]


def test_limbs_change_places_joint_by_joint() -> None:
    order = limb_orders(KINECT_V1)[6]  # left and right arm exchanged
    moved = {joint: KINECT_V1.joints[at] for joint, at in zip(KINECT_V1.joints, order.tolist(), strict=True)}
    swapped = {f"left_{joint}": f"right_{joint}" for joint in ("shoulder", "elbow", "wrist", "hand")}
    expected = {**swapped, **{right: left for left, right in swapped.items()}}
    assert {joint: source for joint, source in moved.items() if joint != source} == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_order_of_limbs_is_another_one_and_leaves_the_head(name: str) -> None:
    layout = LAYOUTS[name]
    orders = limb_orders(layout)
    assert len(orders.unique(dim=0)) == 24
    assert torch.equal(orders.sort(dim=1).values, torch.arange(len(layout)).expand(24, -1))
    still = {joint for joint, column in zip(layout.joints, orders.T, strict=True) if len(column.unique()) == 1}
    assert not any(joint.endswith(("_elbow", "_knee")) for joint in still)
    assert still >= set(layout.parts["head"])


@pytest.mark.parametrize(("orders", "axis"), [(segment_orders(10, 3), 2), (limb_orders(KINECT_V1), 3)])
def test_the_label_of_an_order_undoes_it_for_all_bodies_of_a_clip(orders: torch.Tensor, axis: int) -> None:
    labels = torch.randint(len(orders), (30,), generator=torch.Generator().manual_seed(1))
    clip = torch.arange(30).repeat_interleave(2)[5:45]
    tracks = torch.randn(40, 3, 10, 20, generator=torch.Generator().manual_seed(0))
    rearranged = Rearrange(orders, axis, labels)(tracks, clip, DRAW)
    assert not torch.equal(rearranged, tracks)
    undone = [
        track.index_select(axis - 1, orders[label].argsort())
        for track, label in zip(rearranged, labels[clip], strict=True)
    ]
    torch.testing.assert_close(torch.stack(undone), tracks, rtol=0, atol=0)


def test_losses_are_cross_entropies_of_the_orders_in_both_domains() -> None:
    method = METHODS.get("st-cubism")(temporal_weight=0.5, spatial_weight=0.25)
    assert isinstance(method, STCubism)
    rows = torch.eye(3)
    method.network = SimpleNamespace(features=lambda prepared, clips: rows[clips])  # type: ignore[assignment]
    temporal, spatial = nn.Linear(3, 6, bias=False), nn.Linear(3, 24, bias=False)
    with torch.no_grad():
        temporal.weight.copy_(torch.eye(6, 3) * log(5))  # clip k has order k with probability 5 / (5 + 5)
        spatial.weight.zero_()
    method.parts = nn.ModuleDict({"temporal": temporal, "spatial": spatial})
    nothing = PreparedTracks(torch.empty(0), torch.empty(0), 3)
    copies = {
        "source": [RearrangedCopy(nothing, torch.tensor([0, 1, 2]))],  # all told
        "target": [RearrangedCopy(nothing, torch.tensor([5, 5, 5]))],  # none: probability 1 / 10
    }
    method._rearranged = {side: {"temporal": found, "spatial": found} for side, found in copies.items()}
    source = DomainBatch(rows[:2], rows[:2], torch.tensor([2, 0]))
    target = DomainBatch(rows[:1], rows[:1], torch.tensor([1]))
    zeros = torch.zeros(2, dtype=torch.int64)
    losses = method.added_losses(AdaptationBatch(source, zeros, zeros, target, lambda: rows, 0.5, 1))
    assert {name: weight for name, (weight, _) in losses.items()} == {"temporal": 0.5, "spatial": 0.25}
    assert losses["temporal"][1].item() == pytest.approx((log(2) + log(10)) / 2, rel=1e-5)
    assert losses["spatial"][1].item() == pytest.approx(log(24), rel=1e-5)


def test_rearranged_copies_teach_the_last_block_and_are_let_go(tmp_path: Path, shared: Path) -> None:
    kind, context = METHODS.get("st-cubism"), Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1)
    whole = replace(problem("transfer", setting=Setting.UNLABELLED), validation=None)
    found = []
    for weight in (0.0, 1.0):
        method = kind(**settings(kind, temporal_weight=weight, spatial_weight=0.0))
        assert isinstance(method, STCubism)
        report = method.fit(whole, context)
        assert {"temporal", "spatial"} <= set(report.history[0])
        assert not method._rearranged
        found.append(method.network.block.state_dict())
    assert any(not torch.equal(value, found[1][name]) for name, value in found[0].items() if "running" not in name)


def test_a_layout_without_arms_of_both_sides_is_refused_before_training(tmp_path: Path) -> None:
    layout = replace(KINECT_V1, mirrored=(("left_hip", "right_hip"),))
    whole = problem("transfer", setting=Setting.UNLABELLED)
    whole.train.clips.layout = layout
    with pytest.raises(UserError, match=r"layout kinect-v1: method st-cubism exchanges arms and legs, and parts.hands"):
        METHODS.get("st-cubism")().fit(whole, Context(seed=0, folder=tmp_path))
    assert not list(tmp_path.iterdir())
