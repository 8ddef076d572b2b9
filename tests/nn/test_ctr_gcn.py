"""CTR-GCN: parity with the authors' network, and its freedom in layout, bodies, frames and blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmcl_bench.core.errors import UserError
from mmcl_bench.nn.checkpoints import load_checkpoint, restore
from mmcl_bench.nn.ctr_gcn import CTRGCN, Block, TinyCTRGCN, spatial_graph
from mmcl_bench.nn.pooling import mean_by_clip
from mmcl_bench.skeleton.layouts import KINECT_V1, KINECT_V2, Layout
from plain_ctr_gcn import PlainCTRGCN


class SmallCTRGCN(CTRGCN):
    blocks = (Block(16, stride=2), Block(32))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(layout: Layout = KINECT_V2, n_bodies: int = 2, seed: int = 0, **kwargs: int) -> CTRGCN:
    return SmallCTRGCN(layout, 5, n_bodies=n_bodies, generator=seeded(seed), **kwargs)


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "ctr_gcn_ntu.safetensors")


@pytest.fixture(scope="module")
def reference(vectors: dict[str, Tensor]) -> CTRGCN:
    network = CTRGCN(KINECT_V2, 60).eval()
    network.load_state_dict({k.removeprefix("weights."): v for k, v in vectors.items() if k.startswith("weights.")})
    return network


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_logits_equal_the_authors_network(reference: CTRGCN, vectors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        logits = reference(vectors["input"])
    assert relative_error(logits, vectors["logits"]) < 1e-5


@pytest.fixture
def pair() -> tuple[PlainCTRGCN, CTRGCN]:
    """The network as the paper writes it and ours, with the same weights, none of them at its first value."""
    plain, fast = PlainCTRGCN(spatial_graph(KINECT_V2), 7), CTRGCN(KINECT_V2, 7)
    generator = seeded(3)
    with torch.no_grad():
        for name, value in fast.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value += 0.2 * (noise.abs() if name.endswith(("running_var", "bn.weight")) else noise)
    plain.load_state_dict(fast.state_dict())
    return plain, fast


def clips_of_one_and_two_bodies() -> Tensor:
    x = torch.randn(5, 3, 12, 25, 2, generator=seeded(4))
    x[1:4, ..., 1] = 0
    x[4, ..., 0] = 0
    return x


def test_evaluation_equals_the_plain_form(pair: tuple[PlainCTRGCN, CTRGCN]) -> None:
    # In float64, as these weights carry the rounding of float32 far.
    plain, fast = (network.double().eval() for network in pair)
    x = clips_of_one_and_two_bodies().double()
    with torch.no_grad():
        expected = plain(x)
        assert relative_error(fast(x), expected) < 1e-9
        assert relative_error(fast.classify(fast.dense_feature(x)), expected) < 1e-9
    # Where gradients are kept nothing is folded.
    assert relative_error(fast(x).detach(), expected) < 1e-9


def test_training_equals_the_plain_form_in_scores_gradients_and_statistics(pair: tuple[PlainCTRGCN, CTRGCN]) -> None:
    plain, fast = (network.double().train() for network in pair)
    x, labels = clips_of_one_and_two_bodies().double(), torch.arange(5)
    for network in (plain, fast):
        torch.nn.functional.cross_entropy(network(x), labels).backward()
    torch.testing.assert_close(fast.state_dict(), plain.state_dict())
    expected = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-7, rtol=1e-5, msg=name)


def test_an_absent_body_is_encoded_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    encoded = []
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda tracks: encoded.append(len(tracks)) or encode(tracks))
    x = torch.randn(9, 3, 8, 25, 2, generator=seeded())
    x[1:, ..., 1] = 0
    network.train()(x)
    assert encoded == [9 + 1 + 1]
    encoded.clear()
    network.eval()(x)
    assert sum(encoded) == 9 + 1 + 1


def test_an_absent_second_body_filled_with_zeros_gives_the_reference_logits(
    reference: CTRGCN, vectors: dict[str, Tensor]
) -> None:
    one_body = vectors["input"][1:].clone()
    one_body[..., 1] = 0
    with torch.no_grad():
        assert relative_error(reference(one_body), vectors["logits"][1:]) < 1e-5


def test_inward_and_outward_graphs_are_column_normalised() -> None:
    identity, inward, outward = spatial_graph(KINECT_V2)
    head, neck = KINECT_V2.index("head"), KINECT_V2.index("neck")
    base, spine = KINECT_V2.index("spine_base"), KINECT_V2.index("spine_mid")
    np.testing.assert_array_equal(identity, np.eye(25))
    assert inward[neck, head] == 1
    # The pelvis passes outward to two legs, each with half its weight.
    assert outward[KINECT_V2.index("left_hip"), base] == pytest.approx(0.5)
    assert inward[spine, base] == 1
    assert set(np.round(inward.sum(0), 6)) == {0, 1}
    assert set(np.round(outward.sum(0), 6)) == {0, 1}


@pytest.mark.parametrize("layout", [KINECT_V1, KINECT_V2], ids=lambda layout: layout.name)
@pytest.mark.parametrize(("n_bodies", "n_frames"), [(1, 7), (2, 16), (3, 33)])
def test_any_layout_bodies_and_frames(layout: Layout, n_bodies: int, n_frames: int) -> None:
    network = small(layout, n_bodies).eval()
    x = torch.randn(2, 3, n_frames, len(layout), n_bodies, generator=seeded())
    tracks = x.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert network.encode(tracks).shape == (2 * n_bodies, 32, -(-n_frames // 2), len(layout))
    assert network.global_feature(x).shape == (2, 32)
    assert network(x).shape == (2, 5)


def test_the_global_feature_is_the_mean_over_frames_joints_and_bodies() -> None:
    network = small().eval()
    x = torch.randn(3, 3, 8, 25, 2, generator=seeded())
    with torch.no_grad():
        features = network.encode(
            network.data_bn(x.permute(0, 4, 3, 1, 2).reshape(3, 150, 8)).view(6, 25, 3, 8).permute(0, 2, 3, 1)
        )
        expected = features.numpy().reshape(3, 2, 32, 4 * 25).mean((1, 3))
        np.testing.assert_allclose(network.global_feature(x).numpy(), expected, atol=1e-6)


def test_swapping_bodies_of_shared_statistics_keeps_the_scores() -> None:
    network = small().eval()
    x = torch.randn(2, 3, 8, 25, 2, generator=seeded())
    torch.testing.assert_close(network(x), network(x.flip(-1)))


def test_tracks_as_samples_then_averaged_equal_two_bodies_at_fresh_statistics() -> None:
    together, apart = small(n_bodies=2).eval(), small(n_bodies=1).eval()
    x = torch.randn(3, 3, 8, 25, 2, generator=seeded())
    tracks = x.permute(0, 4, 1, 2, 3).flatten(0, 1).unsqueeze(-1)
    pooled = mean_by_clip(apart.global_feature(tracks), torch.arange(3).repeat_interleave(2), 3)
    torch.testing.assert_close(apart.classify(pooled), together(x))


def test_mean_by_clip_counts_the_tracks_that_are_there() -> None:
    means = mean_by_clip(torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([2, 0, 2]), 4)
    assert means.flatten().tolist() == [5.0, 0.0, 1.5, 0.0]


def test_every_parameter_of_the_tiny_network_learns() -> None:
    network = TinyCTRGCN(KINECT_V1, 5, n_bodies=1, in_channels=6, generator=seeded())
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.randn(4, 6, 16, 20, 1, generator=seeded())
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), torch.arange(4))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    # The first step moves alpha off zero; only then do gradients reach the relations.
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert all(network.get_submodule(f"l{n}").gcn1.convs[0].conv1.weight.grad.abs().sum() > 0 for n in range(1, 5))


def test_initial_weights_follow_the_generator() -> None:
    first, again, other = small(seed=1).state_dict(), small(seed=1).state_dict(), small(seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_saved_in_parallel_training_loads(tmp_path: Path, suffix: str) -> None:
    saved, path = small(seed=1), tmp_path / f"released{suffix}"
    state = {f"module.{name}": tensor for name, tensor in saved.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = small(seed=2)
    restore(loaded, path)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


def test_a_checkpoint_of_other_shapes_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kinect_v1.pt"
    torch.save(small(KINECT_V1).state_dict(), path)
    with pytest.raises(UserError, match=r"kinect_v1\.pt: data_bn\.bias is \(120,\), not \(150,\); check") as caught:
        restore(small(KINECT_V2), path)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_parameters_are_named(tmp_path: Path) -> None:
    state = small().state_dict()
    bias = state.pop("fc.bias")
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(UserError, match=r"lacks fc\.bias of SmallCTRGCN"):
        restore(small(), tmp_path / "short.pt")
    torch.save({**state, "fc.bias": bias, "head.bias": bias}, tmp_path / "long.pt")
    with pytest.raises(UserError, match=r"holds head\.bias, which SmallCTRGCN lacks"):
        restore(small(), tmp_path / "long.pt")


class Trap:
    """Would leave a file behind if a loader executed what it reads."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_executed(tmp_path: Path) -> None:
    path, mark = tmp_path / "trap.pt", tmp_path / "executed"
    torch.save({"fc.weight": Trap(mark)}, path)
    with pytest.raises(UserError, match=r"trap\.pt: not a readable checkpoint"):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["absent.pt", "junk.pt", "junk.safetensors", "list.pt"])
def test_a_file_that_is_no_checkpoint_is_a_user_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("junk"):
        path.write_bytes(b"junk" * 9)
    elif name.startswith("list"):
        torch.save([torch.zeros(1)], path)
    with pytest.raises(UserError, match=name):
        load_checkpoint(path)
