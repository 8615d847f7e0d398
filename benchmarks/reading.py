"""Building the store of DICOM files, against pydicom alone on all cores.

Run it with ``python -m benchmarks.reading``. It writes CT files of 512 x 512 px into a temporary folder. pydicom
decodes each file and applies the modality LUT, in processes that are already running. medssl does the same in threads,
and also hashes each file, finds its grey levels, reduces it and writes the store. The listing reads all headers; it is
measured by itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Line, print_table, ratio_line, take_turns
from medssl.data.store.decoding import thread_count
from medssl.data.store.store import open_store
from medssl_datasets.folder import Folder

FILES, SIDE = 200, 512
VIEW = 128
MARK = 1.5


def write_files(folder: Path, count: int = FILES) -> None:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    for number in range(count):
        found: Any = pydicom.Dataset()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        found.Modality, found.PatientID, found.StudyInstanceUID = "CT", f"P{number // 4}", f"1.2.{number // 4 + 1}"
        found.Rows = found.Columns = SIDE
        found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
        found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
        found.RescaleSlope, found.RescaleIntercept = "1", "-1024"
        found.PixelData = rng.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16).tobytes()
        file = folder / f"class{number % 2}" / f"{number:05}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save_as(file, enforce_file_format=True)


def decode(file: str) -> int:
    """Decode one file with pydicom."""
    import pydicom
    from pydicom import pixels

    found = pydicom.dcmread(file)
    own: Any = pixels
    values: Any = own.apply_modality_lut(found.pixel_array, found)
    return int(values.shape[0])


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def lines(rounds: int = 3, count: int = FILES) -> list[Line]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "d"
        write_files(folder, count)
        files = [str(file) for file in sorted(folder.rglob("*.dcm"))]
        dataset = Folder(Folder.Config(), folder)
        start = time.perf_counter()
        samples = dataset.index().samples
        listing = time.perf_counter() - start

        def build() -> None:
            with tempfile.TemporaryDirectory(dir=place) as cache:
                open_store(dataset, samples, view_size=VIEW, cache=Path(cache))

        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(thread_count(), mp_context=context) as pool:
            list(pool.map(decode, files[:8]))  # the processes are running, and pydicom is imported
            alone = timed(lambda: list(pool.map(decode, files, chunksize=4)))
            found = take_turns({"pydicom": alone, "medssl": timed(build)}, rounds)
    return [
        ratio_line(
            "time to build the store / pydicom alone",
            found["medssl"],
            found["pydicom"],
            mark=MARK,
            at_least=False,
            files=count,
            cores=thread_count(),
            listing_seconds=round(listing, 3),
            seconds={name: round(statistics.median(each), 3) for name, each in found.items()},
        )
    ]


def main() -> None:
    """Print the figure, and what it was computed from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=FILES)
    words = parser.parse_args()
    found = lines(words.rounds, words.files)
    print_table(found)
    print(dict(found[0].detail))


if __name__ == "__main__":
    main()
