"""The pictures and the map that a run leaves for its page."""
