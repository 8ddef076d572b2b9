"""Every text that is given by its name may begin with a byte order mark, as editors and shells of Windows write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_bench.comparing.baseline import Baseline
from mmcl_bench.comparing.records import Leaderboard
from mmcl_bench.comparing.sides import find_side
from mmcl_bench.core.paths import packaged
from mmcl_bench.datasets.store import CARD, SkeletonDataset
from mmcl_bench.encoders.imported import SAMPLE_IDS, read_features
from mmcl_bench.inference.predict import read_texts
from mmcl_bench.protocols.cards import read_card
from mmcl_bench.results.store import RESULT, Stored
from mmcl_bench.running.score_files import read_score_file
from mmcl_bench.running.suites import load_suite
from stored_jobs import leaderboard, stored_job
from toys import write_toy


def of_leaderboard(path: Path) -> Any:
    found = find_side(str(path), path.parent, "*", lambda scores: pytest.fail(f"{scores} was taken for scores"))
    assert isinstance(found, Leaderboard)
    return found.frame.to_csv()


def imported(path: Path) -> Any:
    np.save(path.parent / "features.npy", np.arange(6.0).reshape(2, 3))
    return read_features(path.parent, ["b", "a"]).features.tolist()


def scored(path: Path) -> Any:
    np.savez(path.parent / "scores.npz", scores=np.eye(2))
    return read_score_file(path.parent / "scores.npz", path).sample_ids


def prepared(folder: Path) -> str:
    write_toy(folder, "nw-ucla", 2, 2, 3)
    return (folder / "nw-ucla" / CARD).read_text()


def result(folder: Path) -> str:
    return (stored_job(folder).folder / RESULT).read_text()


def board(folder: Path) -> str:
    return leaderboard([stored_job(folder, method=method) for method in ("mmcl", "devise")]).to_csv(index=False)


TEXTS: dict[str, tuple[Callable[[Path], str], Callable[[Path], Any]]] = {
    "card.toml": (lambda _: (packaged("tasks") / "zero-shot-nw-ucla.toml").read_text(), read_card),
    "suite.toml": (
        lambda _: next((packaged("tasks") / "suites").glob("*.toml")).read_text(),
        lambda path: load_suite(str(path)),
    ),
    "texts.toml": (lambda _: '"clap – twice" = "両手"\n', read_texts),
    "texts.csv": (lambda _: "name,text\nclap – twice,両手\n", read_texts),
    "leaderboard.csv": (board, of_leaderboard),
    SAMPLE_IDS: (lambda _: "a\r\nb\r\n", imported),
    "baseline.json": (lambda _: (Path(__file__).parents[2] / "results" / "baseline.json").read_text(), Baseline.read),
    CARD: (prepared, lambda path: SkeletonDataset.open(path.parent).card),
    RESULT: (result, lambda path: Stored.listed(path.parent).result),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_with_a_byte_order_mark_as_without(name: str, encoding: str, tmp_path: Path) -> None:
    write, read = TEXTS[name]
    text = write(tmp_path / "made")
    found = []
    for form in ("utf-8", encoding):
        path = tmp_path / form / name
        path.parent.mkdir()
        path.write_bytes(text.encode(form))
        found.append(read(path))
    assert found[0] == found[1]


def test_sample_ids_of_scores_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("a\nb\n".encode("utf-8-sig"))
    assert scored(tmp_path / "ids.txt") == ("a", "b")
