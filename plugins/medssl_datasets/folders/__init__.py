"""Folders of images: which files they hold, and what the names of folders say."""
