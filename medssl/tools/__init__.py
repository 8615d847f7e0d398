"""What a plugin may call: reading images, downloading and unpacking files."""
