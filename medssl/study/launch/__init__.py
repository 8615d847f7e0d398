"""Runs the cells of a study in separate processes."""
