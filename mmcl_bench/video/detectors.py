"""Person detectors, for videos whose skeletons do not say where they are in the image.

A detector is named by a spec, ``family:model[:weights path]``, as encoders are. Nothing is ever downloaded, and random
weights are never used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import at_home
from mmcl_bench.core.registry import Registry
from mmcl_bench.encoders.torchvision import downloaded_file
from mmcl_bench.encoders.weights import WeightsFile, read_state_dict, unknown_model

LEAST_SCORE = 0.5
MOST_PEOPLE = 2
"""Actions of the data sets here are of one or two people; whoever else is detected is a bystander."""


class PersonDetector(Protocol):
    """Finds people in images. Name and hash are known before the weights are loaded."""

    @property
    def name(self) -> str: ...

    @property
    def weight_hash(self) -> str:
        """sha256 of the weights, in hex."""
        ...

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each RGB frame, uint8 (H, W, 3), float64 (n, 4): left, top, right, bottom of people, the surest first."""
        ...


DETECTORS: Registry[Callable[[str, str], PersonDetector]] = Registry(
    "detector",
    "mmcl_bench.detectors",
    {
        "hf": "mmcl_bench.video.detectors:TransformersDetector",
        "torchvision": "mmcl_bench.video.detectors:TorchvisionDetector",
    },
)
"""By family: makes a detector from what follows ``family:`` in the spec, and a device."""


def person_detector(spec: str, device: str = "cpu") -> PersonDetector:
    """The detector that ``spec`` names. Raises :class:`UserError` when there is none."""
    family, _, argument = spec.partition(":")
    return DETECTORS.get(family)(argument, device)


def surest(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float64 (n, 4): up to two boxes of a score of a half at least, the surest first."""
    order = np.argsort(-scores, kind="stable")[:MOST_PEOPLE]
    chosen: np.ndarray = boxes[order[scores[order] >= LEAST_SCORE]].astype(np.float64)
    return chosen


class TorchvisionDetector(WeightsFile):
    """A detector of torchvision that was trained on COCO, such as ``fasterrcnn_mobilenet_v3_large_320_fpn``."""

    family = library = "torchvision"
    wanted = "the file of that model, trained on COCO"

    def __init__(self, argument: str, device: str = "cpu") -> None:
        super().__init__(argument)
        self.device = device

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        images = [
            torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float().to(self.device) / 255
            for frame in frames
        ]
        with torch.inference_mode():
            found = self._model(images)
        people = []
        for each in found:
            is_person = (each["labels"] == self._person).cpu().numpy()
            boxes, scores = each["boxes"].float().cpu().numpy(), each["scores"].float().cpu().numpy()
            people.append(surest(boxes[is_person], scores[is_person]))
        return people

    @cached_property
    def _published(self) -> list[Any]:
        import torchvision

        models = torchvision.models
        known = [
            name
            for name in models.list_models(module=models.detection)
            if "person" in next(iter(models.get_model_weights(name))).meta["categories"]
        ]
        if self._model_name not in known:
            raise UserError(unknown_model("torchvision", self._model_name, known).replace("encoder", "detector", 1))
        return list(models.get_model_weights(self._model_name))

    @property
    def _person(self) -> int:
        return int(self._published[0].meta["categories"].index("person"))

    def _downloaded(self) -> Path:
        return downloaded_file(self.name, self._published)

    @cached_property
    def _model(self) -> Any:
        import torchvision

        n_classes = len(self._published[0].meta["categories"])
        model = torchvision.models.get_model(
            self._model_name, weights=None, weights_backbone=None, num_classes=n_classes
        )
        self._load(model, read_state_dict(self._weights))
        return model.eval().to(self.device)


class TransformersDetector:
    """A detector of transformers that knows people, such as DETR or RT-DETR, also over a backbone of timm."""

    def __init__(self, argument: str, device: str = "cpu") -> None:
        from mmcl_bench.encoders.hf import model_folder

        self._folder = model_folder(argument)
        self.name = f"hf:{self._folder.name if Path(at_home(argument)).is_dir() else argument}"
        self.device = device

    @cached_property
    def weight_hash(self) -> str:
        from mmcl_bench.encoders.hf import folder_hash

        return folder_hash(self._folder)

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        model, processor = self._model
        inputs = processor(images=list(frames), return_tensors="pt").to(self.device)
        with torch.inference_mode():
            output = model(**inputs)
        sizes = [frame.shape[:2] for frame in frames]
        found = processor.post_process_object_detection(output, threshold=LEAST_SCORE, target_sizes=sizes)
        people = [number for number, name in model.config.id2label.items() if name.lower() == "person"]
        boxes = []
        for each in found:
            is_person = np.isin(each["labels"].cpu().numpy(), people)
            boxes.append(surest(each["boxes"].cpu().numpy()[is_person], each["scores"].cpu().numpy()[is_person]))
        return boxes

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        from mmcl_bench.encoders.hf import load_local, load_trained

        processor = load_local(AutoImageProcessor, self._folder, self.name, "image processor")
        model = load_trained(AutoModelForObjectDetection, self._folder, self.name)
        if not any(name.lower() == "person" for name in model.config.id2label.values()):
            raise UserError(f"{self.name}: {self._folder} does not detect people; choose a detector trained on COCO")
        return model.float().eval().to(self.device), processor
