"""BSP: adversarial adaptation whose features keep more than one strong direction (Chen et al., ICML 2019).

The squared largest singular value of each domain's features is added to CDAN+E; ``spectral_weight`` adds it to DANN.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mmcl_bench.methods.adaptation.cdan import CDAN, CDANSettings


class BSPSettings(CDANSettings):
    """CDAN's, with the library's rate."""

    rate: float = Field(default=0.003, gt=0)
    spectral_weight: float = Field(default=2e-4, ge=0)


class BSP(CDAN):
    """CDAN+E with the spectral loss."""

    name: ClassVar[str] = "bsp"
    summary: ClassVar[str] = "CDAN+E with a penalty on the largest singular value of each domain's features"
    kind: ClassVar[str] = "adversarial"
    published: ClassVar[str] = "ICML 2019"
    Settings: ClassVar[type[BSPSettings]] = BSPSettings
    settings: BSPSettings
