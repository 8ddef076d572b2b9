"""Comparing stored results: sides, paired differences, leaderboards, the baseline and the gate."""
