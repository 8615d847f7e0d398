"""How long a table of many rows takes to be understood, and how much memory: ``python -m benchmarks.large_table``.

The images are empty files in folders of a thousand, because only their names matter: nothing is decoded, and the card
says that they cannot be read. The steps are the card, and those of a run before it reads images. Loading the libraries
is not part of them.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from medssl.catalog import load_catalog
from medssl.cli.card import read_card
from medssl.data.listing import read_listing, samples_key
from medssl.data.split.splits import make_split
from medssl.recipe.settings import SplitSettings
from medssl_datasets.csv import Csv

T = TypeVar("T")

_FOLDER = 1000  # files of a folder


def write_files(root: Path, rows: int, *, by_name: bool) -> None:
    """Write empty image files and the table that lists them, by path or by name without suffix."""
    lines = ["image,finding,patient_id,split,age,sex,view"]
    for number in range(rows):
        folder = root / f"part_{number // _FOLDER:04d}"
        if number % _FOLDER == 0:
            folder.mkdir()
        (folder / f"{number:08d}.png").touch()
        image = f"{number:08d}" if by_name else f"{folder.name}/{number:08d}.png"
        part = ("train", "val", "test")[number % 3]
        lines.append(f"{image},class {number % 14},P{number // 4},{part},{number % 90},{'MF'[number % 2]},PA")
    (root / "table.csv").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Measure and print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--by-name", action="store_true", help="name images without folder and suffix")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root, given.rows, by_name=given.by_name)
        config = Csv.Config(path_column="image", label_column="finding", group_column="patient_id", part_column="split")
        catalog = load_catalog(None)
        _measure("card of `medssl show data`", lambda: read_card(root / "table.csv", catalog, None, ()))
        listing = _measure("listing, as in a run", lambda: read_listing(Csv(config, root), "csv"))
        _measure("key of the listing", lambda: samples_key(listing.samples))
        _measure("split", lambda: make_split(listing, SplitSettings(), listing.default_split))


def _measure(step: str, function: Callable[[], T]) -> T:
    start, busy = time.perf_counter(), time.process_time()
    found = function()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"{step}: {seconds:.1f} s ({busy:.1f} s of a processor), at most {memory:.2f} GB so far", flush=True)
    return found


if __name__ == "__main__":
    main()
