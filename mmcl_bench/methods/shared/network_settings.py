"""Settings of network methods: the network, its training clips, its training."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.augmentation import (
    Compose,
    CropResize,
    Jitter,
    RandomFlip,
    RandomRotation,
    RandomScale,
    Transform,
)
from mmcl_bench.skeleton.layouts import Layout
from mmcl_bench.skeleton.transforms import Normalisation, PreparedTracks, prepare_clips
from mmcl_bench.training.loop import Schedule

PREPARED_FRAMES = 64


_BY_FLAG: dict[bool, Normalisation] = {True: "root+facing+scale", False: "root"}


def _as_flag(value: object) -> object:
    """One notation of a value: that of stored results."""
    return next((flag for flag, text in _BY_FLAG.items() if text == value), value)


StreamName = Literal["joint", "bone", "joint-motion", "bone-motion"]


class NetworkSettings(MethodSettings):
    """Settings of a network, its training clips and its training; the defaults are those of MMCL's paper."""

    added_later: ClassVar[frozenset[str]] = frozenset({"yaw", "label_smoothing", "average"})
    backbone: str = "ctr-gcn"
    """The skeleton network, a name of ``mmcl-bench list backbones``."""
    streams: Annotated[tuple[StreamName, ...], Field(min_length=1)] = ("joint",)
    """Streams of the skeleton, stacked as input channels."""
    n_frames: int = Field(default=64, ge=4)
    """Frames of the network's input."""
    normalise: Annotated[bool | Normalisation, BeforeValidator(_as_flag)] = True
    """What is taken out of a clip: its place (root), heading (facing) and size (scale), with + between, or none. true
    is all three, false is root alone."""
    n_bodies: int = Field(default=2, ge=1)
    """Bodies of the network's input, absent ones zero; 1: every track is a sample, and a clip is the mean of them."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the global feature, before the classifier and the text head."""
    tilt: float = Field(default=0.3, ge=0)
    """Random rotation about each axis, radians at most."""
    yaw: float = Field(default=0.0, ge=0)
    """Random rotation about the vertical beside it, radians at most."""
    crop: float = Field(default=0.5, gt=0, le=1)
    """Smallest fraction of a clip that a random crop keeps."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Random change of size, as a fraction at most."""
    jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of random noise on each coordinate, in torso lengths."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability that left and right are swapped."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy of the classes."""
    alignment_weight: float = 1.0
    """Weight of the alignment with class texts, zero-shot only."""
    text_temperature: float = Field(default=0.1, gt=0)
    """Of the cosines with class texts, zero-shot only."""
    epochs: int = Field(default=110, ge=1)
    """Passes over the training clips."""
    min_steps: int = Field(default=0, ge=0)
    """Small sets get more epochs, until they have this many steps."""
    batch_size: int = Field(default=200, ge=2)
    """Clips in a step."""
    base_rate: float = Field(default=0.1, gt=0)
    """Learning rate after the warm-up."""
    warmup_epochs: int = Field(default=5, ge=0)
    """Epochs in which the rate rises from 0."""
    decay: Literal["cosine", "steps"] = "steps"
    """How the rate falls after the warm-up: along a cosine, or to a tenth at each of ``steps``."""
    steps: tuple[int, ...] = (90, 100)
    """Epochs at which the rate falls, with decay steps."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum 0.9, or AdamW."""
    weight_decay: float = Field(default=4e-4, ge=0)
    """Weight decay of the optimizer."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Maximum norm of the gradient."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay, a step, of a moving average of the weights, which is scored in their place; smaller in the first steps.
    0: the weights are scored."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch is computed, to save memory; batch statistics are then computed per part."""
    selection: Literal["auto", "validation", "fixed"] = "auto"
    """Whether a first fit on held-out training clips chooses the epoch; auto: only in zero-shot tasks."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation figure after which the first fit stops."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of products, in training and scoring; weights, statistics and losses stay in float32."""
    processes: int = Field(default=1, ge=1)
    """Processes that share a batch in training, one per GPU; batch statistics are then computed per process."""
    compile: bool = False
    """Whether the backbone is compiled by torch.compile: minutes at the start, and faster steps on GPUs."""

    @field_validator("backbone")
    @classmethod
    def _exists(cls, name: str) -> str:
        BACKBONES.get(name)
        return name

    def augmentation(self, layout: Layout) -> Compose:
        """How training clips are augmented."""
        pieces: list[Transform] = [
            CropResize(self.n_frames, self.crop, 1.0),
            RandomRotation(self.tilt, self.yaw),
            RandomScale(1 - self.scale, 1 + self.scale),
        ]
        if self.flip:
            pieces.append(RandomFlip(self.flip, layout))
        if self.jitter:
            pieces.append(Jitter(self.jitter))
        return Compose(tuple(pieces))

    def prepare(self, clips: ClipView) -> PreparedTracks:
        """Tracks at a frame rate that leaves room for crops."""
        return prepare_clips(clips, self.prepared_frames, self.normalisation)

    @property
    def prepared_frames(self) -> int:
        """Frames that a clip is spread over before it is cropped."""
        return max(self.n_frames, PREPARED_FRAMES)

    @property
    def normalisation(self) -> Normalisation:
        return _BY_FLAG[self.normalise] if isinstance(self.normalise, bool) else self.normalise

    def schedule(self) -> Schedule:
        return Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size,
            base_rate=self.base_rate,
            min_steps=self.min_steps,
            warmup_epochs=self.warmup_epochs,
            decay=self.decay,
            steps=self.steps,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            average=self.average,
            accumulate=self.accumulate,
            patience=self.patience,
            precision=self.precision,
            processes=self.processes,
        )


# The network of preset quick, which the schedules below share.
_SMALL: dict[str, object] = {
    "backbone": "ctr-gcn-tiny",
    "streams": ("joint", "bone", "joint-motion", "bone-motion"),
    "n_frames": 24,
    "n_bodies": 1,
    "crop": 0.7,
    "batch_size": 32,
    "warmup_epochs": 2,
    "decay": "cosine",
    "steps": (),
    "optimizer": "adamw",
}
# Chosen on pseudo-unseen classes of synth60 55/5 and on held-out training subjects of NW-UCLA x-sub. The latter were
# seen by all three cameras, so NW-UCLA x-view, which tests on camera 3, is not untouched by the choice.
QUICK: dict[str, object] = {
    **_SMALL,
    "dropout": 0.1,
    "epochs": 16,
    "min_steps": 400,
    "base_rate": 0.015,
    "weight_decay": 0.2,
}
"""The settings of preset ``quick`` that differ from the paper's: minutes on two cores."""
# Chosen on the training sides of NW-UCLA x-view, one camera for the other, and of UTD-MHAD, MSR-Action3D and UTKinect,
# subjects for others: docs/training.md has the figures.
STRONG: dict[str, object] = {
    **_SMALL,
    "dropout": 0.1,
    "epochs": 60,
    "min_steps": 800,
    "base_rate": 0.006,
    "weight_decay": 0.1,
    "yaw": 1.2,
    "label_smoothing": 0.1,
    "average": 0.99,
}
"""As QUICK, of preset ``strong``: two to four times as long and with more variation."""
QUICK_EXTRACTOR: dict[str, object] = {
    **_SMALL,
    "dropout": 0.3,
    "epochs": 25,
    "min_steps": 800,
    "base_rate": 3e-3,
    "weight_decay": 5e-2,
}
"""As QUICK, of a frozen extractor: it is trained once and kept for all methods, so that it may take longer."""
