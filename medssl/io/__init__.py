"""Files that are written completely or not at all, and locks that allow one process at a time."""
