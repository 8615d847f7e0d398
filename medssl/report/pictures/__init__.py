"""The images that a report shows."""
