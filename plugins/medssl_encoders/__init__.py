"""First-party encoders: networks of timm, of the Hugging Face Hub and of other libraries, and weights from files."""
