"""The network: building it, loading weights, writing checkpoints."""
