"""A fitted method at work: prediction, export, cost."""
