"""Turns finished runs into rows, confidence intervals and tested differences."""
