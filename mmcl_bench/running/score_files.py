"""Files of scores computed elsewhere, read as data and sorted into a task's order of clips and classes.

Nothing in them is unpickled or run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import file_sha256
from mmcl_bench.core.text import first_line

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ID = "sample_id"
FORMATS = (".safetensors", ".npz", ".csv", ".parquet")
_COMPANIONS = (".parquet", ".csv", ".txt")
_NAMED = 3
"""Names that a message lists at most."""


@dataclass(frozen=True)
class ScoreFile:
    """A score matrix as it was written."""

    path: Path
    sample_ids: tuple[str, ...]
    scores: np.ndarray
    """float (N, C)."""
    columns: tuple[str, ...] | None
    """The file's names of its C columns; None where it has none."""

    @property
    def sha256(self) -> str:
        """Of the file."""
        return file_sha256(self.path)

    def aligned(self, sample_ids: Sequence[str], classes: Sequence[str], what: str = "test clip") -> np.ndarray:
        """float32 (N, K): the scores of these clips and classes, in their order.

        Raises :class:`UserError` for clips that are missing, extra or repeated, columns that are not the classes, and
        scores that are not finite.
        """
        self._require_clips(sample_ids, what)
        row_of = {sample_id: row for row, sample_id in enumerate(self.sample_ids)}
        rows = [row_of[sample_id] for sample_id in sample_ids]
        with np.errstate(over="ignore"):
            scores = self.scores[np.ix_(rows, self._columns_of(classes))].astype(np.float32)
        if not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0]
            raise UserError(
                f"{self.path}: the score of clip {sample_ids[row]}, class {classes[column]!r} is {scores[row, column]} "
                f"in float32; give finite numbers, a very low one for a class that is out of the question"
            )
        return scores

    def _require_clips(self, sample_ids: Sequence[str], what: str) -> None:
        given, wanted = set(self.sample_ids), set(sample_ids)
        if repeated := [name for name, times in Counter(self.sample_ids).items() if times > 1]:
            raise UserError(
                f"{self.path}: {_ids_are(repeated)} there more than once: {_first_names(repeated)}; give each clip "
                "one row, the mean where it was scored several times"
            )
        if missing := [name for name in sample_ids if name not in given]:
            raise UserError(
                f"{self.path}: {len(missing)} of the {len(sample_ids)} {what}s are missing: {_first_names(missing)}; "
                "score these as well (--template writes all of their ids)"
            )
        if surplus := [name for name in self.sample_ids if name not in wanted]:
            raise UserError(
                f"{self.path}: {_ids_are(surplus)} no {what} of the task: {_first_names(surplus)}; leave "
                "them out, or name the task that they belong to"
            )

    def _columns_of(self, classes: Sequence[str]) -> list[int]:
        n_columns = self.scores.shape[1]
        names = None if self.columns is None else [_normalised(name) for name in self.columns]
        wanted = [_normalised(name) for name in classes]
        if names is not None and set(wanted) <= set(names) and len(set(names)) == len(names) == len(classes):
            return [names.index(name) for name in wanted]
        if n_columns != len(classes):
            raise UserError(
                f"{self.path}: {n_columns} columns of scores, and the task has {len(classes)} candidate classes"
                f"{self._differences(classes)}; give one column a class, in label order or by name"
            )
        if self.columns is None:
            return list(range(n_columns))
        order = _order_by_number(self.columns)
        if order is None:
            raise UserError(
                f"{self.path}: its columns are not the task's classes{self._differences(classes)}; name them as the "
                "task does (--template writes the names), or number them in label order"
            )
        return order

    def _differences(self, classes: Sequence[str]) -> str:
        if self.columns is None or _order_by_number(self.columns) is not None:
            return ""
        plain, wanted = {_normalised(name) for name in self.columns}, {_normalised(name) for name in classes}
        missing = [name for name in classes if _normalised(name) not in plain]
        surplus = [name for name in self.columns if _normalised(name) not in wanted]
        parts = [f"without {_first_names(missing)}"] * bool(missing) + [f"with {_first_names(surplus)}"] * bool(surplus)
        return f" ({', '.join(parts)})" if parts else ""


def read_score_file(path: Path, samples: Path | None = None) -> ScoreFile:
    """A score matrix with its sample ids.

    - ``.csv`` and ``.parquet``: a column ``sample_id``, every other column a class.
    - ``.npz``: arrays ``scores`` (N, C) and ``sample_ids`` (N,), optionally ``classes`` (C,).
    - ``.safetensors``: a tensor ``scores`` (N, C); the ids are in the metadata, ``sample_ids`` as a JSON list and
      optionally ``classes``, or in a companion: the same name with ``.parquet``, ``.csv`` (column ``sample_id``) or
      ``.txt`` (one a line), or ``samples.parquet`` or ``samples.csv`` beside it. ``samples`` names another.

    Raises :class:`UserError` for what cannot be read so.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: scores are read from {', '.join(FORMATS)} files; write one of these")
    if not path.is_file():
        raise UserError(f"{path}: no such file of scores")
    try:
        found = reader(path, None if samples is None else _read_ids(samples))
    # Besides errors of the format, a damaged file can cause a request for any amount of memory.
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise UserError(f"{path}: not a readable file of scores ({first_line(error)})") from error
    if found.scores.ndim != 2 or not np.issubdtype(found.scores.dtype, np.number):
        raise UserError(
            f"{path}: its scores are {found.scores.dtype} of shape {found.scores.shape}; give numbers, a row a clip "
            "and a column a class"
        )
    if len(found.sample_ids) != len(found.scores):
        raise UserError(
            f"{path}: {len(found.scores)} rows of scores and {len(found.sample_ids)} sample ids; "
            "give an id for each row"
        )
    return found


def _read_csv(path: Path, ids: _SampleIds) -> ScoreFile:
    return _of_frame(path, _csv_frame(path), ids)


def _csv_frame(path: Path) -> pd.DataFrame:
    """Ids are left as they are written, even where they look like a number or a missing value."""
    import pandas as pd

    names = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
    missing = {name: ["", "NA", "NaN", "nan"] for name in names if name != SAMPLE_ID}
    return pd.read_csv(
        path, dtype={SAMPLE_ID: str}, keep_default_na=False, na_values=missing, encoding="utf-8-sig", index_col=False
    )


def _read_parquet(path: Path, ids: _SampleIds) -> ScoreFile:
    import pandas as pd

    return _of_frame(path, pd.read_parquet(path), ids)


def _of_frame(path: Path, frame: pd.DataFrame, ids: _SampleIds) -> ScoreFile:
    import pandas as pd

    if ids is None and SAMPLE_ID not in frame.columns:
        raise UserError(f"{path}: no column {SAMPLE_ID}; name the column of clips so, every other one is a class")
    sample_ids = tuple(frame[SAMPLE_ID].astype(str)) if ids is None else ids
    of_classes = frame.drop(columns=SAMPLE_ID, errors="ignore")
    for name in of_classes.columns:
        if not pd.api.types.is_numeric_dtype(of_classes[name]):
            numbers = pd.to_numeric(of_classes[name], errors="coerce").to_numpy()
            row = int(np.isnan(numbers.astype(np.float64)).argmax())
            raise UserError(
                f"{path}: column {name!r}, row {row + 1}: {of_classes[name].iloc[row]!r} is no number; leave out "
                "columns that are no class, and give each score as a number"
            )
    return ScoreFile(path, sample_ids, of_classes.to_numpy(dtype=np.float64), tuple(map(str, of_classes.columns)))


def _read_npz(path: Path, ids: _SampleIds) -> ScoreFile:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise UserError(f"{path}: one bare array; save scores and sample_ids by name, with numpy.savez")
    with loaded as arrays:
        wanted = ["scores"] if ids is not None else ["scores", "sample_ids"]
        if missing := [name for name in wanted if name not in arrays.files]:
            raise UserError(f"{path}: no array {missing[0]!r}; it has {', '.join(arrays.files) or 'none'}")
        try:
            sample_ids = _strings(arrays["sample_ids"]) if ids is None else ids
            classes = _strings(arrays["classes"]) if "classes" in arrays.files else None
            return ScoreFile(path, sample_ids, arrays["scores"], classes)
        except ValueError as error:
            raise UserError(
                f"{path}: {first_line(error)}; save names as arrays of strings, such as numpy.array(ids, dtype=str)"
            ) from error


def _read_safetensors(path: Path, ids: _SampleIds) -> ScoreFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            if "scores" not in file.keys():  # noqa: SIM118 - it is no mapping
                raise UserError(f"{path}: no tensor 'scores'; it has {', '.join(file.keys()) or 'none'}")
            scores = file.get_tensor("scores")
    except (SafetensorError, TypeError) as error:
        raise UserError(f"{path}: not a readable file of scores ({first_line(error)}); save float32") from error
    if ids is None:
        ids = _json_list(path, metadata["sample_ids"]) if "sample_ids" in metadata else _read_ids(_companion(path))
    return ScoreFile(path, ids, scores, _json_list(path, metadata["classes"]) if "classes" in metadata else None)


_SampleIds = tuple[str, ...] | None
"""Sample ids from a separate file; None where they are with the scores."""
_READERS: Mapping[str, Callable[[Path, _SampleIds], ScoreFile]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _companion(path: Path) -> Path:
    places = [path.with_suffix(suffix) for suffix in _COMPANIONS]
    places += [path.with_name(f"samples{suffix}") for suffix in _COMPANIONS[:2]]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f"{path}: no sample ids; put them in its metadata as a JSON list 'sample_ids', in {places[1].name} beside it "
        f"with a column {SAMPLE_ID}, or name a file with --samples"
    )


def _read_ids(path: Path) -> tuple[str, ...]:
    import pandas as pd

    try:
        if path.suffix.lower() == ".txt":
            return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
        frame = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _csv_frame(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable file of sample ids ({first_line(error)})") from error
    if SAMPLE_ID not in frame.columns:
        raise UserError(f"{path}: no column {SAMPLE_ID}; name the column of clips so")
    return tuple(frame[SAMPLE_ID].astype(str))


def _json_list(path: Path, text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata hold no JSON list ({first_line(error)})") from error
    if not isinstance(found, list):
        raise UserError(f"{path}: its metadata hold {type(found).__name__} where a JSON list of names is expected")
    return tuple(map(str, found))


def _strings(array: np.ndarray) -> tuple[str, ...]:
    if array.dtype.kind == "S":
        return tuple(bytes(item).decode("utf-8") for item in array.ravel())
    return tuple(map(str, array.ravel()))


def _order_by_number(names: Sequence[str]) -> list[int] | None:
    """Positions of columns such as ``0, 1, 2`` or ``A001, A002`` by rising number; None where they are not so."""
    found = [re.fullmatch(r"\D*(\d{1,9})", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(names) or sorted(numbers) not in (
        list(range(len(names))),
        list(range(1, len(names) + 1)),
    ):
        return None
    return sorted(range(len(names)), key=numbers.__getitem__)


def _normalised(name: str) -> str:
    """A class name without case, punctuation and doubled spaces."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def _ids_are(sample_ids: Sequence[str]) -> str:
    return "1 sample id is" if len(sample_ids) == 1 else f"{len(sample_ids)} sample ids are"


def _first_names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
