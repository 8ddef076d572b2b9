"""What a method may see of the clips that it is tested for, beside the labelled clips that it trains on."""

from __future__ import annotations

from enum import StrEnum

RGB_AT_TEST = "RGB at test"
"""Said of a method that scores with images beside the skeleton; such methods are not ranked with the others."""


class Setting(StrEnum):
    """What a method was granted. Tables and ranks keep settings apart; what is scored is the same under all of them.

    The target is the data set that is tested. Its training side is never scored.
    """

    INDUCTIVE = "inductive"
    """Nothing of the target; in transfer, this is called source only."""
    UNLABELLED = "unlabelled"
    """Unlabelled clips of the target's training side, beside the source's clips: unsupervised domain adaptation."""
    SOURCE_FREE = "source-free"
    """The same, but after training, when the source's clips are no longer there."""
    TRANSDUCTIVE = "transductive"
    """The unlabelled test clips themselves; in transfer, this is called test-time adaptation."""
    FEW_SHOT = "few-shot"
    """A few labelled clips of each class of the target's training side."""
