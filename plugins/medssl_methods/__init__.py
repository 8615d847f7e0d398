"""First-party self-supervised methods, one per file; they are found through entry points, as anyone's are."""
