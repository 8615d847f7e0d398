"""Search of settings on the validation part; the test part stays closed."""
