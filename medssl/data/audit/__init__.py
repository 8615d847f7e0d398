"""What a reader of a result must know about the images."""
