"""SMIE against numbers of its authors' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.smie import SMIEHead, SMIESettings, calm_frames, with_frames_hidden
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.clips import BodyTrack


@pytest.fixture
def given(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "zoo_smie.safetensors")


def head(given: dict[str, Tensor], as_released: bool) -> SMIEHead:
    first, second = (len(given[f"weights.global_D.{layer}.bias"]) for layer in ("l0", "l1"))
    settings = SMIESettings(as_released=as_released, hidden=(first, second))
    n_features, n_text = given["input.feature_0"].shape[1], given["input.text_unit"].shape[1]
    made = SMIEHead(settings, n_features, n_text, torch.empty(0))
    made.discriminator.load_state_dict(
        {
            f"{layer}.{part}": given[f"weights.global_D.{layer}.{part}"]
            for layer in ("l0", "l1", "l2")
            for part in ("weight", "bias")
        }
    )
    return made


def test_losses_and_gradients_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    made = head(given, as_released=False)
    text = given["input.text_unit"][given["input.labels"]]
    losses = made.losses_of(given["input.feature_0"], given["input.feature_1"], text)
    for own, name in {"loss": "total", "alignment": "alignment", "temporal": "temporal"}.items():
        torch.testing.assert_close(losses[own], given[f"loss.{name}"], rtol=1e-5, atol=1e-6)
    losses["loss"].backward()
    for name, weight in made.discriminator.named_parameters():
        torch.testing.assert_close(weight.grad, given[f"grad.global_D.{name}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("as_released", "name"), [(True, "released"), (False, "layernorm")])
def test_scores_are_those_of_the_release_without_and_with_normalised_features(
    as_released: bool, name: str, given: dict[str, Tensor]
) -> None:
    unseen = given[f"output.class_scores_{name}"].shape[1]
    texts = {"text": given["input.text_unit"][-unseen:]}
    scores = head(given, as_released).scores(given["input.test_skeleton"], None, texts)
    torch.testing.assert_close(scores, given[f"output.class_scores_{name}"], rtol=1e-5, atol=1e-5)


def test_the_frames_with_least_motion_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    drawn = given["input.kept_frames_random"].numpy()
    clips = given["input.clip"].numpy()
    found = [clip[:, calm_frames(clip.swapaxes(0, 1), 35)[drawn]] for clip in clips]
    np.testing.assert_array_equal(found, given["output.masked_clip"].numpy())


def test_frames_with_most_motion_are_hidden_in_all_bodies_and_some_of_the_rest() -> None:
    positions = (1 + np.arange(20, dtype=np.float32)[:, None, None] * 0.1) * np.ones((20, 20, 3), dtype=np.float32)
    positions[10:13] += 5 * np.arange(1, 4)[:, None, None]
    other = BodyTrack(15, positions[15:] + 1)
    clips = ClipView([[BodyTrack(0, positions), other], [BodyTrack(2, positions[:2])]], [20, 4], "kinect-v1")
    hidden = with_frames_hidden(clips, np.random.default_rng(0))
    assert hidden.n_frames.tolist() == [8, 2]
    whole, second = hidden.bodies(0)
    assert not set(positions[10:13, 0, 0]) & set(whole.positions[:, 0, 0])
    assert np.all(np.diff(whole.positions[:, 0, 0]) > 0)
    np.testing.assert_array_equal(whole.positions[second.start :] + 1, second.positions)
    assert len(hidden.bodies(1)) == 1


def test_a_clip_keeps_its_frames_where_none_would_show_a_body() -> None:
    clips = ClipView([[BodyTrack(3, np.ones((1, 20, 3), dtype=np.float32))]], [10], "kinect-v1")
    hidden = with_frames_hidden(clips, np.random.default_rng(0))
    assert hidden.n_frames.tolist() == [10]
    assert hidden.bodies(0)[0].start == 3


def test_a_clip_of_one_frame_keeps_it() -> None:
    clips = ClipView([[BodyTrack(0, np.ones((1, 20, 3), dtype=np.float32))]], [1], "kinect-v1")
    assert with_frames_hidden(clips, np.random.default_rng(0)).n_frames.tolist() == [1]
