"""Use of a fitted method: prediction, export, cost."""
