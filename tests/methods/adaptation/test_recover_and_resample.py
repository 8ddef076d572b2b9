"""Recover and resample: what completes a cut clip, against regressions and straight lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from methods.test_methods import clips, problem, settings
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.adaptation.recover_and_resample import (
    Recover,
    RecoverSettings,
    learn_recovery,
    time_transforms,
)
from mmcl_bench.protocols.problem import Context
from mmcl_bench.skeleton.augmentation import Compose, CropResize, crop_resize

T, V = 16, 4


def random_tracks(n: int, seed: int = 0) -> Tensor:
    """Smooth movements about places of their own."""
    draw = torch.Generator().manual_seed(seed)
    steps = torch.randn(n, 3, T, V, generator=draw).cumsum(2)
    return steps + 10 * torch.randn(n, 3, 1, V, generator=draw)


def straight_tracks(n: int, seed: int = 0) -> Tensor:
    """Bodies that keep their pose and move at a steady rate, along each axis upwards."""
    draw = torch.Generator().manual_seed(seed)
    place, rate = torch.randn(n, 3, 1, V, generator=draw), 0.5 + torch.rand(n, 3, 1, 1, generator=draw)
    return place + rate * torch.linspace(0, 1, T).view(1, 1, T, 1)


def recovery(tracks: Tensor, **changes: object) -> Recover:
    return learn_recovery(tracks, RecoverSettings.model_validate({"probability": 1.0, **changes}), seed=3)


def test_a_transform_is_the_ridge_regression_of_whole_clips_on_what_a_cut_leaves() -> None:
    tracks, start, stop = random_tracks(50), torch.tensor([0.1, 0.4]), torch.tensor([0.8, 0.95])
    found = time_transforms(tracks, start, stop)
    for at in range(2):
        cut = crop_resize(tracks, start[at].expand(50), stop[at].expand(50), T)
        rows, whole = ((each - cut.mean(2, keepdim=True)).transpose(2, 3).reshape(-1, T) for each in (cut, tracks))
        penalty = 1e-3 * rows.square().sum().item() / T
        fitted = Ridge(penalty, fit_intercept=False, solver="svd").fit(rows.double().numpy(), whole.double().numpy())
        np.testing.assert_allclose(found[at].numpy(), fitted.coef_, atol=1e-3)


def test_a_straight_movement_goes_on_before_and_after_the_cut() -> None:
    tracks, start, stop = straight_tracks(30), torch.tensor([0.2]), torch.tensor([0.7])
    cut = crop_resize(tracks, start.expand(30), stop.expand(30), T)
    poses = (tracks - tracks.mean(3, keepdim=True))[:, :, 0]
    recover = Recover(start, stop, time_transforms(tracks, start, stop), poses, 1.0)
    completed = recover.completed(cut, torch.zeros(30, dtype=torch.int64))
    torch.testing.assert_close(completed, tracks, rtol=0, atol=2e-3)


def test_recovered_and_resampled_clips_keep_the_order_of_time() -> None:
    tracks, clip = straight_tracks(20), torch.arange(20)
    recover = recovery(tracks)
    varied = Compose((recover, CropResize(24)))(tracks, clip, torch.Generator().manual_seed(0))
    assert varied.shape == (20, 3, 24, V)
    assert (varied.mean(3).diff(dim=2) > 0).all()


def test_the_ends_are_poses_that_clips_begin_or_end_with_and_the_cut_stays() -> None:
    tracks = random_tracks(40)
    recover = recovery(tracks, poses=5, transforms=3)
    assert recover.poses.shape == (5, 3, V)
    cut = torch.arange(40) % 3
    completed = recover.completed(tracks, cut)
    for frame in (0, -1):
        found = completed[:, :, frame]
        centred = found - found.mean(2, keepdim=True)
        distances = (centred.unsqueeze(1) - recover.poses).flatten(2).norm(dim=2).min(1).values
        torch.testing.assert_close(distances, torch.zeros(40), rtol=0, atol=1e-3)
    at = torch.linspace(0, 1, T)
    inside = (at >= recover.start[cut].unsqueeze(1)) & (at <= recover.stop[cut].unsqueeze(1))
    mean = tracks.mean(2, keepdim=True)
    moved = mean + (recover.transforms[cut].unsqueeze(1) @ (tracks - mean))
    torch.testing.assert_close(completed.transpose(1, 2)[inside], moved.transpose(1, 2)[inside])


def test_bodies_of_a_clip_are_completed_alike_and_by_chance() -> None:
    one = random_tracks(30)
    recover, clip = recovery(one, probability=0.5), torch.arange(30).repeat_interleave(2)
    both = one.repeat_interleave(2, dim=0)
    varied = recover(both, clip, torch.Generator().manual_seed(0))
    torch.testing.assert_close(varied[::2], varied[1::2], rtol=0, atol=0)
    unchanged = (varied == both).flatten(1).all(1)[::2]
    assert 5 < int(unchanged.sum()) < 25
    assert torch.equal(replace(recover, probability=0.0)(both, clip, torch.Generator().manual_seed(0)), both)


def test_clips_in_which_nothing_moves_stay_as_they_are() -> None:
    still = torch.ones(6, 3, T, V) * torch.arange(V)
    completed = recovery(still, poses=1).completed(still, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(completed, still, rtol=0, atol=1e-5)


def test_completed_copies_change_what_is_learned(tmp_path: Path, shared: Path) -> None:
    kind, whole = METHODS.get("recover-and-resample"), replace(problem("transfer"), validation=None)
    scores = []
    for probability in (0.0, 1.0):
        method = kind(**settings(kind, probability=probability))
        method.fit(whole, Context(seed=5, folder=tmp_path, shared=shared, shared_seed=1))
        scores.append(method.score(clips(4, 3)))
    assert not np.allclose(*scores)
