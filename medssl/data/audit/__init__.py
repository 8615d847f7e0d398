"""Checks of the images: duplicates, leaks, and images that an encoder has already seen."""
