"""``python -m medssl.cli``: the command line where the script `medssl` is not on the path."""

from medssl.cli import main

main(prog_name="medssl")
