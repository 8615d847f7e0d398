"""The result of a finished run: its directory, its typed sections, its metrics as a table."""
