"""Features from ``.npy`` files of somebody else."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders.imported import read_features

IDS = ["a", "b", "c"]


def write_matrix(folder: Path, matrix: np.ndarray, names: str) -> Path:
    np.save(folder / "features.npy", matrix)
    (folder / "sample_ids.txt").write_text(names)
    return folder


def test_rows_of_a_matrix_find_their_clips_and_others_are_passed_over(tmp_path: Path) -> None:
    found = read_features(write_matrix(tmp_path, np.arange(8.0).reshape(4, 2), "c\nx\na\nb\n"), IDS)
    assert found.rows.tolist() == [0, 1, 2]
    assert found.features.tolist() == [[4, 5], [6, 7], [0, 1]]
    assert found.features.dtype == np.float32


def test_names_of_clips_may_have_blanks_and_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    np.save(tmp_path / "secret.npy", np.ones(2))
    np.save(tmp_path / "given" / "a.npy", np.ones(2))
    (tmp_path / "given" / "linked.npy").symlink_to(tmp_path / "secret.npy")
    names = ["../secret", "a", "linked", "n" * 300]
    found = read_features(tmp_path / "given", names, skip_bad=True)
    assert found.rows.tolist() == [1]
    assert list(found.lacking) == ["../secret", "linked", "n" * 300]
    matrix = write_matrix(tmp_path, np.arange(4.0).reshape(2, 2), "a 1\n b 2 \n\n")
    (tmp_path / "secret.npy").unlink()
    assert read_features(matrix, ["a 1", "b 2"]).rows.tolist() == [0, 1]


def test_token_features_are_averaged(tmp_path: Path) -> None:
    for at, name in enumerate(IDS):
        np.save(tmp_path / f"{name}.npy", np.full((at + 1, 4), at, dtype=np.float16))
    assert read_features(tmp_path, IDS).features.tolist() == [[0] * 4, [1] * 4, [2] * 4]


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (np.zeros((2, 4)), "a\nb\nc", "names 3 clips"),
        (np.zeros(3), "a\nb\nc", r"is of shape \(3,\)"),
        (np.zeros((3, 4)), "a\nb\nb", "names a clip twice"),
        (np.zeros((2, 4)), "a\nb", "1 of 3 clips are without features: c"),
        (np.full((3, 4), np.inf), "a\nb\nc", "not finite"),
    ],
)
def test_a_matrix_that_does_not_fit_is_one_line(tmp_path: Path, matrix: np.ndarray, names: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_features(write_matrix(tmp_path, matrix, names), IDS)
    assert "\n" not in str(caught.value)


def test_clips_of_different_sizes_are_refused(tmp_path: Path) -> None:
    for at, name in enumerate(IDS):
        np.save(tmp_path / f"{name}.npy", np.zeros(4 + at))
    with pytest.raises(UserError, match="have 4 to 6 numbers"):
        read_features(tmp_path, IDS)


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_pickled_objects_are_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    np.save(tmp_path / "c.npy", np.zeros(3))
    found = read_features(tmp_path, IDS, skip_bad=True)
    assert list(found.lacking) == ["a", "b"]
    assert "run" not in capsys.readouterr().out
