"""Judging an encoder: its frozen features, and the metrics of what evaluators predict from them."""
