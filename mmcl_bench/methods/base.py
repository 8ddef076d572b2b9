"""What a method is, and what the runner hands to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmcl_bench.protocols.base import ClipView, Problem
from mmcl_bench.skeleton.store import Modality

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with a phase, the steps done, the steps in all, and figures to show."""


def silent(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """A :data:`Progress` that shows nothing."""


@dataclass(frozen=True)
class Context:
    """What a fit may know of its surroundings."""

    seed: int
    folder: Path
    """The method's own scratch and checkpoint folder; what it finds here after a kill is its own."""
    device: str = "cpu"
    progress: Progress = silent
    chosen: Mapping[str, Any] | None = None
    """What an earlier fit chose on validation (epoch, hyper-parameters); None: choose, or use the preset's own."""


@dataclass
class FitReport:
    """What a fit leaves besides the fitted method."""

    chosen: dict[str, Any] = field(default_factory=dict)
    """Settings chosen on ``problem.validation``, to be used by the fit on all training clips, e.g. ``{"epoch": 17}``.
    The method now holds the state that they name."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: epoch, losses, validation figure."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Facts that the result should state, such as which losses were on."""


class Method(ABC):
    """A benchmarked method. One file, registered by name.

    A method is made once per fit with the settings of its preset; ``fit`` sees a :class:`Problem`, ``score`` sees
    skeletons alone.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when a change of the method changes its scores."""
    summary: ClassVar[str]
    families: ClassVar[frozenset[str]] = frozenset({"supervised", "zero-shot", "transfer"})
    """The task families it can work under."""
    transductive: ClassVar[bool] = False
    """True: it may read ``problem.target_unlabelled``, and tables say so."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}
    """Settings by preset; every method has ``quick`` and ``paper``."""

    def __init__(self, **settings: Any) -> None:
        """Takes its settings, and raises :class:`UserError` for values that it cannot work with."""
        self.settings = settings

    @classmethod
    def encoders(cls, settings: Mapping[str, Any]) -> Mapping[Modality, str]:
        """Which frozen encoder it wants for each modality beside the skeleton; data sets without one are fine."""
        return {}

    @classmethod
    def selects(cls, settings: Mapping[str, Any], family: str) -> bool:
        """Whether a first fit on held-out validation chooses anything; False: the preset fixes all of it."""
        return family == "zero-shot"

    @abstractmethod
    def fit(self, problem: Problem, context: Context) -> FitReport:
        """Learns from ``problem``. Everything random follows from ``context.seed``."""

    @abstractmethod
    def score(self, clips: ClipView) -> np.ndarray:
        """float32 (N, K) scores, higher is likelier, columns in the order of ``problem.classes``."""

    def snapshots(self) -> list[int]:
        """Epochs that :meth:`restore` can bring back, for the oracle figure; empty when there is none."""
        return []

    def restore(self, epoch: int) -> None:
        """Goes back to the state after ``epoch``."""
        raise LookupError(f"{self.name} keeps no snapshot of epoch {epoch}")
