"""Previews: shows views before anything is trained."""
