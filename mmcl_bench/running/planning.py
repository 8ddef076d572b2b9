"""What a run of many jobs would do: which of them are done, which are missing, and about how long the rest takes.

Planning reads only small files: no data, no weights of networks, no scores. Whether a score file is undamaged is
checked where results are used.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pydantic_core

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import as_utf8, slug
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.results.records import SCHEMA
from mmcl_bench.results.store import LONGEST_NAME, OF_FIGURES, RESULT
from mmcl_bench.running.runner import RunSite, why_checkpoints_stale
from mmcl_bench.running.validity import checkpoint_environment, encoder_weights, what_differs, why_stale
from mmcl_bench.running.work_folder import FAILURE, has_checkpoints, read_failure, time_spent

if TYPE_CHECKING:
    from mmcl_bench.running.jobs import Job

LIKE_JOBS = 5
"""Maximum number of stored jobs in the median of an estimate."""
_LOOKED_AT = ("schema_version", "job", "files", "provenance")
_FOLDER = re.compile(r"(?P<head>.+)-s\d+-[0-9a-f]{12}")


class State(StrEnum):
    """The state of a job."""

    DONE = "done"
    PARTIAL = "partial"
    """Interrupted; there are checkpoints, from which it is resumed."""
    MISSING = "missing"
    STALE = "stale"
    """Stored, but data, weights, version or device have changed since; it is run again."""
    DAMAGED = "damaged"
    """Stored, but its files are damaged; it is run again."""
    FAILED = "failed"
    """Ended with an error; it is run again when asked to."""


@dataclass(frozen=True)
class Planned:
    """One job of a plan."""

    job: Job
    folder: Path
    state: State
    why: str = ""
    """Why it is stale, damaged or failed, or cannot be run; in one line."""
    seconds: float | None = None
    """Estimated time for the rest of it, run alone; 0 where it is done, None where no similar job was timed."""
    unready: str = ""
    """Why it cannot be run here at all, such as data that are not prepared."""
    absent: tuple[str, ...] = ()
    """Its data sets that cannot be opened."""

    def as_json(self) -> dict[str, Any]:
        """The job and its state as plain JSON values."""
        return {
            "task": self.job.task.identity,
            "method": self.job.method,
            "preset": self.job.preset,
            "seed": self.job.seed,
            "limit": self.job.limit,
            "state": str(self.state),
            "why": self.why,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "unready": self.unready,
            "settings": dict(self.job.settings),
            "job": self.job.hash,
            "folder": str(self.folder),
        }


@dataclass(frozen=True)
class Totals:
    """A plan in numbers."""

    jobs: int
    by_state: Mapping[State, int]
    seconds: float
    """Of the jobs to be run, one after the other, where similar jobs were timed."""
    unknown: int
    """Jobs to be run whose time cannot be estimated."""
    unready: int
    """Jobs that are not done and cannot be run here. They are not in the time."""

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        states = {str(state): self.by_state.get(state, 0) for state in State}
        sums = {"seconds": round(self.seconds, 1), "unknown": self.unknown, "unready": self.unready}
        return {"jobs": self.jobs, **states, **sums}


def plan(jobs: Sequence[Job], where: RunSite) -> list[Planned]:
    """The state of every job. Nothing is written, and no data set is made."""
    here = _Here(where)
    return [here.planned(job) for job in jobs]


def totals(planned: Sequence[Planned]) -> Totals:
    """A plan in numbers."""
    open_ = [each for each in planned if each.state is not State.DONE]
    # A run skips what has failed.
    left = [each for each in open_ if not each.unready and each.state is not State.FAILED]
    return Totals(
        jobs=len(planned),
        by_state=Counter(each.state for each in planned),
        seconds=sum(each.seconds or 0.0 for each in left),
        unknown=sum(each.seconds is None for each in left),
        unready=sum(bool(each.unready) for each in open_),
    )


@dataclass
class _Here:
    """What is on this machine: results, data and weights, each looked at once."""

    where: RunSite
    _folders: dict[str, list[str]] = field(default_factory=dict)
    """Names of the folders of jobs, by what they have in common over seeds."""
    _siblings: dict[str, list[str]] = field(default_factory=dict)
    """The same by all of a name but the hash."""
    _known: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _data: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    _like: dict[tuple[object, ...], float | None] = field(default_factory=dict)
    _environments: dict[tuple[str, ...], dict[str, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._jobs = self.where.results_root / "jobs"
        # os.listdir, as making a path of each of many names takes longer than all else here.
        for name in sorted(os.listdir(self._jobs)) if self._jobs.is_dir() else ():  # noqa: PTH208
            if match := _FOLDER.fullmatch(name):
                self._folders.setdefault(match["head"], []).append(name)
                self._siblings.setdefault(_without_hash(name), []).append(name)
        self._names = {name for names in self._folders.values() for name in names}

    def planned(self, job: Job) -> Planned:
        folder = self._jobs / job.folder
        looked = [self._dataset(name) for name in job.task.datasets]
        fingerprints = {name: found for name, (found, _) in zip(job.task.datasets, looked, strict=True)}
        unready = next((why for _, why in looked if why), "")
        absent = tuple(name for name, (_, why) in zip(job.task.datasets, looked, strict=True) if why)
        state, why = self._state(job, folder, fingerprints)
        if state is State.DONE:
            return Planned(job, folder, state, why, 0.0, unready, absent)
        seconds = self._estimate(job)
        if state is State.PARTIAL and seconds is not None:
            seconds = max(0.0, seconds - time_spent(folder / "work")[0])
        return Planned(job, folder, state, why or unready, seconds, unready, absent)

    def _state(self, job: Job, folder: Path, fingerprints: Mapping[str, str | None]) -> tuple[State, str]:
        if folder.name not in self._names:
            return self._of_another_version(job, folder.name)
        result = self._result(folder.name)
        if result is not None:
            state, why = self._state_of_result(job, folder, result, fingerprints)
            if state is State.DONE:
                return state, why
        else:
            state, why = State.MISSING, ""
        environment = self._environment(fingerprints) | encoder_weights(job, self.where.weights)
        failure = read_failure(folder) if (folder / FAILURE).exists() else None
        if failure is not None and what_differs(failure.environment, environment) is None:
            return State.FAILED, failure.error
        if result is None and has_checkpoints(folder / "work"):
            stale = why_checkpoints_stale(folder / "work", environment)
            return (State.PARTIAL, "") if stale is None else (State.STALE, f"checkpoints of a stopped run: {stale}")
        return state, why

    def _state_of_result(
        self, job: Job, folder: Path, result: Mapping[str, Any], fingerprints: Mapping[str, str | None]
    ) -> tuple[State, str]:
        try:
            if result["schema_version"] != SCHEMA:
                return State.STALE, f"of result schema {int(result['schema_version'])}, here {SCHEMA}"
            lost = [name for name in result["files"] if name in OF_FIGURES and not (folder / name).is_file()]
            stale = why_stale(job, result["provenance"], fingerprints, self.where.asked_device, self.where.weights)
        except (KeyError, TypeError, AttributeError, ValueError):
            return State.DAMAGED, f"{RESULT} is damaged"
        if lost:
            return State.DAMAGED, f"{lost[0]} is missing"
        return (State.DONE, "") if stale is None else (State.STALE, stale)

    def _of_another_version(self, job: Job, name: str) -> tuple[State, str]:
        """Whether another folder holds the same job as another version of its method or its task would run it."""
        wanted = job.canonical()
        for other in self._siblings.get(_without_hash(name), ()):
            former = (self._result(other) or {}).get("job")
            if not isinstance(former, dict):
                continue
            differing = {key for key in wanted if former.get(key) != wanted[key]}
            if differing == {"method_version"}:
                return State.STALE, f"of version {former['method_version']} of {job.method}, here {job.method_version}"
            if differing == {"task_hash"}:
                return State.STALE, f"the facts or parameters behind {job.task.identity} changed"
        return State.MISSING, ""

    def _result(self, name: str) -> dict[str, Any] | None:
        """What of ``result.json`` a plan looks at, unchecked: None where there is none, empty where it is no JSON."""
        if name not in self._known:
            try:
                content = pydantic_core.from_json(as_utf8((self._jobs / name / RESULT).read_bytes()))
                self._known[name] = {key: content.get(key) for key in _LOOKED_AT} if isinstance(content, dict) else {}
            except FileNotFoundError:
                self._known[name] = None
            except (OSError, ValueError):
                self._known[name] = {}
        return self._known[name]

    def _dataset(self, name: str) -> tuple[str | None, str]:
        """The fingerprint of a data set, None where it is not there; and why jobs on it cannot run, if they cannot."""
        if name not in self._data:
            self._data[name] = self._look_at(name)
        return self._data[name]

    def _look_at(self, name: str) -> tuple[str | None, str]:
        if name in READERS and READERS.get(name).embedded:
            try:
                card = SkeletonDataset.open(self.where.data_root / name).card
            except UserError:
                return None, ""  # made by the first run
            return (card.fingerprint if card.reader_version == READERS.get(name).version else None), ""
        try:
            return open_dataset(name, self.where.data_root).card.fingerprint, ""
        except UserError as error:
            return None, str(error)

    def _environment(self, fingerprints: Mapping[str, str | None]) -> dict[str, str | None]:
        if (names := tuple(fingerprints)) not in self._environments:
            known = {name: found for name, found in fingerprints.items() if found is not None}
            self._environments[names] = {**checkpoint_environment(known, self.where.device)}
        return self._environments[names]

    def _estimate(self, job: Job) -> float | None:
        """The median wall time of stored jobs that differ in seed alone, or else in the split of the task as well."""
        head = job.folder.rpartition("-s")[0]
        key = head, job.preset, job.limit, tuple(map(str, job.settings.values()))
        if key not in self._like:
            found = self._times(job, [head])
            if not found:
                start, end = _head_parts(job)
                found = self._times(
                    job, [each for each in self._folders if each.startswith(start) and each.endswith(end)]
                )
            self._like[key] = median(found) if found else None
        return self._like[key]

    def _times(self, job: Job, heads: Sequence[str]) -> list[float]:
        found: list[float] = []
        for name in (name for head in heads for name in self._folders.get(head, ())):
            result = self._result(name) or {}
            former, origin = result.get("job"), result.get("provenance")
            if not isinstance(former, dict) or not isinstance(origin, dict):
                continue
            same = ("method", "preset", "settings", "limit")
            seconds = origin.get("wall_seconds")
            if isinstance(seconds, float) and all(former.get(key) == job.canonical()[key] for key in same):
                found.append(seconds)
            if len(found) == LIKE_JOBS:
                break
        return found


def _without_hash(folder_name: str) -> str:
    return folder_name.rpartition("-")[0]


def _head_parts(job: Job) -> tuple[str, str]:
    """How the folders of jobs of the card and method begin, and how they go on before the seed."""
    card = job.task.card
    return slug(f"{card.path}@{card.version}", LONGEST_NAME) + "-", "-" + slug(job.method, LONGEST_NAME)
