"""First-party evaluators, one per file; they are found through entry points, like all evaluators."""
