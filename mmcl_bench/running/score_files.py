"""Files of scores computed elsewhere, read as data and sorted into a task's order of clips and classes.

Nothing in them is unpickled or run.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import file_sha256
from mmcl_bench.core.text import counted, first_line, match_names, some_of
from mmcl_bench.datasets.formats import restricted_pickle
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.restricted_pickle import PickledArray
from mmcl_bench.evaluation.metrics import real_scores

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ID = "sample_id"
_COMPANIONS = (".parquet", ".csv", ".txt", ".json", ".npy", ".pkl")
_CLIP_ENDINGS = frozenset({".skeleton", ".npy", ".npz", ".avi", ".mp4", ".txt", ".csv", ".mat", ".json"})


@dataclass(frozen=True)
class ScoreFile:
    """A score matrix as it was written."""

    path: Path
    sample_ids: tuple[str, ...]
    scores: np.ndarray
    """(N, C) numbers."""
    columns: tuple[str, ...] | None
    """The file's names of its C columns; None where it has none."""
    run: int | None = None
    """Which run of a file of several it is, counted from 1; None of a file of one."""

    @property
    def label(self) -> str:
        """Its file, and which run of that."""
        return self.path.name if self.run is None else f"{self.path.name}, run {self.run}"

    @property
    def sha256(self) -> str:
        """Of the file."""
        return file_sha256(self.path)

    def aligned(
        self,
        sample_ids: Sequence[str],
        classes: Sequence[str],
        what: str = "test clip",
        labels: Sequence[int] | None = None,
    ) -> np.ndarray:
        """(N, K) as :func:`real_scores` gives them: the scores of these clips and classes, in their order.

        ``labels`` are the numbers of the classes among all of the task, 0 to K - 1 where they are not given.
        Raises :class:`UserError` for clips that are missing, extra or repeated, columns that are not the classes,
        scores that are no finite real numbers, and clips whose every score is 0, as in a template.
        """
        rows = self._rows_of(sample_ids, what)
        found = self.scores[np.ix_(rows, self._columns_of(classes, labels or range(len(classes))))]
        try:
            scores = real_scores(found)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}; give each score as a number") from error
        if not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
            raise UserError(
                f"{self.path}: the score of clip {sample_ids[row]}, class {classes[column]!r}, is "
                f"{scores[row, column]}; give finite numbers, a very low one for a class that is out of the question"
            )
        empty = [sample_ids[row] for row in np.flatnonzero(~found.any(axis=1)).tolist()]
        self._require_filled(empty, len(sample_ids), what)
        return scores

    def has_clips(self, sample_ids: Sequence[str]) -> bool:
        """Whether its clips are these, in any order."""
        return None not in self._match_ids(sample_ids) and len(self.sample_ids) == len(sample_ids)

    def _require_filled(self, empty: Sequence[str], n_clips: int, what: str) -> None:
        if len(empty) == n_clips:
            raise UserError(f"{self.path}: every score is 0, as in a template; put the method's scores in their place")
        if empty:
            raise UserError(
                f"{self.path}: every score of {len(empty)} of the {n_clips} {what}s is 0, as in a template: "
                f"{_first_names(empty)}; put the method's scores in their place, or any other number where it has none"
            )

    def _match_ids(self, sample_ids: Sequence[str]) -> list[int | None]:
        """The row of each clip; None where it has none.

        Where an id is no clip's, all are compared without folders and the endings of clip files, numbers by value:
        ``test_7`` is ``test-000007``, and ``S001C001P001R001A001.skeleton`` is that clip.
        """
        given: Sequence[Any] = self.sample_ids
        wanted: Sequence[Any] = sample_ids
        if not set(given) <= set(wanted):
            plain_given, plain_wanted = [_plain_id(name) for name in given], [_plain_id(name) for name in wanted]
            if len(set(plain_given)) == len(given) and len(set(plain_wanted)) == len(wanted):
                given, wanted = plain_given, plain_wanted
        row_of = {sample_id: row for row, sample_id in enumerate(given)}
        return [row_of.get(sample_id) for sample_id in wanted]

    def _rows_of(self, sample_ids: Sequence[str], what: str) -> list[int]:
        if repeated := [name for name, times in Counter(self.sample_ids).items() if times > 1]:
            raise UserError(
                f"{self.path}: {_ids_are(repeated)} there more than once: {_first_names(repeated)}; give each clip "
                "one row, the mean where it was scored several times"
            )
        found = self._match_ids(sample_ids)
        rows = [row for row in found if row is not None]
        if missing := [name for name, row in zip(sample_ids, found, strict=True) if row is None]:
            raise UserError(
                f"{self.path}: {len(missing)} of the {len(sample_ids)} {what}s are missing: {_first_names(missing)}; "
                "score these as well (--template writes all of their ids)"
            )
        if len(rows) < len(self.sample_ids):
            surplus = [self.sample_ids[row] for row in sorted(set(range(len(self.sample_ids))) - set(rows))]
            raise UserError(
                f"{self.path}: {_ids_are(surplus)} no {what} of the task: {_first_names(surplus)}; leave "
                "them out, or name the task that they belong to"
            )
        return rows

    def _columns_of(self, classes: Sequence[str], labels: Sequence[int]) -> list[int]:
        """The column of each class."""
        n_columns = self.scores.shape[1]
        if twice := [name for name, times in Counter(self.columns or ()).items() if times > 1]:
            raise UserError(f"{self.path}: {_first_names(twice)} names more than one column; give each class one")
        found = [] if self.columns is None else match_names(self.columns, classes)
        by_number = None if self.columns is None or any(at is not None for at in found) else self._by_number(labels)
        if n_columns != len(classes):
            differences = "" if by_number else self._differences(classes, found)
            raise UserError(
                f"{self.path}: {counted(n_columns, 'column')} of scores, and the task has {len(classes)} candidate "
                f"classes{differences}; give one column a class, in label order or by name"
            )
        if self.columns is None:
            return list(range(n_columns))
        if by_number is not None:
            return by_number
        if None in found:
            raise UserError(
                f"{self.path}: its columns are not the task's classes{self._differences(classes, found)}; name them as "
                "the task does (--template writes the names), or number them in label order"
            )
        return sorted(range(n_columns), key=lambda column: found[column] or 0)

    def _by_number(self, labels: Sequence[int]) -> list[int] | None:
        """Its columns by rising number where they are called ``0, 1, 2`` or ``A001, A002``: by label, from 0 or 1 on,
        or counted; None where they are not."""
        matches = [re.fullmatch(r"(\D*)(\d{1,9})", name) for name in self.columns or ()]
        if not all(matches) or len({match[1] for match in matches if match}) != 1:
            return None
        numbers = [int(match[2]) for match in matches if match]
        counted = [list(range(first, first + len(numbers))) for first in (0, 1)]
        if sorted(numbers) not in [*counted, list(labels), [label + 1 for label in labels]]:
            return None
        return sorted(range(len(numbers)), key=numbers.__getitem__)

    def _differences(self, classes: Sequence[str], found: Sequence[int | None]) -> str:
        if self.columns is None:
            return ""
        missing = [name for at, name in enumerate(classes) if at not in found]
        surplus = [name for name, at in zip(self.columns, found, strict=True) if at is None]
        parts = [f"without {_first_names(missing)}"] * bool(missing) + [f"with {_first_names(surplus)}"] * bool(surplus)
        return f" ({', '.join(parts)})" if parts else ""


def read_score_file(path: Path, samples: Path | None = None) -> ScoreFile:
    """As :func:`read_score_files`, of a file of one run; raises :class:`UserError` for one of several."""
    files = read_score_files(path, samples)
    if len(files) > 1:
        raise UserError(f"{path}: holds the scores of {len(files)} runs; give a file of one")
    return files[0]


def read_score_files(path: Path, samples: Path | None = None) -> list[ScoreFile]:
    """The score matrices of a file with their sample ids: one, or one a run where ``scores`` are (runs, N, C).

    - ``.csv`` and ``.parquet``: a column ``sample_id``, or the index that pandas writes; all others are classes.
    - ``.npz``: arrays ``scores`` (N, C) and ``sample_ids`` (N,), optionally ``classes`` (C,).
    - ``.pkl``, ``.pickle`` and ``.json``: one row of scores by sample id; or ``scores``, ``sample_ids`` and optionally
      ``classes`` by name; or rows of scores alone.
    - ``.safetensors``: a tensor ``scores`` (N, C); in the metadata optionally ``sample_ids`` and ``classes`` as JSON
      lists.
    - ``.npy``: an array (N, C).

    Sample ids that are not in the file are in ``samples``, or else in a companion: the same name with ``.parquet``,
    ``.csv`` (column ``sample_id``), ``.txt`` (one a line), ``.json``, ``.npy`` or ``.pkl`` (a list of names), or
    ``samples.parquet`` or ``samples.csv`` beside it.

    Raises :class:`UserError` for what cannot be read so.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: scores are read from {', '.join(_READERS)} files; write one of these")
    if not path.is_file():
        raise UserError(f"{path}: no such file of scores")
    try:
        found = reader(path, None if samples is None else _read_ids(samples))
    except BadFile as error:
        raise UserError(f"{path}: {error}; save the scores as .npz or .csv") from error
    # Besides errors of the format, a damaged file can cause a request for any amount of memory.
    except (OSError, ValueError, KeyError, MemoryError, RecursionError, csv.Error) as error:
        raise UserError(f"{path}: not a readable file of scores ({first_line(error)})") from error
    n_runs = len(found.scores) if found.scores.ndim == 3 else 1
    if found.scores.ndim not in (2, 3) or not n_runs or found.scores.dtype.kind not in "iuf":
        raise UserError(
            f"{path}: its scores are {found.scores.dtype} of shape {found.scores.shape}; give real numbers, a row a "
            "clip and a column a class"
        )
    if len(found.sample_ids) != found.scores.shape[-2]:
        raise UserError(
            f"{path}: {found.scores.shape[-2]} rows of scores and {len(found.sample_ids)} sample ids; "
            "give an id for each row"
        )
    if found.columns is not None and len(found.columns) != found.scores.shape[-1]:
        raise UserError(
            f"{path}: {counted(found.scores.shape[-1], 'column')} of scores and {len(found.columns)} names of classes; "
            "give a name for each column, or none"
        )
    if found.scores.ndim == 2:
        return [found]
    return [replace(found, scores=scores, run=run) for run, scores in enumerate(found.scores, 1)]


def _read_csv(path: Path, ids: _SampleIds) -> ScoreFile:
    return _of_frame(path, *_csv_frame(path), ids)


def _csv_frame(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Names of columns, and the columns, numbered. Ids are left as they are written, even where they look like a
    number or a missing value."""
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next((row for row in csv.reader(file) if row), [])
    at = _id_column(names)
    frame = pd.read_csv(
        path,
        header=0,
        names=range(len(names)),
        dtype={} if at is None else {at: str},
        keep_default_na=False,
        na_values={column: ["", "NA", "NaN", "nan"] for column in range(len(names)) if column != at},
        encoding="utf-8-sig",
        index_col=False,
    )
    return names, frame


def _id_column(names: Sequence[str]) -> int | None:
    """The first column of that name, or else a first one without a name, as pandas writes an index."""
    if SAMPLE_ID in names:
        return names.index(SAMPLE_ID)
    return 0 if names and not names[0] else None


def _read_parquet(path: Path, ids: _SampleIds) -> ScoreFile:
    return _of_frame(path, *_parquet_frame(path), ids)


def _parquet_frame(path: Path) -> tuple[list[str], pd.DataFrame]:
    import pandas as pd

    frame = pd.read_parquet(path)
    if SAMPLE_ID not in frame.columns and not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=SAMPLE_ID)
    return list(map(str, frame.columns)), frame


def _of_frame(path: Path, names: Sequence[str], frame: pd.DataFrame, ids: _SampleIds) -> ScoreFile:
    at = _id_column(names)
    if ids is None and at is None:
        raise UserError(
            f"{path}: no column {SAMPLE_ID}; name the column of clips so, every other one is a class, and put commas "
            "between them"
        )
    sample_ids = ids or tuple(frame.iloc[:, at or 0].astype(str))
    columns = [column for column, name in enumerate(names) if column != at and name]
    arrays = [_numbers(path, names[column], frame.iloc[:, column]) for column in columns]
    scores = _beside(arrays) if arrays else np.zeros((len(frame), 0))
    return ScoreFile(path, sample_ids, scores, tuple(names[column] for column in columns))


def _numbers(path: Path, name: str, column: pd.Series) -> np.ndarray:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.dtype.kind not in "iuf" or (numbers.isna() & column.notna()).any():
        row = int((numbers.isna() & column.notna()).argmax())
        raise UserError(
            f"{path}: column {name!r}, row {row + 1}: {column.iloc[row]!r} is no number; leave out "
            "columns that are no class, and give each score as a number"
        )
    # Columns that may lack values are arrays of pandas; as those of numpy, what they lack is nan.
    dtype = "float64" if numbers.isna().any() else f"{numbers.dtype.kind}{numbers.dtype.itemsize}"
    array: np.ndarray = numbers.astype(dtype).to_numpy()
    return array


def _beside(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Columns as one matrix (N, C), in a type that holds all of their numbers."""
    dtype = np.result_type(*arrays)
    whole = [array for array in arrays if array.dtype.kind in "iu" and array.size]
    if dtype.kind == "f" and any(max(-int(array.min()), int(array.max())) > 2**53 for array in whole):
        dtype = np.dtype(np.longdouble)
    return np.stack([array.astype(dtype) for array in arrays], axis=1)


def _read_npz(path: Path, ids: _SampleIds) -> ScoreFile:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise UserError(f"{path}: one bare array; save scores and sample_ids by name, with numpy.savez")
    with loaded as arrays:
        if "scores" not in arrays.files:
            raise UserError(f"{path}: no array 'scores'; it has {', '.join(arrays.files) or 'none'}")
        if ids is None and "sample_ids" not in arrays.files:
            ids = _read_ids(_companion(path))
        try:
            sample_ids = _strings(arrays["sample_ids"]) if ids is None else ids
            classes = _strings(arrays["classes"]) if "classes" in arrays.files else None
            return ScoreFile(path, sample_ids, arrays["scores"], classes)
        except ValueError as error:
            raise UserError(
                f"{path}: {first_line(error)}; save names as arrays of strings, such as numpy.array(ids, dtype=str)"
            ) from error


def _read_npy(path: Path, ids: _SampleIds) -> ScoreFile:
    scores = np.load(path, allow_pickle=False)
    if not isinstance(scores, np.ndarray):
        raise UserError(f"{path}: several arrays; call it .npz")
    return ScoreFile(path, ids or _read_ids(_companion(path)), scores, None)


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


def _read_pickle(path: Path, ids: _SampleIds) -> ScoreFile:
    return _of_plain(path, _unpickled(path), ids)


def _unpickled(path: Path) -> object:
    with path.open("rb") as file:
        return restricted_pickle.load(file, path.stat().st_size)


def _read_json(path: Path, ids: _SampleIds) -> ScoreFile:
    return _of_plain(path, json.loads(path.read_text(encoding="utf-8-sig")), ids)


def _of_plain(path: Path, content: object, ids: _SampleIds) -> ScoreFile:
    """The scores in dicts and lists. As released code of the field dumps them, that is a row by sample id."""
    classes = None
    if isinstance(content, dict) and "scores" in content:
        classes = _names_in(content["classes"]) if "classes" in content else None
        ids = ids or (_names_in(content["sample_ids"]) if "sample_ids" in content else None)
        content = content["scores"]
    elif isinstance(content, list | tuple) and len(content) == 2 and _are_texts(content[0]):
        ids, content = ids or _names_in(content[0]), content[1]
    elif isinstance(content, dict) and content:
        ids, rows = tuple(content), [_array(row).reshape(-1) for row in content.values()]
        if odd := [name for name, row in zip(ids, rows, strict=True) if len(row) != len(rows[0])]:
            raise BadFile(f"has {len(rows[0])} scores for clip {ids[0]} and another number for {odd[0]}")
        content = rows
    return ScoreFile(path, ids or _read_ids(_companion(path)), _array(content), classes)


def _array(content: object) -> np.ndarray:
    if isinstance(content, PickledArray):
        return content.values()
    if isinstance(content, list | tuple) and content and isinstance(content[0], PickledArray | np.ndarray):
        return np.stack([_array(row) for row in content])
    return np.asarray(content)


def _are_texts(content: object) -> bool:
    return isinstance(content, list | tuple) and all(isinstance(name, str) for name in content)


def _names_in(content: object) -> tuple[str, ...]:
    """A list of names; or one with further lists, as in the files of names and labels that go with skeleton arrays."""
    if isinstance(content, list | tuple) and content and isinstance(content[0], list | tuple):
        content = content[0]
    if not isinstance(content, list | tuple) or not all(isinstance(name, str | int) for name in content):
        raise BadFile("holds no list of names")
    return tuple(map(str, content))


_SampleIds = tuple[str, ...] | None
"""Sample ids from a separate file; None where they are with the scores."""
_READERS: Mapping[str, Callable[[Path, _SampleIds], ScoreFile]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".pkl": _read_pickle,
    ".pickle": _read_pickle,
    ".json": _read_json,
    ".safetensors": _read_safetensors,
}


def _companion(path: Path) -> Path:
    places = [path.with_suffix(suffix) for suffix in _COMPANIONS]
    places += [path.with_name(f"samples{suffix}") for suffix in _COMPANIONS[:2]]
    for place in places:
        if place.is_file() and place != path:
            return place
    raise UserError(
        f"{path}: no sample ids; put them in {path.with_suffix('.txt').name} beside it, one a line, or name a file "
        "with --samples"
    )


def _read_ids(path: Path) -> tuple[str, ...]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".txt":
            return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
        if suffix == ".npy":
            return _strings(np.load(path, allow_pickle=False))
        if suffix in (".pkl", ".pickle"):
            return _names_in(_unpickled(path))
        if suffix == ".json":
            return _names_in(json.loads(path.read_text(encoding="utf-8-sig")))
        names, frame = _parquet_frame(path) if suffix == ".parquet" else _csv_frame(path)
    except (OSError, ValueError, csv.Error, BadFile, RecursionError) as error:
        raise UserError(f"{path}: not a readable file of sample ids ({first_line(error)})") from error
    if (at := _id_column(names)) is None:
        raise UserError(f"{path}: no column {SAMPLE_ID}; name the column of clips so")
    return tuple(frame.iloc[:, at].astype(str))


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


def _plain_id(sample_id: str) -> tuple[str | int, ...]:
    """An id without its folder and file ending, in words and numbers."""
    name = PurePosixPath(unicodedata.normalize("NFC", sample_id).replace("\\", "/"))
    text = name.stem if name.suffix.lower() in _CLIP_ENDINGS else name.name
    words = re.findall(r"[^\W\d_]+|\d{1,18}", text)
    return tuple(int(word) if word.isdecimal() else word for word in words)


def _ids_are(sample_ids: Sequence[str]) -> str:
    return "1 sample id is" if len(sample_ids) == 1 else f"{len(sample_ids)} sample ids are"


def _first_names(names: Iterable[str]) -> str:
    return some_of(list(names), shown=3)
