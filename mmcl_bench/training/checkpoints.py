"""Checkpoints: the state after the last epoch, to resume from, and the weights of kept epochs, to go back to."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from mmcl_bench.core.files import CHECKPOINT, DamagedError, read_sealed, set_aside, write_sealed

_LOG = logging.getLogger(__name__)
_MODULE, _AVERAGED, _OPTIMIZER, _FACTS = "module.", "averaged.", "optimizer.", "facts"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training in a folder of its own."""

    folder: Path
    is_kept: Callable[[int], bool]
    """Whether the weights after an epoch are kept for good."""

    def save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Writes the state after an epoch. It has a ``history`` of as many rows as epochs are done."""
        _save(self._state, state)
        if self.is_kept(epoch):
            _copy(self._state, self._snapshot(epoch))

    def keep_last(self, epoch: int) -> None:
        """Keeps for good the state that was saved last, which is that after ``epoch``."""
        _copy(self._state, self._snapshot(epoch))

    def state(self) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none. Raises :class:`DamagedError`."""
        return _load(self._state) if self._state.is_file() else None

    def snapshot(self, epoch: int) -> dict[str, Any]:
        """The state after a kept epoch. Raises :class:`DamagedError` where it is damaged or missing."""
        return _load(self._snapshot(epoch))

    def epochs(self) -> list[int]:
        """The epochs that are kept, in order."""
        return sorted(int(path.stem.rpartition("-")[2]) for path in self.folder.glob(f"epoch-*{CHECKPOINT}"))

    def mend(self, last: int) -> None:
        """Goes back to the latest epoch, at most ``last``, after which all checkpoints are as an uninterrupted run
        would have left them.

        A kept epoch that is damaged or missing is run again, from the last undamaged one before it, and so is all
        after it. A run that did not know the last epoch has gone beyond it, and kept more.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._epochs_done() > last and self._snapshot(last).is_file():
            _copy(self._snapshot(last), self._state)
        for epoch in self.epochs():
            if epoch > last or not self.is_kept(epoch):
                self._snapshot(epoch).unlink()
        done = self._epochs_done()
        latest = max([done, *self.epochs()])
        sound, broken = 0, latest + 1
        for epoch in filter(self.is_kept, range(1, latest + 1)):
            if not self._is_sound(epoch, may_lack=epoch == done):
                if epoch != done:
                    broken = epoch
                    break
                _copy(self._state, self._snapshot(epoch))
            sound = epoch
        for epoch in self.epochs():
            if epoch > sound:
                self._snapshot(epoch).unlink()
        if not sound <= done < broken:
            self._state.unlink(missing_ok=True)
            if sound:
                _copy(self._snapshot(sound), self._state)

    def _epochs_done(self) -> int:
        """Epochs of the state that training goes on from; 0 where there is none. A damaged one is set aside."""
        try:
            state = self.state()
        except DamagedError as error:
            _set_aside(self._state, error)
            return 0
        return 0 if state is None else len(state["history"])

    def _is_sound(self, epoch: int, may_lack: bool) -> bool:
        """Whether a kept epoch can be restored. A kill may come before the last one is kept."""
        path = self._snapshot(epoch)
        if may_lack and not path.is_file():
            return False
        try:
            read_sealed(path)
        except DamagedError as error:
            _set_aside(path, error)
            return False
        return True

    @property
    def _state(self) -> Path:
        return self.folder / f"state{CHECKPOINT}"

    def _snapshot(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}{CHECKPOINT}"


def _set_aside(path: Path, error: DamagedError) -> None:
    _LOG.warning("%s; set aside, and training goes on from what is sound", error)
    set_aside(path)


def _save(path: Path, state: Mapping[str, Any]) -> None:
    optimizer = state["optimizer"]
    tensors = {f"{_MODULE}{name}": tensor for name, tensor in state["module"].items()}
    tensors |= {f"{_AVERAGED}{name}": tensor for name, tensor in state["averaged"].items()}
    for parameter, moments in optimizer["state"].items():
        # SGD without momentum has None for one.
        kept = {name: moment for name, moment in moments.items() if moment is not None}
        tensors |= {f"{_OPTIMIZER}{parameter}.{name}": moment for name, moment in kept.items()}
    # torch.save and torch.load take four and fifteen times as long.
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    facts = json.dumps({"groups": optimizer["param_groups"], "history": state["history"]})
    arrays[_FACTS] = np.frombuffer(facts.encode(), np.uint8)
    write_sealed(path, safetensors.numpy.save(arrays))


def _load(path: Path) -> dict[str, Any]:
    arrays = safetensors.numpy.load(read_sealed(path))
    facts = json.loads(arrays.pop(_FACTS).tobytes())
    module: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, array in arrays.items():
        if name.startswith(_MODULE):
            module[name.removeprefix(_MODULE)] = torch.from_numpy(array)
        elif name.startswith(_AVERAGED):
            averaged[name.removeprefix(_AVERAGED)] = torch.from_numpy(array)
        else:
            parameter, _, moment = name.removeprefix(_OPTIMIZER).partition(".")
            moments[int(parameter)][moment] = torch.from_numpy(array)
    optimizer = {"state": dict(moments), "param_groups": facts["groups"]}
    return {"module": module, "averaged": averaged, "optimizer": optimizer, "history": facts["history"]}


def _copy(path: Path, copy: Path) -> None:
    """Another name for a file that is only ever replaced, never changed."""
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError:  # a file system without links
        shutil.copyfile(path, copy)
