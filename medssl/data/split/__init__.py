"""Splits: which images are used for training, validation and testing."""
