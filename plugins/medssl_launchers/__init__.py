"""Launchers: where the cells of a study run, besides the command that starts it."""
