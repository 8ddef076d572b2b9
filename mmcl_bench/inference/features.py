"""Features of clips by the trained network of a finished job."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods.shared.extractor import Extractor
from mmcl_bench.protocols.problem import ClipView, mapped_to_layout
from mmcl_bench.results.store import Stored


def network_features(stored: Stored, device: str = "cpu") -> Callable[[ClipView], np.ndarray]:
    """What gives the features float32 (N, D) of clips before the last layer, means over frames, joints and bodies.

    Joints are mapped to the layout of the network. Raises :class:`UserError` for a job of another method than
    ``skeleton-only``, whose network is that of all extractors, or one without a usable model.
    """
    record = stored.result
    if record.method.name != Extractor.name:
        raise UserError(
            f"{stored.folder}: is a job of {record.method.name}, and features are those of a {Extractor.name} job; "
            f"run its task with --method {Extractor.name}"
        )
    # Refuses a model that is missing or damaged.
    layout = TrainedModel.of(stored, device).layout
    extractor = Extractor(**record.method.settings)
    extractor.load(stored.folder, device)
    return lambda clips: extractor.features(mapped_to_layout(clips, layout)).pooled
