"""Tables of images: how they are read, which file a row means, and what its cells say."""
