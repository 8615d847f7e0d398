"""The training loop, its optimizer and its records."""
