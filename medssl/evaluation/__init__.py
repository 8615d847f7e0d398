"""Evaluates an encoder: its frozen features, and the metrics of predictions from them."""
