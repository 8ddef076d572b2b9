"""What a job leaves, how it is written, and how results are read again.

A result is a folder with ``result.json``, ``scores.safetensors`` and ``samples.parquet``. Every metric follows from
the last two. Where a first fit chose on validation, ``validation.safetensors`` and ``validation.parquet`` hold its
scores of the held-out clips. Where a zero-shot method maps clips into the space of class texts,
``embeddings.safetensors`` holds those of unseen classes; where a transfer method has features of clips,
``domains.safetensors`` holds a map of some clips of both domains. Methods that keep their model leave it in
``model.json`` and ``model.safetensors``, which may be deleted: no figure needs them. ``result.json`` is written last,
so a folder with a valid one is a finished job. It is sealed and holds the sha256 of the other files, each of which is
checked when it is read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import DamagedError, file_sha256, write_atomically, write_text
from mmcl_bench.core.paths import results_root
from mmcl_bench.core.records import first_fault
from mmcl_bench.core.settings import setting_text
from mmcl_bench.core.text import as_utf8, joined_datasets, slug, some_of
from mmcl_bench.results.records import SCHEMA, Result

if TYPE_CHECKING:
    import pandas as pd

    from mmcl_bench.evaluation.metrics import Scored

RESULT, SCORES, SAMPLES = "result.json", "scores.safetensors", "samples.parquet"
VALIDATION_SCORES, VALIDATION_SAMPLES = "validation.safetensors", "validation.parquet"
EMBEDDINGS, DOMAINS = "embeddings.safetensors", "domains.safetensors"
OF_FIGURES = {SCORES, SAMPLES, VALIDATION_SCORES, VALIDATION_SAMPLES, EMBEDDINGS, DOMAINS}
"""The files that figures and pictures follow from; the others are those of the model."""
FUSION = "fusion"
"""Method name of a result that is a weighted sum of others' scores; no method."""
FUSION_OPTIONS = ("method", "streams", "members", "weights", "scale")
"""The overrides of a fusion that are options of ``mmcl-bench fuse``; others are settings of its members."""


LONGEST_NAME = 255 - len("..lock")
"""Letters of a folder's name, as file systems take 255 bytes, also in the name of the lock beside it."""
LONGEST_LABEL = 200
"""Letters of :func:`job_label` in the name of a run's folder; others take what there is room for."""
_HASH_LETTERS = 12
_LOG = logging.getLogger(__name__)


def job_label(task: str, method: str, n_members: int = 0) -> str:
    """The readable part of the name of a job's folder; ``n_members`` are those of a fusion."""
    return f"{task}-{method}-of-{n_members}" if n_members else f"{task}-{method}"


def folder_name(label: str, seed: int, job_hash: str, longest: int = LONGEST_NAME) -> str:
    """The name of a job's folder: readable first, unique by its hash, no longer than a file system takes.

    ``longest`` is how many letters of ``label`` it keeps at most.
    """
    ending = f"-s{seed}-{job_hash[:_HASH_LETTERS]}"
    return slug(label, min(longest, LONGEST_NAME - len(ending))) + ending


class OtherSchemaError(DamagedError):
    """A result of a version that writes results otherwise."""


class Stored:
    """A finished job in a folder.

    What reads one of its files raises :class:`UserError` where that is gone, or not as it was written.
    """

    def __init__(self, folder: Path, result: Result) -> None:
        self.folder = folder
        self.result = result

    @classmethod
    def read(cls, folder: Path) -> Stored | None:
        """The finished job in ``folder``, all files whole; None where there is none, of another schema, or damaged."""
        try:
            return cls.open(folder)
        except DamagedError:
            return None

    @classmethod
    def open(cls, folder: Path) -> Stored | None:
        """The finished job in ``folder``, all files whole but for a model that was deleted; None where there is none.

        Raises :class:`OtherSchemaError`, and :class:`DamagedError` that says which file is not as it was written.
        """
        stored = cls.listed(folder)
        if stored is not None:
            gone = {name for name in stored.model_files if not (folder / name).exists()}
            stored.check(stored.result.files.keys() - gone)
        return stored

    @classmethod
    def listed(cls, folder: Path) -> Stored | None:
        """As :meth:`open`, with ``result.json`` read alone: its figures can be trusted, other files are unchecked."""
        path = folder / RESULT
        try:
            content = as_utf8(path.read_bytes(), errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DamagedError(f"{RESULT} cannot be read ({error.strerror or error})") from error
        if (schema := schema_of(content)) not in (SCHEMA, None):
            raise OtherSchemaError(f"of result schema {schema}, here {SCHEMA}")
        try:
            result = Result.model_validate_json(content)
        except ValidationError as error:
            raise DamagedError(f"{RESULT} is damaged ({_what_is_wrong(error)})") from error
        if result.seal is not None and result.seal != _seal_of(content):
            raise DamagedError(f"{RESULT} is damaged (sha256 differs)")
        return cls(folder, result)

    def check(self, names: Iterable[str]) -> None:
        """Raises :class:`DamagedError` that says which of these files is not as it was written."""
        for name in names:
            try:
                found = file_sha256(self.folder / name)
            except FileNotFoundError as error:
                raise DamagedError(f"{name} is missing") from error
            except OSError as error:
                raise DamagedError(f"{name} cannot be read ({error.strerror or error})") from error
            if found != self.result.files[name]:
                raise DamagedError(f"{name} is damaged (sha256 differs)")

    @property
    def has_own_name(self) -> bool:
        """Whether its folder is called as the job that it holds, and so is no copy."""
        result = self.result
        label = job_label(result.task.identity, result.method.name, len(result.job.get("members", ())))
        names = {folder_name(label, result.seed, result.job_hash, longest) for longest in (LONGEST_LABEL, LONGEST_NAME)}
        return self.folder.name in names

    @property
    def model_files(self) -> list[str]:
        """Names of the files of its model; none where it keeps none."""
        return sorted({*self.result.files} - OF_FIGURES)

    @property
    def scores(self) -> np.ndarray:
        """float32 (N, K) test scores."""
        return self._arrays(SCORES)["scores"]

    @property
    def samples(self) -> pd.DataFrame:
        """One row a test clip: sample_id, column (of the true class), in the order of :attr:`scores`."""
        import pandas as pd

        return pd.read_parquet(self._content(SAMPLES))

    def scored(self) -> Scored:
        """Scores joined with labels: what every metric is computed from."""
        from pyarrow import parquet

        from mmcl_bench.evaluation.metrics import Scored

        columns = parquet.read_table(self._content(SAMPLES), columns=["column"])["column"].to_numpy()
        return Scored(
            self.scores,
            columns.astype(np.int64),
            np.array(self.result.seen, dtype=bool),
            self.result.selection.calibration,
        )

    def validation(self) -> Validation | None:
        """What the first fit gave for the clips that it held out; None where nothing was chosen on validation, and
        for results of a version that did not keep it."""
        import pandas as pd

        from mmcl_bench.evaluation.metrics import Scored

        if VALIDATION_SCORES not in self.result.files:
            return None
        sheet = self._arrays(VALIDATION_SCORES)
        samples = pd.read_parquet(self._content(VALIDATION_SAMPLES))
        return Validation(
            Scored(
                sheet["scores"],
                samples["column"].to_numpy(dtype=np.int64),
                sheet["seen"].astype(bool),
                self.result.selection.calibration,
            ),
            tuple(samples["sample_id"]),
            sheet["classes"],
        )

    def embeddings(self) -> Embeddings | None:
        """Clips of unseen classes among the class texts; None where the method maps to no such space, and for results
        of a version that did not keep them."""
        if EMBEDDINGS not in self.result.files:
            return None
        kept = self._arrays(EMBEDDINGS)
        return Embeddings(kept["samples"], kept["rows"], kept["prototypes"])

    def domain_map(self) -> DomainMap | None:
        """Some clips of both domains of a transfer; None where the method has no features of clips, and for results of
        a version that did not keep them."""
        return DomainMap(**self._arrays(DOMAINS)) if DOMAINS in self.result.files else None

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        from safetensors.numpy import load

        return load(self._content(name).getvalue())

    def _content(self, name: str) -> io.BytesIO:
        """A file as it was written."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error}); run its job again") from error
        if hashlib.sha256(content).hexdigest() != self.result.files[name]:
            raise UserError(f"{path}: is not as it was written (sha256 differs); run its job again")
        return io.BytesIO(content)


@dataclass(frozen=True)
class Embeddings:
    """Where test clips of unseen classes lie in the space of class texts."""

    samples: np.ndarray
    """float16 (M, D), unit rows."""
    rows: np.ndarray
    """int64 (M,), their rows in the test scores."""
    prototypes: np.ndarray
    """float16 (U, D), unit rows: the texts of the unseen classes, in the order of the classes."""


@dataclass(frozen=True)
class DomainMap:
    """Where clips of both domains of a transfer lie on the first two principal components of their features."""

    source: np.ndarray
    """float32 (N, 2), training clips of the sources."""
    source_labels: np.ndarray
    """int64 (N,), their classes among those of the test."""
    target: np.ndarray
    """float32 (M, 2), test clips."""
    target_labels: np.ndarray
    """int64 (M,)."""


@dataclass(frozen=True)
class Validation:
    """The score sheet of a selection fit: held-out training-side clips and their candidate classes."""

    scored: Scored
    """Its columns are the seen classes of the test; its ``seen`` is False for those held out as pseudo-unseen."""
    sample_ids: tuple[str, ...]
    classes: np.ndarray
    """int64, for each column its position among the classes of the test."""


def write_validation(folder: Path, validation: Validation | None) -> dict[str, str]:
    """Writes the sheet of a selection fit atomically, or removes a former one; returns sha256 by file name."""
    import pandas as pd
    from safetensors.numpy import save_file

    paths = folder / VALIDATION_SCORES, folder / VALIDATION_SAMPLES
    if validation is None:
        for path in paths:
            path.unlink(missing_ok=True)
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    scored = validation.scored
    sheet = {"scores": np.ascontiguousarray(scored.scores), "seen": scored.seen.astype(np.uint8)}
    sheet["classes"] = validation.classes.astype(np.int64)
    samples = pd.DataFrame({"sample_id": list(validation.sample_ids), "column": scored.labels})
    write_atomically(paths[0], lambda path: save_file(sheet, path))
    write_atomically(paths[1], lambda path: samples.to_parquet(path, index=False))
    return {path.name: file_sha256(path) for path in paths}


def write_embeddings(folder: Path, embeddings: Embeddings | None) -> dict[str, str]:
    """Writes embeddings atomically, or removes former ones; returns sha256 by file name."""
    return _write_arrays(folder / EMBEDDINGS, embeddings)


def write_domain_map(folder: Path, domains: DomainMap | None) -> dict[str, str]:
    """Writes the map of a transfer atomically, or removes a former one; returns sha256 by file name."""
    return _write_arrays(folder / DOMAINS, domains)


def _write_arrays(path: Path, arrays: Embeddings | DomainMap | None) -> dict[str, str]:
    from safetensors.numpy import save_file

    if arrays is None:
        path.unlink(missing_ok=True)
        return {}
    whole = {name: np.ascontiguousarray(array) for name, array in vars(arrays).items()}
    write_atomically(path, lambda draft: save_file(whole, draft))
    return {path.name: file_sha256(path)}


def write_scores(folder: Path, scores: np.ndarray, sample_ids: list[str], columns: np.ndarray) -> dict[str, str]:
    """Writes the score matrix and its samples atomically; returns sha256 by file name."""
    import pandas as pd
    from safetensors.numpy import save_file

    samples = pd.DataFrame({"sample_id": sample_ids, "column": columns.astype(np.int64)})
    write_atomically(folder / SCORES, lambda path: save_file({"scores": np.ascontiguousarray(scores)}, path))
    write_atomically(folder / SAMPLES, lambda path: samples.to_parquet(path, index=False))
    return {name: file_sha256(folder / name) for name in (SCORES, SAMPLES)}


def place_model(folder: Path, saved: Path, names: Iterable[str]) -> dict[str, str]:
    """Moves the files ``names`` of a model from the folder ``saved`` to ``folder``; returns sha256 by file name."""
    for name in names:
        (saved / name).replace(folder / name)
    return {name: file_sha256(folder / name) for name in names}


def write_result(folder: Path, result: Result) -> Stored:
    """Writes ``result.json`` atomically and sealed, which finishes the job."""
    blank = _text(result.model_copy(update={"seal": _UNSEALED}))
    sealed = result.model_copy(update={"seal": _seal_of(blank.encode())})
    write_text(folder / RESULT, _text(sealed))
    return Stored(folder, sealed)


def schema_of(content: bytes) -> int | None:
    """The schema version that ``result.json`` states; None where it states none."""
    found = re.search(rb'^\s*\{\s*"schema_version":\s*(\d+)', content)
    return int(found[1]) if found else None


def _text(result: Result) -> str:
    return result.model_dump_json(indent=1) + "\n"


_UNSEALED = "0" * 64


def _seal_of(content: bytes) -> str:
    """sha256 of ``result.json`` as it was before it was sealed."""
    blank = re.sub(rb'"seal": ?"[0-9a-f]{64}"', f'"seal": "{_UNSEALED}"'.encode(), content)
    return hashlib.sha256(blank).hexdigest()


def _what_is_wrong(error: ValidationError) -> str:
    where, message = first_fault(error)
    return f"{where}: {message}" if where else message.partition(" at line")[0]


def stored_results(root: Path, hash_start: str = "") -> Iterator[Stored]:
    """The finished jobs under ``root/jobs``, by folder name. Their other files are checked when they are read.

    ``hash_start`` is how the hash of each begins. A folder that is called otherwise than its job, such as a copy, is
    no result: it is left out, and a warning names it.
    """
    for _, stored in _jobs(root, hash_start):
        if stored is not None and stored.result.job_hash.startswith(hash_start):
            yield stored


def require_results(root: Path) -> list[Stored]:
    """The jobs of :func:`stored_results`. Raises :class:`UserError` when there is none."""
    return _some(root, list(stored_results(root)))


def whole_and_damaged(root: Path) -> tuple[list[Stored], list[Path]]:
    """The jobs of :func:`stored_results` all of whose files are whole, and the folders of damaged ones.

    Raises :class:`UserError` when no job is finished.
    """
    read = {folder: stored and Stored.read(folder) for folder, stored in _jobs(root)}
    whole = [stored for stored in read.values() if stored is not None]
    return _some(root, whole), [folder for folder, stored in read.items() if stored is None]


def _jobs(root: Path, hash_start: str = "") -> Iterator[tuple[Path, Stored | None]]:
    """The folders of finished jobs by name, with None for a damaged one; those of another name are left out."""
    misnamed = []
    for path in sorted((root / "jobs").glob(f"*{hash_start[:_HASH_LETTERS]}*/{RESULT}")):
        try:
            stored = Stored.listed(path.parent)
        except DamagedError:
            yield path.parent, None
            continue
        if stored is not None and not stored.has_own_name:
            misnamed.append(path.parent.name)
        else:
            yield path.parent, stored
    if misnamed:
        _warn_once(
            f"{root / 'jobs'}: {some_of(misnamed)}: not called as the job inside, so left out as a copy; "
            "move it elsewhere, or give it back its name"
        )


@cache
def _warn_once(message: str) -> None:
    """Warns at the first time alone, as one command may read the results several times."""
    _LOG.warning("%s", message)


def _some(root: Path, found: list[Stored]) -> list[Stored]:
    if not found:
        raise UserError(f"{root / 'jobs'}: no finished job; run one first, e.g. mmcl-bench run zero-shot --split 55/5")
    return found


def read_results(root: Path | str | None = None) -> pd.DataFrame:
    """One row a metric of every finished job under ``root``; without it, where ``mmcl-bench run`` keeps results.

    Columns: task, family, dataset, split, synthetic, incomplete (how many published clips its data have, where they
    lack some), method, method_version, setting, uses_unseen_texts, scores_with (modalities beside the skeleton, with
    commas), preset, settings (those that differ from the preset, as ``key=value, key=value``), seed, limit, selection,
    metric, main (whether it is the task's main metric), value, low, high, n, oracle, job, folder. Figures are shares
    of 1.
    """
    return table_of(stored_results(results_root(None if root is None else Path(root))))


def table_of(stored: Iterable[Stored]) -> pd.DataFrame:
    """One row a metric of every given job; columns as in :func:`read_results`."""
    import pandas as pd

    return pd.DataFrame([row for job in stored for row in _rows_of(job)], columns=_COLUMNS)


_COLUMNS = [
    *("task", "family", "dataset", "split", "synthetic", "incomplete"),
    *("method", "method_version", "setting", "uses_unseen_texts", "scores_with", "preset", "settings", "seed"),
    *("limit", "selection", "metric", "main", "value", "low", "high", "n", "oracle", "job", "folder"),
]


def _rows_of(stored: Stored) -> list[dict[str, Any]]:
    result = stored.result
    shared = {
        "task": result.task.identity,
        "family": result.task.family,
        "dataset": joined_datasets(result.task.datasets),
        "split": result.task.split,
        "synthetic": result.task.synthetic,
        "incomplete": result.task.incomplete_data,
        "method": result.method.name,
        "method_version": result.method.version,
        "setting": str(result.method.setting),
        "uses_unseen_texts": result.method.uses_unseen_texts,
        "scores_with": ",".join(result.method.scores_with),
        "preset": result.method.preset,
        "settings": ", ".join(f"{key}={setting_text(value)}" for key, value in sorted(result.method.overrides.items())),
        "seed": result.seed,
        "limit": result.limit,
        "selection": result.selection.rule,
        "job": result.job_hash,
        "folder": str(stored.folder),
    }
    return [
        {
            **shared,
            "metric": name,
            "main": name == result.task.main_metric,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "n": figure.n,
            "oracle": result.best_on_test if name == result.task.main_metric else None,
        }
        for name, figure in result.metrics.items()
    ]
