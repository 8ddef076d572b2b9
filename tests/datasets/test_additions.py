"""Strips, answers and features beside a prepared set: what they change of it, and what they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets import additions
from mmcl_bench.datasets.additions import add_answers, add_features, add_strips
from mmcl_bench.datasets.audit.verify import verify
from mmcl_bench.datasets.store import CARD, SkeletonDataset, fingerprint
from mmcl_bench.skeleton.clips import Modality
from toys import write_toy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_toy(tmp_path, "utd-mhad", 27, 2, 1)
    return tmp_path / "utd-mhad"


def opened(folder: Path) -> SkeletonDataset:
    return SkeletonDataset.open(folder)


def strips_of_text(dataset: SkeletonDataset, text: str, without: set[int] = frozenset()) -> None:
    images = [None if row in without else f"{text} {row}".encode() for row in range(len(dataset.index))]
    ids = dataset.index["sample_id"]
    add_strips(dataset, [lambda: images], {ids[row]: "has no video" for row in without}, {"text": text})


def test_a_set_without_additions_says_and_is_what_it_was(folder: Path) -> None:
    dataset = opened(folder)
    assert fingerprint(dataset) == dataset.card.fingerprint
    assert dataset.card.brings(Modality.SKELETON)
    assert dataset.modality_identity(Modality.RGB) == dataset.card.fingerprint


def test_strips_are_the_images_of_the_set_and_part_of_its_fingerprint(folder: Path) -> None:
    before = opened(folder).card
    strips_of_text(opened(folder), "red")
    dataset = opened(folder)
    assert dataset.card.modalities == (Modality.SKELETON, Modality.RGB)
    assert list(dataset.images([3, 0])) == [b"red 3", b"red 0"]
    assert dataset.card.fingerprint != before.fingerprint
    assert dataset.card.own_fingerprint == before.fingerprint
    assert verify(folder, lambda done, total: None).card == dataset.card


def test_the_fingerprint_follows_from_the_content_and_not_from_the_order_of_adding(tmp_path: Path) -> None:
    prints = []
    for name, order in (("one", (0, 1)), ("other", (1, 0))):
        write_toy(tmp_path / name, "utd-mhad", 27, 2, 1)
        place = tmp_path / name / "utd-mhad"
        dataset = opened(place)
        adding = (
            lambda dataset=dataset: strips_of_text(dataset, "red"),
            lambda dataset=dataset: add_features(
                dataset, "mine", Modality.RGB, np.array([1]), np.ones((1, 2), np.float32), {}, {}
            ),
        )
        for which in order:
            adding[which]()
        prints.append(opened(place).card.fingerprint)
    assert prints[0] == prints[1]


def test_features_of_some_clips_are_kept_by_name_and_modality(folder: Path) -> None:
    dataset = opened(folder)
    add_features(dataset, "mine", Modality.RGB, np.array([0, 2]), np.arange(6.0).reshape(2, 3), {}, {})
    add_features(dataset, "mine", Modality.INSTRUCT, np.array([1]), np.ones((1, 4)), {}, {})
    rows, features = opened(folder).features("mine", Modality.RGB)
    assert rows.tolist() == [0, 2]
    np.testing.assert_array_equal(features, np.arange(6, dtype=np.float32).reshape(2, 3))
    assert opened(folder).features("mine", Modality.INSTRUCT)[1].shape == (1, 4)
    with pytest.raises(UserError, match="Did you mean mine"):
        opened(folder).features("min", Modality.RGB)


def test_what_was_made_of_strips_goes_with_them(folder: Path) -> None:
    strips_of_text(opened(folder), "red")
    strips = opened(folder).card.addition("strips")
    assert strips is not None
    made = {"strips": strips.sha256}
    add_answers(opened(folder), [("a00_s01_v01", "Describe.", "Red.")], {}, made)
    add_features(opened(folder), "mine", Modality.RGB, np.array([0]), np.ones((1, 2)), {}, {})
    add_features(opened(folder), "model", Modality.INSTRUCT, np.array([0]), np.ones((1, 2)), {}, made)
    strips_of_text(opened(folder), "red")
    assert len(opened(folder).card.additions) == 4, "the same strips change nothing"
    strips_of_text(opened(folder), "blue")
    card = opened(folder).card
    assert [(each.kind, each.name) for each in card.additions] == [("features", "mine"), ("strips", "strips")]
    assert card.modalities == (Modality.SKELETON, Modality.RGB)
    left = {path.name for path in folder.iterdir()} - {CARD, "tracks.npy", "index.parquet"}
    assert left == {each.file for each in card.additions}


def test_an_addition_that_fails_leaves_the_set_as_it_was(folder: Path) -> None:
    strips_of_text(opened(folder), "red")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def broken() -> list[bytes | None]:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        add_strips(opened(folder), [broken], {}, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_kill_between_file_and_card_leaves_the_set_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strips_of_text(opened(folder), "red")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(additions, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            strips_of_text(opened(folder), "blue")
    assert list(verify(folder, lambda done, total: None).images([0])) == [b"red 0"]
    strips_of_text(opened(folder), "blue")
    assert list(opened(folder).images([0])) == [b"blue 0"]


def test_an_addition_that_was_changed_is_found(folder: Path) -> None:
    strips_of_text(opened(folder), "red")
    addition = opened(folder).card.addition("strips")
    assert addition is not None
    path = folder / addition.file
    path.write_bytes(path.read_bytes().replace(b"red 1", b"rot 1"))
    with pytest.raises(UserError, match="differ from what was prepared"):
        verify(folder, lambda done, total: None)
    path.unlink()
    with pytest.raises(UserError, match="missing; run mmcl-bench features build utd-mhad"):
        list(opened(folder).images([0]))


def test_a_set_that_brings_its_own_images_keeps_them(tmp_path: Path, folder: Path) -> None:
    card = opened(folder).card
    own = card.model_copy(update={"modalities": (Modality.SKELETON, Modality.RGB)})
    with pytest.raises(UserError, match="brings its own rgb data"):
        strips_of_text(SkeletonDataset(folder, own), "red")
