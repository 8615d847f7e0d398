"""What datasets of tables and of folders have in common: choices of rows and classes, groups, usual words."""
