"""What names a stored result, be it of a run, a fusion or scores from elsewhere: JSON, its hash, a folder."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import is_read_only
from mmcl_bench.results.store import LONGEST_NAME, folder_name, job_label


class Identity(ABC):
    """Identities that differ in anything that can change a number have different hashes."""

    longest_label: ClassVar[int] = LONGEST_NAME
    """Letters of :attr:`label` that a folder's name keeps at most."""

    @abstractmethod
    def canonical(self) -> dict[str, Any]:
        """What determines the result, as plain JSON values; task, method, seed and limit among them."""

    @property
    def label(self) -> str:
        """The readable part of the folder's name."""
        content = self.canonical()
        return job_label(content["task"], content["method"])

    @cached_property
    def hash(self) -> str:
        """sha256 of the canonical JSON, in hex."""
        return hashlib.sha256(json.dumps(self.canonical(), sort_keys=True).encode()).hexdigest()

    @cached_property
    def folder(self) -> str:
        """Name of the result's folder."""
        return folder_name(self.label, self.canonical()["seed"], self.hash, self.longest_label)


@contextmanager
def locked_folder(identity: Identity, results_root: Path, wait: bool = True) -> Iterator[Path]:
    """The folder of a result, locked against other writers. It need not be there yet.

    Raises :class:`filelock.Timeout` if ``wait`` is false and another process has the lock, and :class:`UserError` where
    nothing can be written.
    """
    folder = result_folder(identity, results_root)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=-1 if wait else 0)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if is_read_only(error):
            raise UserError(
                f"{folder.parent}: cannot be written ({error.strerror}); choose another place with --results"
            ) from error
        raise
    try:
        yield folder
    finally:
        lock.release()


def result_folder(identity: Identity, results_root: Path) -> Path:
    """Where a result lies, if it is there. Reading it needs no lock: it is written whole, and sealed."""
    return results_root / "jobs" / identity.folder
