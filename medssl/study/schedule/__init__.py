"""A study from its plan to its summary: state, order and remaining time."""
