"""Runs a study: state, order and remaining time."""
