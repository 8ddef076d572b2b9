"""Losses of domain adaptation and generalisation: features or logits of clips in, a scalar out.

N and M clips of the source and the target, D features, K classes.
"""
