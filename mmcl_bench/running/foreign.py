"""Scores that somebody else computed, judged under a task: read, joined with the test clips, evaluated, stored.

Files are data: nothing in them is unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl_bench.comparing.records import (
    Entry,
    Sheet,
)
from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration, per_class_accuracy
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol
from mmcl_bench.protocols.cards import Task
from mmcl_bench.results.records import MethodRecord, Result, Selection
from mmcl_bench.results.store import FUSION, RESULT, Stored, Validation, write_result, write_scores, write_validation
from mmcl_bench.running.recording import figure, number, task_record

if TYPE_CHECKING:
    import pandas as pd

FOREIGN = "foreign"
"""Preset of a stored result whose scores no job of ours made, and the mark in its notes."""
UNKNOWN = "unknown"
"""Its selection rule: nobody here saw how its epoch and settings were chosen."""
SAMPLE_ID = "sample_id"
FORMATS = (".safetensors", ".npz", ".csv", ".parquet")
_COMPANIONS = (".parquet", ".csv", ".txt")
_NAMED = 3
"""Names that a message lists at most."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class ScoreFile:
    """A score matrix as it was written."""

    path: Path
    sample_ids: tuple[str, ...]
    scores: np.ndarray
    """float (N, C)."""
    columns: tuple[str, ...] | None
    """What the file calls its C columns; None where it has no names."""

    @property
    def sha256(self) -> str:
        """Of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def aligned(self, sample_ids: Sequence[str], classes: Sequence[str], what: str = "test clip") -> np.ndarray:
        """float32 (N, K): the scores of these clips and classes, in their order.

        Raises :class:`UserError` for clips that are missing, surplus or repeated, columns that are not the classes, and
        scores that are no finite numbers.
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
                f"{self.path}: {_are(repeated)} there more than once: {_listed(repeated)}; give each clip "
                "one row, the mean where it was scored several times"
            )
        if missing := [name for name in sample_ids if name not in given]:
            raise UserError(
                f"{self.path}: {len(missing)} of the {len(sample_ids)} {what}s are missing: {_listed(missing)}; score "
                "these as well (--template writes all of their ids)"
            )
        if surplus := [name for name in self.sample_ids if name not in wanted]:
            raise UserError(
                f"{self.path}: {_are(surplus)} no {what} of the task: {_listed(surplus)}; leave "
                "them out, or name the task that they belong to"
            )

    def _columns_of(self, classes: Sequence[str]) -> list[int]:
        n_columns = self.scores.shape[1]
        names = None if self.columns is None else [_plain(name) for name in self.columns]
        wanted = [_plain(name) for name in classes]
        if names is not None and set(wanted) <= set(names) and len(set(names)) == len(names) == len(classes):
            return [names.index(name) for name in wanted]
        if n_columns != len(classes):
            raise UserError(
                f"{self.path}: {n_columns} columns of scores, and the task has {len(classes)} candidate classes"
                f"{self._differing(classes)}; give one column a class, in label order or by name"
            )
        if self.columns is None:
            return list(range(n_columns))
        order = _numbered(self.columns)
        if order is None:
            raise UserError(
                f"{self.path}: its columns are not the task's classes{self._differing(classes)}; name them as the "
                "task does (--template writes the names), or number them in label order"
            )
        return order

    def _differing(self, classes: Sequence[str]) -> str:
        if self.columns is None or _numbered(self.columns) is not None:
            return ""
        plain, wanted = {_plain(name) for name in self.columns}, {_plain(name) for name in classes}
        missing = [name for name in classes if _plain(name) not in plain]
        surplus = [name for name in self.columns if _plain(name) not in wanted]
        parts = [f"without {_listed(missing)}"] * bool(missing) + [f"with {_listed(surplus)}"] * bool(surplus)
        return f" ({', '.join(parts)})" if parts else ""


def read_score_file(path: Path, samples: Path | None = None) -> ScoreFile:
    """A score matrix with its sample ids.

    - ``.csv`` and ``.parquet``: a column ``sample_id``, every other column a class.
    - ``.npz``: arrays ``scores`` (N, C) and ``sample_ids`` (N,), perhaps ``classes`` (C,).
    - ``.safetensors``: a tensor ``scores`` (N, C); the ids stand in the metadata, ``sample_ids`` as a JSON list and
      perhaps ``classes``, or in a companion: the same name with ``.parquet``, ``.csv`` (column ``sample_id``) or
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
    # Beside files that are no such format, a damaged one may ask for any amount of memory.
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise UserError(f"{path}: not a readable file of scores ({_first_line(error)})") from error
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


@dataclass(frozen=True)
class Calibration:
    """What is subtracted from the scores of seen classes, and where that comes from."""

    value: float
    source: str
    """``given``; ``validation``, fitted on validation scores; ``none``: nobody said any, so 0; ``not needed``."""
    validation: Validation | None = None

    @property
    def told(self) -> str:
        """For the foot of a table."""
        if self.source == "none":
            return "no calibration was given or fitted: S, U, H are of raw scores; give --calibration or --validation"
        if self.source == "validation" and self.validation is not None:
            return f"calibration {self.value:.4g}, fitted on {len(self.validation.sample_ids)} validation clips"
        return f"calibration {self.value:.4g}, as given; nobody here saw how it was chosen"


class ScoredTask:
    """A task with its data: what scores of somebody else are joined with."""

    def __init__(
        self,
        task: Task,
        data_root: Path,
        advance: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        from mmcl_bench.datasets.prepare import open_dataset

        def preparing(name: str) -> Callable[[int, int], None]:
            return lambda done, total: advance(f"preparing {name}", done, total)

        data = {name: open_dataset(name, data_root, preparing(name)) for name in task.datasets}
        self.task = task
        self.protocol: Protocol = PROTOCOLS.get(task.card.family)(
            task, data, Needs(), data_root / "cache", None, advance
        )

    @cached_property
    def sample_ids(self) -> list[str]:
        """Of the test clips."""
        return self.protocol.test_sample_ids()

    @property
    def classes(self) -> tuple[str, ...]:
        """The candidate classes, in label order."""
        return self.protocol.classes.names

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the data, by data set."""
        return {name: dataset.card.fingerprint for name, dataset in self.protocol.data.items()}

    def scored(self, file: ScoreFile, calibration: Calibration) -> Scored:
        """A file's scores joined with the labels. Raises :class:`UserError` where they are not of this task's test."""
        return self.protocol.test_scored(file.aligned(self.sample_ids, self.classes), calibration.value)

    def calibration(self, given: float | None, validation: ScoreFile | None) -> Calibration:
        """Raises :class:`UserError` where the task has no use for what is given, or it cannot be used."""
        zero_shot = self.task.card.family == "zero-shot"
        if not zero_shot and (given is not None or validation is not None):
            raise UserError(f"{self.task.identity}: only zero-shot tasks have a calibration; leave it out")
        if given is not None and validation is not None:
            raise UserError("--calibration and --validation both set the calibration; give one")
        if given is not None and not np.isfinite(given):
            raise UserError(f"--calibration {given}: should be a finite number")
        if validation is not None:
            return self._fitted(validation)
        return Calibration(given or 0.0, "given" if given is not None else "none" if zero_shot else "not needed")

    def _fitted(self, file: ScoreFile) -> Calibration:
        """The calibration that maximises H on the clips that our own methods hold out, see docs/score.md."""
        from mmcl_bench.protocols.zero_shot import ZeroShot

        protocol = self.protocol
        if not isinstance(protocol, ZeroShot):
            raise UserError(f"{self.task.identity}: its protocol says nothing of validation; give --calibration")
        sample_ids = protocol.validation_sample_ids()
        columns = np.flatnonzero(protocol.classes.seen)
        names = [self.classes[column] for column in columns]
        if file.scores.shape[1] == len(self.classes):
            scores = file.aligned(sample_ids, self.classes, "validation clip")[:, columns]
        else:
            scores = file.aligned(sample_ids, names, "validation clip")
        train = protocol.train_rows
        column_of = dict(zip(map(str, train.of_index(SAMPLE_ID)), train.columns.tolist(), strict=True))
        labels = np.searchsorted(columns, [column_of[sample_id] for sample_id in sample_ids])
        seen = ~np.isin(columns, protocol.pseudo_unseen)
        try:
            value = fit_calibration(scores, labels, seen)
        except ValueError as error:
            raise UserError(f"{file.path}: {error}; give --calibration") from error
        return Calibration(
            value, "validation", Validation(Scored(scores, labels, seen, value), tuple(sample_ids), columns)
        )


@dataclass(frozen=True)
class ForeignRun:
    """One file of scores under a task: a run of a method that is not ours."""

    scored_task: ScoredTask
    name: str
    seed: int
    file: ScoreFile
    calibration: Calibration
    transductive: bool

    @cached_property
    def scored(self) -> Scored:
        return self.scored_task.scored(self.file, self.calibration)

    @cached_property
    def job(self) -> dict[str, Any]:
        """What names the result. Its scores do not: a second file of the same name takes the place of the first."""
        return {
            "task": self.scored_task.task.identity,
            "task_hash": self.scored_task.task.hash,
            "method": self.name,
            "method_version": 1,
            "preset": FOREIGN,
            "settings": {"transductive": True} if self.transductive else {},
            "seed": self.seed,
            "limit": None,
        }

    @property
    def job_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.job, sort_keys=True).encode()).hexdigest()

    @property
    def folder(self) -> str:
        """Name of the result's folder: readable first, unique by its hash."""
        readable = f"{self.scored_task.task.identity}-{self.name}-s{self.seed}".lower()
        return f"{re.sub(r'[^a-z0-9]+', '-', readable).strip('-')}-{self.job_hash[:12]}"

    def store(self, root: Path) -> Stored:
        """Writes it as a result like any other, marked as foreign. A former one of the same name and seed goes.

        Raises :class:`UserError` for a name that cannot be a method's or is one of ours.
        """
        from filelock import FileLock

        from mmcl_bench.results import provenance

        check_name(self.name)
        started, scored, protocol = provenance.start(), self.scored, self.scored_task.protocol
        accuracy = per_class_accuracy(scored)
        folder = root / "jobs" / self.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            (folder / RESULT).unlink(missing_ok=True)
            files = write_scores(folder, scored.scores, self.scored_task.sample_ids, scored.labels)
            files |= write_validation(folder, self.calibration.validation)
            result = Result(
                job=self.job,
                job_hash=self.job_hash,
                task=task_record(self.scored_task.task, self.scored_task.protocol),
                method=MethodRecord(
                    name=self.name,
                    version=1,
                    summary="scores from elsewhere; nobody here saw how they were made",
                    preset=FOREIGN,
                    settings=self.job["settings"],
                    overrides={},
                    transductive=self.transductive,
                ),
                seed=self.seed,
                limit=None,
                classes=self.scored_task.classes,
                seen=tuple(bool(seen) for seen in scored.seen),
                n_train=len(protocol.train_rows),
                n_test=len(scored),
                selection=self._selection(),
                metrics={name: figure(name, scored, self.job_hash) for name in self.scored_task.task.card.metrics},
                per_class={name: number(value) for name, value in zip(self.scored_task.classes, accuracy, strict=True)},
                oracle=None,
                history={},
                notes={
                    FOREIGN: True,
                    "file": self.file.path.name,
                    "sha256": self.file.sha256,
                    "calibration": self.calibration.source,
                },
                provenance=provenance.collect(started, "cpu", self.scored_task.fingerprints, protocol.weight_hashes),
                files=files,
            )
            return write_result(folder, result)

    def _selection(self) -> Selection:
        held_out = self.calibration.validation
        on_validation = (
            {}
            if held_out is None
            else {name: number(METRICS.get(name)(held_out.scored)) for name in self.scored_task.task.card.metrics}
        )
        return Selection(
            rule=UNKNOWN,
            chosen={},
            calibration=self.calibration.value,
            validation=on_validation,
            n_validation=0 if held_out is None else len(held_out.sample_ids),
        )


def check_name(name: str) -> None:
    """Raises :class:`UserError` for a method name that results of somebody else cannot have."""
    from mmcl_bench.methods import METHODS

    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: names have lower-case letters, digits, dots, dashes and underscores")
    if name == FUSION or name in METHODS:
        raise UserError(
            f"--name {name}: that is a method of this suite; give scores from elsewhere a name of their own"
        )


def write_template(path: Path, scored_task: ScoredTask) -> int:
    """Writes a CSV file of all test clips and classes with every score 0, for others to fill in; returns its rows."""
    import pandas as pd

    from mmcl_bench.core.files import write_atomically

    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it, or choose another --template")
    zeros = np.zeros((len(scored_task.sample_ids), len(scored_task.classes)), dtype=np.int64)
    frame = pd.DataFrame(zeros, columns=list(scored_task.classes))
    frame.insert(0, SAMPLE_ID, scored_task.sample_ids)
    write_atomically(path, lambda draft: frame.to_csv(draft, index=False, lineterminator="\n"))
    return len(frame)


def _read_csv(path: Path, ids: _Ids) -> ScoreFile:
    return _of_frame(path, _csv_frame(path), ids)


def _csv_frame(path: Path) -> pd.DataFrame:
    """Ids are left as they are written, even where they look like a number or a missing value."""
    import pandas as pd

    names = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
    missing = {name: ["", "NA", "NaN", "nan"] for name in names if name != SAMPLE_ID}
    return pd.read_csv(
        path, dtype={SAMPLE_ID: str}, keep_default_na=False, na_values=missing, encoding="utf-8-sig", index_col=False
    )


def _read_parquet(path: Path, ids: _Ids) -> ScoreFile:
    import pandas as pd

    return _of_frame(path, pd.read_parquet(path), ids)


def _of_frame(path: Path, frame: pd.DataFrame, ids: _Ids) -> ScoreFile:
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


def _read_npz(path: Path, ids: _Ids) -> ScoreFile:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise UserError(f"{path}: one bare array; save scores and sample_ids by name, with numpy.savez")
    with loaded as arrays:
        wanted = ["scores"] if ids is not None else ["scores", "sample_ids"]
        if missing := [name for name in wanted if name not in arrays.files]:
            raise UserError(f"{path}: no array {missing[0]!r}; it has {', '.join(arrays.files) or 'none'}")
        try:
            sample_ids = _texts(arrays["sample_ids"]) if ids is None else ids
            classes = _texts(arrays["classes"]) if "classes" in arrays.files else None
            return ScoreFile(path, sample_ids, arrays["scores"], classes)
        except ValueError as error:
            raise UserError(
                f"{path}: {_first_line(error)}; save names as arrays of strings, such as numpy.array(ids, dtype=str)"
            ) from error


def _read_safetensors(path: Path, ids: _Ids) -> ScoreFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            if "scores" not in file.keys():  # noqa: SIM118 - it is no mapping
                raise UserError(f"{path}: no tensor 'scores'; it has {', '.join(file.keys()) or 'none'}")
            scores = file.get_tensor("scores")
    except (SafetensorError, TypeError) as error:
        raise UserError(f"{path}: not a readable file of scores ({_first_line(error)}); save float32") from error
    if ids is None:
        ids = _json_list(path, metadata["sample_ids"]) if "sample_ids" in metadata else _read_ids(_companion(path))
    return ScoreFile(path, ids, scores, _json_list(path, metadata["classes"]) if "classes" in metadata else None)


_Ids = tuple[str, ...] | None
"""Sample ids that stand in a file of their own; None where they are with the scores."""
_READERS: Mapping[str, Callable[[Path, _Ids], ScoreFile]] = {
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
        raise UserError(f"{path}: not a readable file of sample ids ({_first_line(error)})") from error
    if SAMPLE_ID not in frame.columns:
        raise UserError(f"{path}: no column {SAMPLE_ID}; name the column of clips so")
    return tuple(frame[SAMPLE_ID].astype(str))


def _json_list(path: Path, text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata hold no JSON list ({_first_line(error)})") from error
    if not isinstance(found, list):
        raise UserError(f"{path}: its metadata hold {type(found).__name__} where a JSON list of names is expected")
    return tuple(map(str, found))


def _texts(array: np.ndarray) -> tuple[str, ...]:
    if array.dtype.kind == "S":
        return tuple(bytes(item).decode("utf-8") for item in array.ravel())
    return tuple(map(str, array.ravel()))


def _numbered(names: Sequence[str]) -> list[int] | None:
    """Positions of columns such as ``0, 1, 2`` or ``A001, A002`` by rising number; None where they are not so."""
    found = [re.fullmatch(r"\D*(\d{1,9})", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(names) or sorted(numbers) not in (
        list(range(len(names))),
        list(range(1, len(names) + 1)),
    ):
        return None
    return sorted(range(len(names)), key=numbers.__getitem__)


def _plain(name: str) -> str:
    """A class name without case, punctuation and doubled spaces."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def _are(sample_ids: Sequence[str]) -> str:
    return "1 sample id is" if len(sample_ids) == 1 else f"{len(sample_ids)} sample ids are"


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def entry_of_scores(path: Path, task: str, data_root: Path | None) -> Entry:
    from mmcl_bench.core import paths
    from mmcl_bench.protocols.catalogue import load_task

    if "*" in task or "?" in task:
        raise UserError(f"{path}: scores are judged by one task; name it with --task")
    scored_task = ScoredTask(load_task(task, paths.data_root(data_root)), paths.data_root(data_root))
    run = ForeignRun(
        scored_task, path.stem, 0, read_score_file(path), scored_task.calibration(None, None), transductive=False
    )
    scored = run.scored
    return Entry(
        path.name,
        run.file.sha256,
        task_record(scored_task.task, scored_task.protocol),
        scored_task.fingerprints,
        scored_task.classes,
        True,
        lambda: [Sheet(None, np.array(scored_task.sample_ids), scored)],
    )
