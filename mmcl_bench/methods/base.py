"""The interface of a method, and what the runner passes to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.records import first_fault
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

COSTS = ("seconds", "a minute", "minutes", "hours")
"""Words for :attr:`Method.cost`."""


@dataclass(frozen=True)
class ScoringNetwork:
    """A method's network and how it is run, to measure its cost."""

    module: nn.Module
    """Everything that is trained."""
    training_only: tuple[nn.Module, ...]
    """The parts of ``module`` that scoring does not need."""
    layout: Layout
    n_frames: int
    """Frames of a body track at its input."""
    n_bodies: int
    """Bodies of a clip that it takes at most; 1 where every track is a sample of its own."""
    score: Callable[[Tensor, Tensor, int], Tensor]
    """Joint tracks (R, 3, T, V), the clip of each (R,), ascending, and the number of clips N -> scores (N, K)."""
    loss: Callable[[Tensor, Tensor, int], Tensor]
    """The training loss of the same input, for made-up labels and teachers' features."""
    optimizer: Callable[[nn.Module], Optimizer]


@dataclass(frozen=True)
class DenseScorer:
    """A scoring network as one module whose computations depend on the shape of its input alone."""

    module: nn.Module
    """Joint positions (N, 3, T, V, M), prepared, absent bodies zero -> scores (N, K)."""
    prepare: Callable[[ClipView], np.ndarray]
    """Clips -> float32 (N, 3, T, V, M), the input that :meth:`Method.score` gives the network."""
    layout: str | Layout
    n_frames: int
    n_bodies: int | None
    """M; None: any number."""
    streams: tuple[str, ...]
    """What the module computes from positions first."""
    preprocessing: Mapping[str, Any]
    """What :attr:`prepare` does, as :func:`.inference.preprocessing.prepare` reads it."""


class MethodSettings(BaseModel):
    """Settings of a method, each with its type and default; a method's own ``Settings`` derive from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    added_later: ClassVar[frozenset[str]] = frozenset()
    """Settings that are newer than stored results: left out at their default, so that the hashes of jobs stay."""

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """What each setting is, from the text below its field; empty where neither it nor a base class has one."""
        bases = [base for base in cls.__mro__ if issubclass(base, MethodSettings)]
        return {
            name: next((text for base in bases if (text := _description(base, name))), "") for name in cls.model_fields
        }

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, the same for every notation of a value: a job's hash is made from them."""
        added = set().union(*(getattr(base, "added_later", ()) for base in type(self).__mro__))
        usual = {name for name in added if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=usual)

    @classmethod
    def shown(cls, settings: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
        """What tables show beside the method and commands set, of settings in full, as plain JSON values: those that
        differ from the preset's."""
        # Settings that were added later are not there at their default, though the preset may have another value.
        usual = {key: cls.model_fields[key].default for key in preset if key not in settings}
        return {key: value for key, value in {**settings, **usual}.items() if key not in preset or value != preset[key]}


def _description(settings: type[MethodSettings], name: str) -> str | None:
    field = settings.model_fields.get(name)
    return None if field is None else field.description


class Method(ABC):
    """A benchmarked method: a class with a ``name`` in a file of this folder.

    A method is made once per fit; ``fit`` sees a :class:`Problem`, ``score`` sees skeletons alone, unless the class
    names other modalities in :attr:`scores_with`. These two are required; the rest is for methods that can do more.

    >>> METHODS.get("logistic")(C=0.1).settings.C  # doctest: +SKIP
    0.1
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Increased when a change of the method changes its scores."""
    summary: ClassVar[str]
    kind: ClassVar[str] = "other"
    """What it is built on, in lower case with dashes, such as ``closed-form`` or ``vae``; ``--method 'vae/*'`` names
    all methods of a kind."""
    published: ClassVar[str] = ""
    """Venue and year, such as ``ICIP 2021``; empty where it is not published."""
    cost: ClassVar[str] = ""
    """How long both fits and scoring take with preset ``quick`` on a few hundred clips and two cores, without the
    extractor that methods share; one of :data:`COSTS`, empty where nobody has measured it. A minute is up to two."""
    families: ClassVar[frozenset[str]] = frozenset({"supervised", "zero-shot", "transfer"})
    """The task families that it supports."""
    setting: ClassVar[Setting] = Setting.INDUCTIVE
    """What it must be granted besides labelled training clips; tables keep settings apart."""
    text_slots: ClassVar[tuple[str, ...]] = ()
    """Texts of a class that it reads besides the main one, from ``TEXT_FIELDS`` of :mod:`mmcl_bench.datasets.classes`;
    ``problem.classes.slots`` holds their embeddings."""
    scores_with: ClassVar[frozenset[Modality]] = frozenset()
    """Modalities besides the skeleton that it needs to score a clip, each with an encoder in :meth:`encoders`; then
    ``clips.features`` holds them, tables keep it apart, and its jobs cannot predict from skeletons."""
    deterministic: ClassVar[bool] = False
    """Whether every seed gives the same scores to the last bit, whatever its settings. Then one seed is run, however
    many are asked for, and tables count it once."""
    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    presets: ClassVar[Mapping[str, MethodSettings]] = {}
    """Settings by preset, ``quick``, ``paper`` and perhaps others; :meth:`usual_presets` where it names none."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "presets" not in cls.__dict__ and ("Settings" in cls.__dict__ or not cls.presets):
            cls.presets = cls.usual_presets()

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        """The presets of a method that names none: the defaults of its settings."""
        return {"quick": cls.Settings(), "paper": cls.Settings()}

    def __init__(self, **settings: Any) -> None:
        """Takes its settings, by default those of ``Settings``. Raises :class:`UserError` for what does not fit."""
        self.settings = self.check(settings)

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> MethodSettings:
        """The settings with every value in its own type. Raises :class:`UserError` for one that does not fit."""
        try:
            return cls.Settings.model_validate(dict(settings))
        except ValidationError as error:
            where, reason = first_fault(error)
            raise UserError(f"method {cls.name}: setting {where}={error.errors()[0]['input']}: {reason}") from error

    def check_problem(self, problem: Problem) -> None:
        """Raises :class:`UserError` for a problem that it cannot learn from. A fit calls it before it trains."""
        if len(np.unique(problem.train.labels)) < 2:
            raise UserError(
                f"{problem.task}: method {self.name} needs training clips of two classes; raise --limit, or choose a "
                "split with more seen classes, as some of them are held out"
            )

    @classmethod
    def needed_text_slots(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The :attr:`text_slots` that it reads with some settings in full, as plain JSON values."""
        return cls.text_slots

    @abstractmethod
    def fit(self, problem: Problem, context: Context) -> FitReport:
        """Fits the method on ``problem``. All random numbers are derived from ``context.seed``."""

    @abstractmethod
    def score(self, clips: ClipView) -> np.ndarray:
        """(N, K) scores, higher is likelier, columns in the order of ``problem.classes``; float32 or float64.

        The scores of a clip do not depend on the other clips; a transductive method adapts in its fit.
        """

    def adapt(self, target: ClipView, context: Context) -> FitReport:
        """Source-free methods: adapts the fitted model to unlabelled clips of the target's training side.

        Called after :meth:`fit`, :meth:`save` and, on a new object, :meth:`load`: nothing is left of the source but
        what was saved. ``context.chosen`` is that of the fit.
        """
        raise NotImplementedError(f"{self.name} is not source-free")

    def encoders(self) -> Mapping[Modality, str]:
        """The frozen encoder that it uses for each modality besides the skeleton; a data set may lack any of them."""
        return {}

    @property
    def uses_unseen_texts(self) -> bool:
        """Whether it reads texts of unseen classes while it learns how skeletons and texts go together.

        Its settings may decide. To score a clip, every zero-shot method reads them, and a classifier that is made from
        them once that is learned is part of scoring. Tables keep such methods apart from inductive ones.
        """
        return False

    @property
    def reads_unlabelled(self) -> bool:
        """Whether it also learns from training clips to which a supervised task gives no label, see
        ``problem.unlabelled``. Its settings may decide. Its rows then stand under the setting ``unlabelled``."""
        return False

    @property
    def frozen(self) -> bool | None:
        """True where it learns on features of a frozen skeleton network, False where it trains the network itself, end
        to end; None where it has no such network."""
        return None

    def selects(self, family: str) -> bool:
        """Whether a first fit on held-out validation chooses anything; False: the settings fix all of it."""
        return family == "zero-shot"

    def may_begin_before_choice(self, n_clips: int) -> bool:
        """Whether its final fit, on ``n_clips``, can train while the first one still chooses.

        It then needs of the first nothing but the number of epochs, ``epoch`` of ``of``, asks ``context.choice`` for it
        after each epoch, and keeps every epoch until it is told.
        """
        return False

    def pseudo_unseen_draws(self) -> int:
        """Over how many draws of pseudo-unseen classes its choices are averaged, in zero-shot on a small set."""
        return 1

    def embed(self, clips: ClipView) -> np.ndarray | None:
        """float32 (N, D), clips in the space of ``problem.classes.embeddings``; None where it maps to no such space.

        For maps in reports; nothing is computed from them.
        """
        return None

    def embed_domains(self, source: ClipView, target: ClipView) -> tuple[np.ndarray, np.ndarray] | None:
        """Transfer: float32 (N, D) features of source clips and (M, D) of target clips, as the method sees each
        domain; None where it has none. The fitted method stays as it is.

        For maps in reports; nothing is computed from them.
        """
        return None

    def save(self, folder: Path) -> list[str]:
        """Writes what :meth:`score` needs with :func:`.saved.write_model`; returns the names of the files.

        None where it saves none: then its jobs cannot predict. Scores after :meth:`load` are bit-identical to those
        after saving.
        """
        return []

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Becomes the fitted method that :meth:`save` wrote to ``folder``, made with the same settings.

        Raises :class:`UserError` when there is none.
        """
        raise UserError(
            f"method {self.name} keeps no model, so its jobs cannot predict; choose a job of another method"
        )

    def replace_classes(self, embeddings: np.ndarray) -> None:
        """Replaces all candidate classes by those of the text embeddings (K, D), unit rows.

        Raises :class:`UserError` when it does not use class texts, or when D differs from that in training.
        """
        raise UserError(
            f"method {self.name} knows its classes by training clips, not by texts; leave the texts out, or choose a "
            "zero-shot job of a method that compares with class texts"
        )

    def scoring_network(
        self, layout: Layout, n_classes: int, feature_dims: Mapping[Modality, int] | None = None
    ) -> ScoringNetwork | None:
        """Its network for supervised tasks, untrained, to measure its cost; None where it has none.

        ``feature_dims`` are the widths of the teachers' features, where the data have any.
        """
        return None

    def fitted_network(self) -> ScoringNetwork | None:
        """The fitted network, or the extractor whose features it scores; None where it has none.

        What it costs to score a clip is measured on it, so that what stands on an extractor's features is not counted.
        """
        return None

    def dense_scorer(self) -> DenseScorer | None:
        """The fitted network as one module, for export; None where it has none."""
        return None

    def snapshots(self) -> list[int]:
        """Epochs that :meth:`restore` can bring back, for the oracle figure; empty when there is none."""
        return []

    def restore(self, epoch: int) -> None:
        """Goes back to the state after ``epoch``."""
        raise LookupError(f"{self.name} keeps no snapshot of epoch {epoch}")
