"""How long a job took over all the runs that it needed, told by a file in its work folder."""

from __future__ import annotations

import json
import time
from pathlib import Path

from mmcl_bench.core.files import write_atomically

CLOCK = "clock.json"
_SECONDS = 2.0
"""Between two writes: as much time as a kill may leave uncounted."""


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
        write_atomically(self._path, lambda path: path.write_text(json.dumps(clock)))


def time_spent(folder: Path) -> tuple[float, int]:
    """Seconds and starts so far of the job with this work folder."""
    try:
        clock = json.loads((folder / CLOCK).read_bytes())
        return float(clock["seconds"]), int(clock["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, 0
