"""What views look like before anything is trained."""
