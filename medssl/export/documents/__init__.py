"""Documents about a run for others: a model card, reporting checklists, a description of the dataset."""
