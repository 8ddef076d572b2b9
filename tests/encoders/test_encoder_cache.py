"""The cache of frozen features survives kills, damage and company, and gives the same numbers each time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.encoders import ENCODERS, EncoderFamily
from mmcl_bench.encoders.cache import BLOCK, FeatureCache, cached_text

N_ROWS = 2 * BLOCK + 10


def truth(rows: list[int]) -> np.ndarray:
    return np.array([[row, row * row % 97, -row] for row in rows], dtype=np.float32)


def refuse(rows: list[int]) -> np.ndarray:
    raise AssertionError(f"rows {rows[0]} to {rows[-1]} were computed again")


class Counting:
    """Computes the true features, notes its calls, and may fail as a kill would."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls: list[list[int]] = []
        self.fail_at = fail_at

    def __call__(self, rows: list[int]) -> np.ndarray:
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(rows)
        return truth(rows)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path, "f" * 64, "rgb", "clip:ViT-B-32", "a" * 64)


def test_rows_come_back_in_the_order_asked_for(cache: FeatureCache) -> None:
    rows = [2 * BLOCK + 9, 3, BLOCK, 3, 0]
    np.testing.assert_array_equal(cache.features(rows, truth), truth(rows))
    np.testing.assert_array_equal(cache.features(rows[::-1], refuse), truth(rows[::-1]))


def test_only_the_rows_that_were_asked_for_are_computed(cache: FeatureCache) -> None:
    compute, seen = Counting(), []
    cache.features([BLOCK + 1, 5], compute, lambda done, total: seen.append((done, total)))
    assert compute.calls == [[5], [BLOCK + 1]]
    assert seen == [(1, 2), (2, 2)]
    cache.features([BLOCK, BLOCK + 1], compute)
    assert compute.calls[2:] == [[BLOCK]]
    np.testing.assert_array_equal(cache.features([BLOCK + 1, 5, BLOCK], refuse), truth([BLOCK + 1, 5, BLOCK]))


def test_a_killed_run_goes_on_where_it_stopped(cache: FeatureCache) -> None:
    with pytest.raises(KeyboardInterrupt):
        cache.features(range(N_ROWS), Counting(fail_at=2))
    again = Counting()
    np.testing.assert_array_equal(cache.features(range(N_ROWS), again), truth(list(range(N_ROWS))))
    assert again.calls == [list(range(2 * BLOCK, N_ROWS))]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, make_empty])
def test_a_damaged_file_is_computed_again(cache: FeatureCache, damage: Callable[[Path], None]) -> None:
    cache.features(range(N_ROWS), truth)
    damage(sorted(cache.folder.iterdir())[1])
    again = Counting()
    np.testing.assert_array_equal(cache.features(range(N_ROWS), again), truth(list(range(N_ROWS))))
    assert again.calls == [list(range(BLOCK, 2 * BLOCK))]


def test_features_of_other_data_weights_modality_device_or_batch_are_not_mixed(cache: FeatureCache) -> None:
    cache.features([0], truth)
    others = [
        FeatureCache(cache.cache_dir, "f" * 63 + "0", "rgb", cache.encoder, cache.weight_hash),
        FeatureCache(cache.cache_dir, cache.fingerprint, "instruct", cache.encoder, cache.weight_hash),
        FeatureCache(cache.cache_dir, cache.fingerprint, "rgb", cache.encoder, "a" * 63 + "0"),
        FeatureCache(cache.cache_dir, cache.fingerprint, "rgb", "clip/ViT-B-32", cache.weight_hash),
        replace(cache, device="cuda"),
        replace(cache, batch=16),
    ]
    assert cache.made_otherwise() == []
    for other in others:
        compute = Counting()
        other.features([0], compute)
        assert len(compute.calls) == 1
    assert cache.made_otherwise() == others[-1:-3:-1]
    assert others[-1].stored([0, 1]) is None
    np.testing.assert_array_equal(others[-1].stored([0]), truth([0]))


def _fill(folder: Path, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait()
    filled = FeatureCache(folder, "f" * 64, "rgb", "e", "a" * 64)
    for _ in range(3):
        np.testing.assert_array_equal(filled.features(range(N_ROWS), truth), truth(list(range(N_ROWS))))


def test_two_processes_at_once_leave_a_sound_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    cache = FeatureCache(tmp_path, "f" * 64, "rgb", "e", "a" * 64)
    np.testing.assert_array_equal(cache.features(range(N_ROWS), refuse), truth(list(range(N_ROWS))))
    assert [path.name for path in cache.folder.iterdir() if path.name.startswith(".")] == []


def test_texts_are_encoded_once_for_each_list_and_each_weights(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    class Letters:
        name = "letters"

        def __init__(self, argument: str) -> None:
            self.weight_hash = argument * 64

        def encode(self, texts: list[str]) -> np.ndarray:
            calls.append(list(texts))
            return np.array([[len(text), text.count("a")] for text in texts], dtype=np.float32)

    class LettersFamily(EncoderFamily):
        text = Letters

    ENCODERS.register("letters")(LettersFamily)
    try:
        embeddings, weight_hash = cached_text("letters:a", ["drink", "a ball"], tmp_path)
        again, _ = cached_text("letters:a", ["drink", "a ball"], tmp_path)
        np.testing.assert_array_equal(again, [[5, 0], [6, 2]])
        np.testing.assert_array_equal(embeddings, again)
        assert weight_hash == "a" * 64
        assert len(calls) == 1
        cached_text("letters:a", ["a ball", "drink"], tmp_path)
        cached_text("letters:b", ["drink", "a ball"], tmp_path)
        assert len(calls) == 3
    finally:
        ENCODERS.unregister("letters")
