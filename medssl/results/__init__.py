"""What a finished run leaves behind: its directory, its typed result, its metrics as a table."""
