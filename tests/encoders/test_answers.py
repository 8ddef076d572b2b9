"""Multimodal language models: every way of asking, what is kept of an answer, and asking a whole data set."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_multimodal
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.additions import add_features
from mmcl_bench.datasets.store import Clip, SkeletonDataset
from mmcl_bench.encoders import answers as asking
from mmcl_bench.encoders.answers import BLOCK, INSTRUCTIONS, AnsweredClip, ask, token_features
from mmcl_bench.encoders.multimodal import MultimodalModel
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.layouts import get_layout
from prepared import write_dataset
from torch_threads import threads
from toys import tiny_card

QUESTION = "Whether the people are interacting ?"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a model reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.fixture(scope="module", params=list(tiny_multimodal.FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MultimodalModel:
    folder = tmp_path_factory.mktemp("models") / request.param
    return MultimodalModel(str(tiny_multimodal.write(request.param, folder)), longest=5)


def picture(seed: int) -> Image.Image:
    """One of three shapes, which some models turn into different numbers of tokens."""
    pixels = np.random.default_rng(seed).integers(0, 256, (56 + 28 * (seed % 3), 160, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_every_family_answers_with_text_token_features_and_their_mean(model: MultimodalModel) -> None:
    answers = model.ask([picture(0), picture(1)], QUESTION)
    assert len(answers) == 2
    for answer in answers:
        assert answer.tokens.dtype == np.float32
        assert answer.tokens.shape[0] <= 5
        assert answer.tokens.shape[1:] == answer.pooled.shape == (16,)
        if len(answer.tokens):
            np.testing.assert_allclose(answer.pooled, answer.tokens.mean(axis=0), atol=1e-6)
        assert not set(answer.text.split()) & set(tiny_multimodal.SPECIAL)
    assert np.abs(answers[0].pooled - answers[1].pooled).max() > 1e-4, "answers should depend on the image"


def test_clips_that_are_asked_together_get_the_answers_that_they_get_alone(model: MultimodalModel) -> None:
    together = model.ask([picture(seed) for seed in range(3)], QUESTION)
    for seed, answer in enumerate(together):
        (alone,) = model.ask([picture(seed)], QUESTION)
        assert alone.text == answer.text
        np.testing.assert_allclose(alone.tokens, answer.tokens, atol=1e-4)


def test_token_features_are_the_states_from_which_a_single_run_over_the_whole_text_chooses_the_answer(
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = tiny_multimodal.write("llava", tmp_path / "llava")
    (answer,) = MultimodalModel(str(folder), longest=5).ask([picture(4)], QUESTION)
    processor = AutoProcessor.from_pretrained(folder)
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    inputs = processor(images=picture(4), text=f"<image> {QUESTION} Answer :", return_tensors="pt")
    words = inputs["input_ids"]
    states, chosen = [], []
    with torch.no_grad():
        for _ in range(5):
            out = network(
                input_ids=words,
                attention_mask=torch.ones_like(words),
                pixel_values=inputs["pixel_values"],
                output_hidden_states=True,
            )
            states.append(out.hidden_states[-1][0, -1].numpy())
            chosen.append(int(out.logits[0, -1].argmax()))
            words = torch.cat([words, torch.tensor([[chosen[-1]]])], dim=1)
    ends = [at for at, token in enumerate(chosen) if token in (tiny_multimodal.END, tiny_multimodal.PAD)]
    length = ends[0] if ends else 5
    assert length, "the tiny model should say something here; choose another seed"
    np.testing.assert_allclose(answer.tokens, np.stack(states[:length]), atol=1e-4)
    message = [tiny_multimodal.WORDS[token] for token in chosen[:length] if token >= len(tiny_multimodal.SPECIAL)]
    assert answer.text.split() == message


def test_a_model_that_is_not_here_is_never_fetched() -> None:
    with pytest.raises(UserError, match="not on this machine and nothing is downloaded"):
        MultimodalModel("some-owner/some-model")


def test_a_folder_of_pickled_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny_multimodal.write("blip-vqa", tmp_path / "blip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        _ = MultimodalModel(str(folder)).weight_hash


def test_a_model_with_made_up_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_multimodal.write("blip-vqa", tmp_path / "blip")
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if "vision_model" in name)]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks trained weights"):
        MultimodalModel(str(folder)).ask([picture(0)], QUESTION)


def test_a_text_model_is_refused_in_one_line(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(
        LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        MultimodalModel(str(tmp_path)).ask([picture(0)], QUESTION)
    assert "\n" not in str(caught.value)


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> SkeletonDataset:
    """Synthetic clips with strips, in two blocks of answers."""
    joints = len(get_layout("kinect-v1"))
    card = tiny_card(classes=("eat",), modalities=(Modality.SKELETON, Modality.RGB))
    body = (BodyTrack(0, np.zeros((2, joints, 3), dtype=np.float32)),)
    clips = [Clip(f"clip{n:02d}", 0, 1, 2, body, rgb=encoded(n)) for n in range(BLOCK + 2)]
    return write_dataset(tmp_path / "tiny", clips, joints, card)


class CountingModel(MultimodalModel):
    """Counts what it is asked, and may be stopped after some of it."""

    asked = 0
    stop_after = 10**9

    def ask(self, images: Any, instruction: str) -> Any:
        if self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(images)
        return super().ask(images, instruction)


def test_asking_a_data_set_goes_on_where_it_was_stopped_and_reads_what_it_asked_before(
    dataset: SkeletonDataset, tmp_path: Path
) -> None:
    folder = tiny_multimodal.write("blip-vqa", tmp_path / "blip")
    rows, questions = range(BLOCK + 2), INSTRUCTIONS[:2]

    def answers(model: MultimodalModel, cache: str, batch: int) -> list[AnsweredClip]:
        return list(ask(dataset, rows, model, questions, tmp_path / cache, batch))

    stopped = CountingModel(str(folder), longest=3)
    stopped.stop_after = 2 * BLOCK
    with pytest.raises(KeyboardInterrupt):
        answers(stopped, "cache", 8)
    going_on = CountingModel(str(folder), longest=3)
    resumed = answers(going_on, "cache", 8)
    assert going_on.asked == 2 * 2, "only the second block was left"
    undisturbed = answers(MultimodalModel(str(folder), longest=3), "other", 8)
    again = CountingModel(str(folder), longest=3)
    read = answers(again, "cache", 8)
    assert again.asked == 0
    for one, other, third in zip(resumed, undisturbed, read, strict=True):
        assert one.row == other.row == third.row
        for mine, theirs, stored in zip(one.answers, other.answers, third.answers, strict=True):
            assert mine.text == theirs.text == stored.text
            np.testing.assert_array_equal(mine.pooled, theirs.pooled)
            np.testing.assert_allclose(mine.tokens, stored.tokens, atol=4e-3)  # kept in half precision
    longer = CountingModel(str(folder), longest=4)
    answers(longer, "cache", 8)
    assert longer.asked == 2 * (BLOCK + 2), "other settings are other answers"


def test_token_features_of_stored_answers_can_be_read_back(dataset: SkeletonDataset, tmp_path: Path) -> None:
    model = MultimodalModel(str(tiny_multimodal.write("blip-vqa", tmp_path / "blip")), longest=3)
    clips = list(ask(dataset, [0, 5], model, INSTRUCTIONS[:2], tmp_path / "cache"))
    made = {"model": model.identity(), "instructions": list(INSTRUCTIONS[:2])}
    pooled = np.stack([np.mean([answer.pooled for answer in clip.answers], axis=0) for clip in clips])
    add_features(dataset, "blip", Modality.INSTRUCT, np.array([0, 5]), pooled, {}, made)
    dataset = SkeletonDataset.open(dataset.folder)
    back = list(token_features(dataset, "blip", tmp_path / "cache"))
    assert [clip.row for clip in back] == [0, 5]
    assert [answer.text for clip in back for answer in clip.answers] == [
        answer.text for clip in clips for answer in clip.answers
    ]
    with pytest.raises(UserError, match="not in the cache any more"):
        list(token_features(dataset, "blip", tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="no model was asked as 'other'"):
        list(token_features(dataset, "other", tmp_path / "cache"))


def test_a_damaged_block_is_asked_again(dataset: SkeletonDataset, tmp_path: Path) -> None:
    folder = tiny_multimodal.write("blip-vqa", tmp_path / "blip")
    list(ask(dataset, [0], MultimodalModel(str(folder), longest=3), ["Describe ."], tmp_path / "cache"))
    (block,) = (tmp_path / "cache").rglob("*.safetensors")
    block.write_bytes(block.read_bytes()[:-3])
    model = CountingModel(str(folder), longest=3)
    assert len(list(ask(dataset, [0], model, ["Describe ."], tmp_path / "cache"))) == 1
    assert model.asked == 1


def test_instructions_are_of_the_form_of_the_paper() -> None:
    assert asking.WHETHER == "Whether the {target} are {action}?"
    assert asking.DESCRIBE == "Please describe the {target}."
    assert "Please describe the hands." in json.dumps(INSTRUCTIONS)
