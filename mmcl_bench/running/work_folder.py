"""What a job leaves that has not ended, or failed: checkpoints, a clock, and ``failure.json`` until it succeeds."""

from __future__ import annotations

import json
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import CHECKPOINT, write_text

FAILURE = "failure.json"


class Failure(BaseModel):
    """The content of ``failure.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_hash: str
    error: str
    """One line."""
    kind: str
    """Name of the exception's class."""
    traceback: str
    when: str
    """UTC, ISO 8601."""
    environment: dict[str, str] = {}
    """:func:`.validity.checkpoint_environment` of the run that failed; empty where it failed before that was known."""


def record_failure(folder: Path, job_hash: str, error: BaseException, environment: dict[str, str]) -> Failure:
    """Writes why a job failed to its folder."""
    failure = Failure(
        job_hash=job_hash,
        error=one_line(error),
        kind=type(error).__name__,
        traceback="" if isinstance(error, UserError) else "".join(traceback.format_exception(error)),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment,
    )
    write_text(folder / FAILURE, failure.model_dump_json(indent=1) + "\n")
    return failure


def read_failure(folder: Path) -> Failure | None:
    """Why the job in a folder failed; None where it did not fail, or the file is unreadable."""
    try:
        return Failure.model_validate_json((folder / FAILURE).read_bytes())
    except (OSError, ValidationError):
        return None


def forget_failure(folder: Path) -> None:
    (folder / FAILURE).unlink(missing_ok=True)


def one_line(error: BaseException) -> str:
    """An exception's message in one line, with its class unless it is a :class:`UserError`."""
    message = " ".join(str(error).split())
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}".removesuffix(": ")


def has_checkpoints(work: Path) -> bool:
    """Whether a run that was stopped left something to go on from in its work folder."""
    return any(work.rglob(f"*{CHECKPOINT}"))


CLOCK = "clock.json"


_SECONDS = 2.0
"""Seconds between two writes: the most time that is not counted after a kill."""


class WorkTime:
    """Seconds and starts of a job, this run included. One that cannot be read counts as none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CLOCK
        self.former_seconds, former_starts = time_spent(folder)
        self.starts = former_starts + 1
        self._begin = self._written = time.monotonic()
        self._write()

    def tick(self) -> None:
        """Notes that the job is still running."""
        if time.monotonic() - self._written > _SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        clock = {"seconds": round(self.former_seconds + self._written - self._begin, 2), "starts": self.starts}
        write_text(self._path, json.dumps(clock))


def time_spent(folder: Path) -> tuple[float, int]:
    """Seconds and starts so far of the job with this work folder."""
    try:
        clock = json.loads((folder / CLOCK).read_bytes())
        return float(clock["seconds"]), int(clock["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, 0
