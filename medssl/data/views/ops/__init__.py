"""The operations that make a random view of an image, one file each."""
