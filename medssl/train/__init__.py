"""Pre-training: encoder, device and precision, BatchNorm over views, optimizer, the loop, and what it writes."""
