"""``python -m medssl.cli``: the command line where no script is on the path."""

from medssl.cli import main

main(prog_name="medssl")
