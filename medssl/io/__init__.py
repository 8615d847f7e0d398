"""Files that are either whole or not there, and one process at a time."""
