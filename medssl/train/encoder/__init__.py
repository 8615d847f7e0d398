"""The network: builds it, loads weights and writes checkpoints."""
