"""Every image of a dataset, decoded once, in one memory-mapped file."""
