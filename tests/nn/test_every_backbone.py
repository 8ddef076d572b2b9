"""What every registered backbone holds to, whatever it is made of."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmcl_bench.nn import BACKBONES
from mmcl_bench.nn.backbone import Backbone
from mmcl_bench.skeleton.layouts import KINECT_V1, LAYOUTS, Layout

EVERY = pytest.mark.parametrize("name", BACKBONES.names())
NETWORKS = [name for name in BACKBONES.names() if not name.startswith("hd-gcn-com")]
"""Without those that differ from another in their graph alone."""
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, layout: Layout = KINECT_V1, n_bodies: int = 2, in_channels: int = 3, seed: int = 0) -> Backbone:
    return BACKBONES.get(name)(layout, 5, n_bodies, in_channels, 0.0, seeded(seed))


def clips(layout: Layout, n_bodies: int, n_frames: int = 5, in_channels: int = 3) -> Tensor:
    """Three synthetic clips; the last two miss their last body, where there are three the third its first as well."""
    x = torch.randn(3, in_channels, n_frames, len(layout), n_bodies, generator=seeded(1))
    if n_bodies > 1:
        x[1:, ..., -1] = 0
    if n_bodies > 2:
        x[2, ..., 0] = 0
    return x


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request: pytest.FixtureRequest) -> Backbone:
    """A network for three bodies whose running statistics have moved."""
    network = build(request.param, n_bodies=3).train()
    with torch.no_grad():
        network(clips(KINECT_V1, 3))
    return network.eval()


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def test_listing_backbones_imports_no_torch() -> None:
    code = "import sys, mmcl_bench.nn as nn; nn.BACKBONES.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@EVERY
def test_a_summary_and_a_citation_stand_beside_the_network(name: str) -> None:
    family = BACKBONES.get(name)
    assert "\n" not in family.summary
    assert family.summary
    assert any(year in family.citation for year in ("2018", "2020", "2021", "2023"))


@EVERY_NETWORK
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_bodies_and_frames(name: str, layout: Layout) -> None:
    at = list(LAYOUTS).index(layout.name)
    n_bodies, n_frames, in_channels = 1 + at % 3, (1, 5, 7)[at % 3], (3, 2)[at % 2]
    network = build(name, layout, n_bodies, in_channels).eval()
    with torch.no_grad():
        feature = network.global_feature(clips(layout, n_bodies, n_frames, in_channels))
        assert feature.shape == (3, network.feature_channels)
        assert feature.isfinite().all()
        assert network.classify(feature).shape == (3, 5)


def test_absent_bodies_are_run_once_and_change_no_score(trained: Backbone) -> None:
    x, n_run = clips(KINECT_V1, 3), []
    encode = trained.encode
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "encode", lambda tracks: n_run.append(len(tracks)) or encode(tracks))
        feature = trained.global_feature(x)
        saved = sum(n_run)
        dense = trained.dense_feature(x)
    assert (saved, sum(n_run) - saved) == (8, 9)
    assert relative_error(feature, dense) < 1e-5
    assert relative_error(trained.classify(feature), trained.classify(dense)) < 1e-5


def test_a_body_with_some_zeros_is_not_absent(trained: Backbone) -> None:
    x = clips(KINECT_V1, 3)
    x[0, :, 2:, :, 2] = 0
    x[1, 1, 2, 4, 2] = 0.5
    with torch.no_grad():
        feature = trained.global_feature(x)
        assert relative_error(feature, trained.dense_feature(x)) < 1e-5
        x[1, ..., 2] = 0
        assert not torch.equal(feature[1], trained.global_feature(x)[1])


@EVERY_NETWORK
def test_every_parameter_learns_the_same_with_absent_bodies_run_once(name: str) -> None:
    # In float32 a rounding may turn a neighbour or a ReLU the other way, and gradients with it.
    saving, dense = build(name).double().train(), build(name).double().train()
    x, weight = clips(KINECT_V1, 2).double(), torch.randn(3, 5, generator=seeded(2)).double()
    logits, expected = saving(x), dense.classify(dense.dense_feature(x))
    assert relative_error(logits, expected) < 1e-4
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    assert [at for at, parameter in saving.named_parameters() if parameter.grad is None] == []
    largest = max(parameter.grad.abs().max() for parameter in dense.parameters())
    for (at, found), wanted in zip(saving.named_parameters(), dense.parameters(), strict=True):
        scale = max(float(wanted.grad.abs().max()), 1e-6 * float(largest))
        assert (found.grad - wanted.grad).abs().max() < 1e-4 * scale, at
    for (at, found), wanted in zip(saving.named_buffers(), dense.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6, msg=at)


@EVERY_NETWORK
def test_initial_weights_follow_the_generator_alone(name: str) -> None:
    torch.manual_seed(3)
    first = build(name, seed=1).state_dict()
    torch.manual_seed(4)
    again, other = build(name, seed=1).state_dict(), build(name, seed=2).state_dict()
    assert all(torch.equal(first[at], again[at]) for at in first)
    assert any(not torch.equal(first[at], other[at]) for at in first)


def test_the_state_dict_round_trips_through_safetensors(trained: Backbone, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "network.safetensors")
    state, loaded = trained.state_dict(), copy.deepcopy(trained)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    loaded.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert all(torch.equal(tensor, state[at]) for at, tensor in loaded.state_dict().items())


def test_the_last_block_completes_what_comes_before_it(trained: Backbone) -> None:
    x = clips(KINECT_V1, 3)
    tracks = trained.after_last_block(trained.to_last_block(x))
    assert tracks.shape == (9, trained.feature_channels)
    torch.testing.assert_close(tracks.view(3, 3, -1).mean(1), trained.dense_feature(x), rtol=1e-4, atol=1e-5)
    assert any(parameter.requires_grad for parameter in trained.last_block.parameters())
