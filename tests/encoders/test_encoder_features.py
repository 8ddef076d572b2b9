"""From a prepared data set to frozen features of its images and answers."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import Clip, DatasetCard, SkeletonDataset
from mmcl_bench.encoders import image_encoder, text_encoder
from mmcl_bench.encoders.features import decode, encode_strips, instruct_features, rgb_features, sentences_by_clip
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from prepared import write_dataset
from toys import tiny_card

BOTH = (Modality.SKELETON, Modality.RGB, Modality.INSTRUCT)


def encoded_strip(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 320, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def card(modalities: tuple[Modality, ...]) -> DatasetCard:
    return tiny_card(name="tiny-synthetic", layout="synthetic-3", classes=("eat",), modalities=modalities)


def synthetic_dataset(folder: Path, images: list[bytes | None], modalities: tuple[Modality, ...]) -> SkeletonDataset:
    body = (BodyTrack(0, np.zeros((2, 3, 3), dtype=np.float32)),)
    answers = [(("Please describe the person.", f"Person {n} eats."),) for n in range(len(images))]
    clips = [
        Clip(f"clip{n}", 0, subject=1, n_frames=2, bodies=body, rgb=image, answers=answers[n])
        for n, image in enumerate(images)
    ]
    return write_dataset(folder, clips, 3, card(modalities))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SkeletonDataset:
    images = [encoded_strip(0), encoded_strip(1, "JPEG"), encoded_strip(2)]
    return synthetic_dataset(tmp_path_factory.mktemp("data") / "tiny", images, BOTH)


@pytest.fixture(scope="module")
def filled_cache(dataset: SkeletonDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache_dir = tmp_path_factory.mktemp("cache")
    rgb_features(dataset, [0, 1], "efficientnet-lite0", cache_dir)
    instruct_features(dataset, [0, 1], "minilm", cache_dir)
    return cache_dir


def test_rgb_features_are_the_image_encoder_over_each_strip(dataset: SkeletonDataset, filled_cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    features = rgb_features(dataset, [2, 1], "efficientnet-lite0", filled_cache, lambda *step: seen.append(step)).values
    strips = [Image.open(io.BytesIO(encoded)) for encoded in dataset.images([2, 1])]
    np.testing.assert_allclose(features, image_encoder("efficientnet-lite0").encode(strips), atol=2e-5)
    assert seen == [(2, 2)]


def test_a_run_prefers_its_own_features_and_says_when_it_takes_others(dataset: SkeletonDataset, tmp_path: Path) -> None:
    batched = encode_strips(dataset, [0, 1], "efficientnet-lite0", tmp_path, batch=2)
    taken = rgb_features(dataset, [1], "efficientnet-lite0", tmp_path)
    np.testing.assert_array_equal(taken.values, batched.values[1:])
    assert taken.made == "on cpu, 2 at once"
    own = rgb_features(dataset, [2, 1], "efficientnet-lite0", tmp_path)
    assert own.made == "", "the others lack a clip"
    again = rgb_features(dataset, [1], "efficientnet-lite0", tmp_path)
    np.testing.assert_array_equal(again.values, own.values[1:])
    assert again.made == ""


def test_instruct_features_are_the_text_encoder_over_each_clip_s_sentences(
    dataset: SkeletonDataset, filled_cache: Path
) -> None:
    features = instruct_features(dataset, [2, 0], "minilm", filled_cache).values
    texts = ["Please describe the person. Person 2 eats.", "Please describe the person. Person 0 eats."]
    np.testing.assert_allclose(features, text_encoder("minilm").encode(texts), atol=1e-5)


def test_every_answer_follows_its_instruction() -> None:
    answers = pd.DataFrame(
        {
            "sample_id": ["b", "a", "b"],
            "instruction": ["Whether the people are eating?", "Describe. ", "Describe."],
            "answer": ["Yes.", " They kick.", "They eat."],
        }
    )
    assert sentences_by_clip(answers) == {
        "a": ["Describe. They kick."],
        "b": ["Whether the people are eating? Yes.", "Describe. They eat."],
    }


def test_a_clip_with_several_answers_gets_their_mean(tmp_path: Path) -> None:
    answers = (("Describe the head.", "It is bent."), ("Describe the legs.", "They are straight."))
    clip = Clip("a", 0, subject=1, n_frames=2, bodies=(BodyTrack(0, np.ones((2, 3, 3), np.float32)),), answers=answers)
    dataset = write_dataset(tmp_path / "two", [clip], 3, card((Modality.SKELETON, Modality.INSTRUCT)))
    sentences = [" ".join(answer) for answer in answers]
    expected = text_encoder("minilm").encode(sentences).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(instruct_features(dataset, [0], "minilm", tmp_path)[0], expected, atol=1e-5)


def test_features_that_are_cached_need_no_torch(dataset: SkeletonDataset, filled_cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from mmcl_bench.encoders.features import instruct_features, rgb_features\n"
        "from mmcl_bench.datasets.store import SkeletonDataset\n"
        "dataset, cache = SkeletonDataset.open(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "assert rgb_features(dataset, [1, 0], 'efficientnet-lite0', cache)[0].shape == (2, 1280)\n"
        "assert instruct_features(dataset, [1, 0], 'minilm', cache)[0].shape == (2, 384)\n"
        "assert not {'torch', 'timm', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(dataset.folder), str(filled_cache)], check=True)


def empty_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def as_gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "GIF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (None, "has no image"),
        (b"", "no sound PNG or JPEG"),
        (encoded_strip(0)[:5000], "no sound PNG or JPEG"),
        (as_gif(), "no sound PNG or JPEG"),
        (empty_png(60000, 60000), "no sound PNG or JPEG"),
        (empty_png(9000, 10), "scale it below 8192 pixels"),
    ],
    ids=["missing", "empty", "cut short", "gif", "bomb", "huge"],
)
def test_a_bad_image_is_refused_with_the_name_of_its_clip(encoded: bytes | None, message: str) -> None:
    with pytest.raises(UserError, match="clip a7_s2") as caught:
        decode(encoded, "utd-mhad: clip a7_s2")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_clip_of_a_bad_image_is_named(tmp_path: Path) -> None:
    damaged = synthetic_dataset(tmp_path / "data", [encoded_strip(0), b"no image"], BOTH)
    with pytest.raises(UserError, match="tiny-synthetic: clip clip1 has an image"):
        rgb_features(damaged, [0, 1], "efficientnet-lite0", tmp_path / "cache")


def test_a_data_set_without_the_modality_is_refused(tmp_path: Path) -> None:
    bare = synthetic_dataset(tmp_path / "data", [None], (Modality.SKELETON,))
    with pytest.raises(UserError, match="has no rgb data"):
        rgb_features(bare, [0], "efficientnet-lite0", tmp_path)
    with pytest.raises(UserError, match="has no instruct data"):
        instruct_features(bare, [0], "minilm", tmp_path)
