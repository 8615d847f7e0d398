"""Use of a trained encoder outside a run."""
