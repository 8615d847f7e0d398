"""Intervals and tests: how far chance alone could move a number."""
