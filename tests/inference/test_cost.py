"""What a network costs, against counts made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.inference.cost import Blueprint, complexity, measure, speed
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import ScoringNetwork
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import get_layout

LAYOUT = get_layout("kinect-v1")
JOINTS, FRAMES, BODIES, WIDTH, CLASSES = 20, 8, 2, 5, 7


class Tiny(nn.Module):
    """A convolution along time, a map of joints and a classifier; the teacher is for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, (3, 1), padding=(1, 0))
        self.mix = nn.Parameter(torch.eye(JOINTS))
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.teacher = nn.Linear(WIDTH, 4)

    def score(self, tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        mixed = torch.matmul(self.conv(tracks), self.mix)
        return self.fc(mixed.mean((2, 3)).view(n_clips, -1, WIDTH).mean(1))  # type: ignore[no-any-return]


def tiny() -> ScoringNetwork:
    module = Tiny()
    return ScoringNetwork(
        module=module,
        training_only=(module.teacher,),
        layout=LAYOUT,
        n_frames=FRAMES,
        n_bodies=BODIES,
        score=module.score,
        loss=lambda tracks, clip, n_clips: module.score(tracks, clip, n_clips).square().mean(),
        optimizer=lambda network: torch.optim.SGD(network.parameters(), lr=0.1),
    )


def test_arithmetic_is_that_of_a_count_by_hand() -> None:
    found = complexity(tiny())
    convolution = BODIES * FRAMES * JOINTS * WIDTH * (3 * 3)
    mixing = BODIES * FRAMES * WIDTH * JOINTS * JOINTS
    classifier = WIDTH * CLASSES
    assert found.macs == convolution + mixing + classifier
    assert found.flops == 2 * found.macs
    assert (found.n_frames, found.n_bodies, found.n_joints) == (FRAMES, BODIES, JOINTS)


def test_arithmetic_follows_frames_and_bodies() -> None:
    classifier = WIDTH * CLASSES
    whole, part = complexity(tiny()), complexity(tiny(), n_frames=FRAMES // 2, n_bodies=1)
    assert part.macs - classifier == (whole.macs - classifier) // 4


def test_parameters_of_training_alone_stand_apart() -> None:
    found = complexity(tiny())
    assert found.parameters == (3 * 3 * WIDTH + WIDTH) + JOINTS**2 + (WIDTH * CLASSES + CLASSES)
    assert found.training_parameters == WIDTH * 4 + 4


def test_counting_leaves_the_network_able_to_learn() -> None:
    network = tiny()
    complexity(network)
    assert all(parameter.requires_grad for parameter in network.module.parameters())
    measured = speed(network, batch_size=4)
    assert measured.scoring > 0
    assert measured.training > 0
    assert measured.threads == torch.get_num_threads()


def test_the_teachers_of_mmcl_are_counted_as_training_alone() -> None:
    settings = METHODS.get("mmcl").presets["quick"]
    alone = complexity(Blueprint("mmcl", "kinect-v1", 10, settings, {}).build())
    taught = complexity(Blueprint("mmcl", "kinect-v1", 10, settings, {Modality.RGB: 12, Modality.INSTRUCT: 6}).build())
    assert alone.training_parameters == 0
    assert taught.training_parameters > 12
    assert (taught.parameters, taught.flops) == (alone.parameters, alone.flops)


def test_ctr_gcn_has_the_size_that_its_authors_state() -> None:
    """1.46 M parameters on NTU RGB+D 60, table 5 of the paper (arXiv 2107.12213)."""
    settings = METHODS.get("skeleton-only").presets["paper"]
    found = complexity(Blueprint("skeleton-only", "kinect-v2", 60, settings, {}).build())
    assert found.parameters == pytest.approx(1.46e6, rel=0.02)


def test_all_of_it_is_measured_in_one_go() -> None:
    settings = METHODS.get("skeleton-only").presets["quick"]
    found = measure(Blueprint("skeleton-only", "kinect-v1", 10, settings, {}, n_frames=12), batch_size=8)
    assert found.complexity.n_frames == 12
    assert 0 < found.memory.scoring <= found.memory.training


def test_a_method_without_a_network_says_so() -> None:
    with pytest.raises(UserError, match="method logistic has no network"):
        Blueprint("logistic", "kinect-v1", 10, {}, {}).build()
