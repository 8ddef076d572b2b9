"""CADA-VAE: aligned latents of skeletons and class texts (Schönfeld et al., CVPR 2019), as in SynSE's comparison.

Differences from the release are in :mod:`mmcl_bench.methods.shared.vae`. The release loads a fixed cycle that was
chosen with accuracy on the unseen test clips at hand; here the step is chosen on pseudo-unseen classes.
"""

from __future__ import annotations

from typing import ClassVar

from mmcl_bench.methods.shared.vae import VaeMethod


class CadaVAE(VaeMethod):
    """One text VAE on the main text."""

    name: ClassVar[str] = "cada-vae"
    summary: ClassVar[str] = "VAEs of features and texts with aligned latents, a classifier on latents, and a gate"
    kind: ClassVar[str] = "vae"
    published: ClassVar[str] = "CVPR 2019"
    cost: ClassVar[str] = "minutes"
