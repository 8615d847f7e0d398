"""A trained encoder outside a run."""
