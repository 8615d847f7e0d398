"""The store: every image of a dataset, decoded once into one memory-mapped file."""
