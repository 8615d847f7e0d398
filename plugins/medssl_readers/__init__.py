"""The readers of image files that come with medssl, one file each."""
