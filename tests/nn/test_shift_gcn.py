"""Shift-GCN: the released names, and its shifts by hand and against the authors' kernel written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmcl_bench.nn.blocks import Block
from mmcl_bench.nn.shift_gcn import ShiftGCN, ShiftSpatialConv, TemporalShift, joint_shift
from mmcl_bench.skeleton.layouts import COCO_17, KINECT_V2
from released import conv, norm, seeded


class SmallShiftGCN(ShiftGCN):
    blocks = (Block(8), Block(16, stride=2))


def released_shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the four files of save_models/ of the authors' repository, kchengiva/Shift-GCN."""
    shapes = norm("data_bn", 150) | conv("fc", n_classes, 256)
    inside = 3
    for at, wide in enumerate([64] * 4 + [128] * 3 + [256] * 3, start=1):
        spatial, temporal = f"l{at}.gcn1", f"l{at}.tcn1"
        shapes |= {f"{spatial}.Linear_weight": (inside, wide), f"{spatial}.Linear_bias": (1, 1, wide)}
        shapes |= {f"{spatial}.Feature_Mask": (1, 25, inside)} | norm(f"{spatial}.bn", 25 * wide)
        shapes |= {f"{spatial}.shift_in": (25 * inside,), f"{spatial}.shift_out": (25 * wide,)}
        shapes |= norm(f"{temporal}.bn", wide) | norm(f"{temporal}.bn2", wide)
        shapes |= {
            f"{temporal}.{shift}.{axis}": (wide,) for shift in ("shift_in", "shift_out") for axis in ("xpos", "ypos")
        }
        shapes |= conv(f"{temporal}.temporal_linear", wide, wide, 1, 1)
        if inside != wide:
            shapes |= conv(f"{spatial}.down.0", wide, inside, 1, 1) | norm(f"{spatial}.down.1", wide)
        if at in (5, 8):
            shapes |= conv(f"l{at}.residual.conv", wide, inside, 1, 1) | norm(f"l{at}.residual.bn", wide)
        inside = wide
    return shapes


def test_names_and_shapes_of_the_released_checkpoints() -> None:
    state = ShiftGCN(KINECT_V2, 60).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == released_shapes(60)
    assert {state[f"l3.gcn1.shift_{way}"].dtype for way in ("in", "out")} == {torch.int64}


def test_size_of_the_released_network() -> None:
    # All numbers in save_models/ntu_ShiftGCN_joint_xview.pt; the literature rounds what is trained to 0.69 M.
    network = ShiftGCN(KINECT_V2, 60)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 835_214
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == 0.69


def test_features_of_the_zero_shot_literature_are_256_numbers_a_clip() -> None:
    network = ShiftGCN(KINECT_V2, 60, generator=seeded()).eval()
    with torch.no_grad():
        assert network.global_feature(torch.zeros(1, 3, 8, 25, 2)).shape == (1, 256)


def test_channels_are_read_from_as_many_joints_further_in_a_circle() -> None:
    # Three joints of two channels lie as (joint 0, channel 0), (joint 0, channel 1), (joint 1, channel 0), ...
    assert joint_shift(3, 2, 1).tolist() == [0, 3, 2, 5, 4, 1]
    assert joint_shift(3, 2, -1).tolist() == [0, 5, 2, 1, 4, 3]
    # The first of the released index of l1.gcn1.shift_in.
    assert joint_shift(25, 3, 1)[:10].tolist() == [0, 4, 8, 3, 7, 11, 6, 10, 14, 9]


@pytest.mark.parametrize("channels", [3, 64])
def test_shifting_back_undoes_a_shift(channels: int) -> None:
    there, back = joint_shift(17, channels, 1), joint_shift(17, channels, -1)
    assert torch.equal(there[back], torch.arange(17 * channels))


def test_spatial_shift_convolution_by_hand() -> None:
    layer = ShiftSpatialConv(2, 2, n_joints=3).eval()
    with torch.no_grad():
        layer.Linear_weight.copy_(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
        layer.Linear_bias.copy_(torch.tensor([[[0.5, 0.0]]]))
        layer.Feature_Mask[0, 0, 1] = math.atanh(0.5)
        x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(1, 2, 1, 3)
        found = layer(x).view(2, 3).numpy()
    # In: channel 1 comes from the next joint, and at joint 0 counts one and a half times.
    shifted = np.array([[1, 5 * 1.5], [2, 6], [3, 4]])
    mapped = shifted @ np.array([[1, 10], [100, 1000]]) + [0.5, 0]
    # Out: channel 1 comes from the joint before.
    expected = np.stack([mapped[:, 0], np.roll(mapped[:, 1], 1)]) / np.sqrt(1 + 1e-5) + x.view(2, 3).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def temporally_shifted(x: np.ndarray, shift: np.ndarray, stride: int) -> np.ndarray:
    """The forward kernel of shift_cuda_kernel.cu written out, for a joint shift of zero."""
    n, c, t, v = x.shape
    out = np.zeros((n, c, -(-t // stride), v))
    for channel in range(c):
        position = shift[channel] + (0.5 if stride == 2 else 0)
        whole, part = math.floor(position), position - math.floor(position)
        for frame in range(out.shape[2]):
            for offset, share in ((0, 1 - part), (1, part)):
                source = frame * stride + whole + offset
                if 0 <= source < t:
                    out[:, channel, frame] += share * x[:, channel, source]
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n_frames", [1, 6, 7])
def test_temporal_shift_equals_the_authors_kernel(stride: int, n_frames: int) -> None:
    layer = TemporalShift(7, stride)
    shift = torch.tensor([0.0, 0.25, -0.25, 1.0, -2.75, 9.5, -30.0])
    x = torch.randn(2, 7, n_frames, 3, generator=seeded())
    with torch.no_grad():
        layer.ypos.copy_(shift)
        found = layer(x)
    np.testing.assert_allclose(found.numpy(), temporally_shifted(x.numpy(), shift.numpy(), stride), atol=1e-6)


def test_temporal_shift_by_hand() -> None:
    layer = TemporalShift(1)
    with torch.no_grad():
        layer.ypos.fill_(0.25)
        found = layer(torch.tensor([4.0, 8.0, 16.0]).view(1, 1, 3, 1))
    assert found.flatten().tolist() == [5.0, 10.0, 12.0]


def test_shifts_step_by_the_sign_of_their_gradient() -> None:
    # applyShiftConstraint of the authors' kernel: 0.01 either way, 0.0001 where there is no gradient.
    layer = TemporalShift(3)
    x = torch.tensor([[1.0, 9.0, 81.0], [1.0, 0.0, -5.0], [2.0, 2.0, 2.0]]).view(1, 3, 3, 1)
    with torch.no_grad():
        layer.ypos.copy_(torch.tensor([0.5, 0.5, 0.5]))
    layer(x)[:, :, 0].sum().backward()
    np.testing.assert_allclose(layer.ypos.grad, [0.01, -0.01, 0.0001], rtol=1e-6)


def test_the_gradient_of_what_is_shifted_is_exact() -> None:
    layer = TemporalShift(2, stride=2).double()
    x = torch.randn(1, 2, 5, 2, generator=seeded(), dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        layer.ypos.copy_(torch.tensor([0.3, -1.2]))
    assert torch.autograd.gradcheck(layer, (x,))


def test_other_layouts_shift_in_a_circle_of_their_own() -> None:
    network = SmallShiftGCN(COCO_17, 5, n_bodies=1, generator=seeded()).eval()
    assert network.l1.gcn1.shift_out.shape == (17 * 8,)
    with torch.no_grad():
        assert network(torch.randn(2, 3, 5, 17, 1, generator=seeded())).shape == (2, 5)


def test_the_dense_path_exports_for_any_number_of_clips() -> None:
    network = SmallShiftGCN(COCO_17, 5, generator=seeded()).eval()
    network.forward = lambda x: network.classify(network.dense_feature(x))  # type: ignore[method-assign]
    x = torch.randn(3, 3, 6, 17, 2, generator=seeded())
    with torch.no_grad():
        program = torch.export.export(network, (x[:2],), dynamic_shapes={"x": {0: torch.export.Dim("clips")}})
        torch.testing.assert_close(program.module()(x), network(x))
