"""What a run takes from earlier runs and leaves for later ones."""
