"""First-party self-supervised methods, one per file; found through entry points, like methods of other packages."""
