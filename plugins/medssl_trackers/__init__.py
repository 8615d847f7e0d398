"""Trackers: where the numbers of a run go besides its directory."""
