"""Which images are trained on, chosen with, and tested on."""
