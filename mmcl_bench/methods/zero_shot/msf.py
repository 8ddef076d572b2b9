"""MSF-GZSSAR: CADA-VAE on three texts of a class joined (Li et al., ICIG 2023).

The release joins label, action description and motion description; here they are the slots label, global and middle,
none of which was chosen by a result.
"""

from __future__ import annotations

from typing import ClassVar

from mmcl_bench.methods.shared.vae import VaeMethod, VaePair


class MSFPair(VaePair):
    """Texts diverge from the third cycle on."""

    text_kl_from_third_cycle: ClassVar[bool] = True


class MSF(VaeMethod):
    """CADA-VAE whose text is three texts."""

    name: ClassVar[str] = "msf"
    summary: ClassVar[str] = "CADA-VAE on label, whole motion and its middle joined"
    kind: ClassVar[str] = "vae"
    published: ClassVar[str] = "ICIG 2023"
    cost: ClassVar[str] = "minutes"
    text_slots: ClassVar[tuple[str, ...]] = ("label", "global", "middle")
    pair: ClassVar[type[VaePair]] = MSFPair
