"""The datasets that come with medssl, one file each."""
