"""``python -m medssl``: the command line where the command ``medssl`` is not on the path."""

from medssl.cli import main

if __name__ == "__main__":
    main(prog_name="python -m medssl")
