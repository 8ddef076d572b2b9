"""Settings of network methods: what they do to a batch, and what of them is part of a job."""

from __future__ import annotations

import pytest
import torch

from mmcl_bench.methods.mmcl import MMCLSettings
from mmcl_bench.methods.rgb_fusion import RGBFusionSettings
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.skeleton.layouts import HDM05


def test_yaw_turns_clips_about_the_vertical_alone() -> None:
    settings = NetworkSettings(tilt=0, yaw=1.0, crop=1.0, n_frames=8)
    tracks, clip = torch.randn(20, 3, 8, len(HDM05)), torch.arange(20)
    turned = settings.augmentation(HDM05)(tracks, clip, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned[:, 1], tracks[:, 1])
    torch.testing.assert_close(turned[:, [0, 2]].norm(dim=1), tracks[:, [0, 2]].norm(dim=1))
    angles = torch.atan2(turned[:, 2, 0, 0], turned[:, 0, 0, 0]) - torch.atan2(tracks[:, 2, 0, 0], tracks[:, 0, 0, 0])
    angles = torch.remainder(angles + torch.pi, 2 * torch.pi) - torch.pi
    assert 0.5 < angles.abs().max() <= 1.0


@pytest.mark.parametrize("settings", [MMCLSettings, RGBFusionSettings])
def test_settings_that_a_job_was_stored_without_count_only_where_they_are_set(settings: type[NetworkSettings]) -> None:
    assert settings().as_json().keys().isdisjoint({"yaw", "label_smoothing", "average", "projection"})
    assert settings(average=0.99, yaw=0.0).as_json().keys() - settings().as_json().keys() == {"average"}
