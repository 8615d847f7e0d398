"""Creates new plugin packages: each can be installed, passes its own tests, and needs only your idea."""
