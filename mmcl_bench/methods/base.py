"""What a method is, and what the runner hands to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class ScoringNetwork:
    """A method's network and how it is run, so that what it costs can be measured."""

    module: nn.Module
    """Everything that is trained."""
    training_only: tuple[nn.Module, ...]
    """The parts of ``module`` that scoring does without."""
    layout: Layout
    n_frames: int
    """Frames of a body track at its input."""
    n_bodies: int
    """Bodies of a clip that it takes at most; 1 where every track is a sample of its own."""
    score: Callable[[Tensor, Tensor, int], Tensor]
    """Joint tracks (R, 3, T, V), the clip of each (R,), ascending, and the number of clips N -> scores (N, K)."""
    loss: Callable[[Tensor, Tensor, int], Tensor]
    """Of the same, the loss that training descends, for made-up labels and teachers."""
    optimizer: Callable[[nn.Module], Optimizer]


@dataclass(frozen=True)
class DenseScorer:
    """A scoring network as one module whose computations depend on the shape of its input alone."""

    module: nn.Module
    """Joint positions (N, 3, T, V, M), prepared, absent bodies zero -> scores (N, K)."""
    prepare: Callable[[ClipView], np.ndarray]
    """Clips -> float32 (N, 3, T, V, M), the input that :meth:`Method.score` gives the network."""
    layout: str
    n_frames: int
    n_bodies: int | None
    """M; None: any number."""
    streams: tuple[str, ...]
    """What the module computes from positions first."""


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

    @classmethod
    def scoring_network(
        cls,
        layout: Layout,
        n_classes: int,
        settings: Mapping[str, Any],
        feature_dims: Mapping[Modality, int] | None = None,
    ) -> ScoringNetwork | None:
        """Its network for supervised tasks, untrained, so that its cost can be told; None where it has none.

        ``feature_dims`` are the widths of the features that teach it, where the data have any.
        """
        return None

    def fitted_network(self) -> ScoringNetwork | None:
        """The fitted network; None where it has none."""
        return None

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], device: str = "cpu") -> Self:
        """The fitted method that :meth:`save` wrote to ``folder``, with the settings it was made with.

        Raises :class:`UserError` when there is none.
        """
        raise UserError(f"method {cls.name} keeps no model, so its jobs cannot predict; choose a job of another method")

    @abstractmethod
    def fit(self, problem: Problem, context: Context) -> FitReport:
        """Learns from ``problem``. Everything random follows from ``context.seed``."""

    @abstractmethod
    def score(self, clips: ClipView) -> np.ndarray:
        """float32 (N, K) scores, higher is likelier, columns in the order of ``problem.classes``."""

    def embed(self, clips: ClipView) -> np.ndarray | None:
        """float32 (N, D), clips in the space of ``problem.classes.embeddings``; None where it maps to no such space.

        For maps in reports; nothing is computed from them.
        """
        return None

    def save(self, folder: Path) -> list[str]:
        """Writes what :meth:`score` needs with :func:`.saved.write_model`; returns the names of the files.

        None where it keeps none: then its jobs cannot predict. Scores after :meth:`load` are the same bits as those
        after saving.
        """
        return []

    def replace_classes(self, embeddings: np.ndarray) -> None:
        """Puts classes known by the text embeddings (K, D), unit rows, in the place of all candidate classes.

        Raises :class:`UserError` when it knows its classes otherwise, or when D is another than it learned from.
        """
        raise UserError(
            f"method {self.name} knows its classes by training clips, not by texts; leave the texts out, or choose a "
            "zero-shot job of a method that compares with class texts"
        )

    def dense_scorer(self) -> DenseScorer | None:
        """The fitted network as one module, for export; None where it has none."""
        return None

    def snapshots(self) -> list[int]:
        """Epochs that :meth:`restore` can bring back, for the oracle figure; empty when there is none."""
        return []

    def restore(self, epoch: int) -> None:
        """Goes back to the state after ``epoch``."""
        raise LookupError(f"{self.name} keeps no snapshot of epoch {epoch}")
