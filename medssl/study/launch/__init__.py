"""The cells of a study in processes of their own."""
