"""The stages of a run: from the encoder to its scores."""
