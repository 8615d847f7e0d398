"""Building the store of DICOM files, against pydicom alone on all cores.

Run it with ``python -m benchmarks.reading``. It measures three kinds of files: CT images that it writes itself, with
the shortest header there may be; the same in JPEG 2000; and with ``--folder`` your own files, each several times.

pydicom reads each file, decodes its first frame, and applies the modality LUT, in processes that are already running,
one for each core. medssl does the same, and also hashes each file, finds its grey levels, reduces it and writes the
store. The listing, which reads all headers once more, is measured by itself; so is pydicom with the VOI LUT, which a
viewer applies too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Line, print_table, ratio_line, take_turns, timed
from medssl.data.store.store import open_store
from medssl.train.machine.memory import kept_memory
from medssl.world.membership import cores
from medssl_datasets.folder import Folder

FILES, SIDE = 200, 512
VIEW = 128
MARK = 1.5


def write_files(folder: Path, count: int = FILES, *, compressed: bool = False) -> None:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

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
        if compressed:
            found.compress(JPEG2000Lossless)
        file = folder / f"class{number % 2}" / f"{number:05}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save_as(file, enforce_file_format=True)


def copy_files(source: Path, folder: Path, count: int) -> None:
    """Copy real files, one after the other and again, until there are enough."""
    real = sorted(source.rglob("*.dcm"))
    for number in range(count):
        file = folder / f"class{number % 2}" / f"{number:05}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real[number % len(real)], file)


def decode(file: str, voi: bool = False) -> float:
    """Decode one file with pydicom; return the seconds of a processor."""
    import pydicom
    from pydicom import pixels

    start = time.process_time()
    found = pydicom.dcmread(file)
    own: Any = pixels
    values: Any = own.apply_modality_lut(found.pixel_array, found)
    if voi:
        own.apply_voi_lut(values, found)
    return time.process_time() - start


def compare(what: str, fill: Callable[[Path], None], rounds: int) -> Line:
    """Fill a folder, and measure pydicom and medssl in turn."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "d"
        fill(folder)
        files = [str(file) for file in sorted(folder.rglob("*.dcm"))]
        dataset = Folder(Folder.Config(), folder)
        start = time.perf_counter()
        samples = dataset.index().samples
        listing = time.perf_counter() - start
        busy: dict[str, list[float]] = {"pydicom": [], "medssl, without other processes": []}

        def build() -> None:
            began = time.process_time()
            with tempfile.TemporaryDirectory(dir=place) as cache, kept_memory():  # as in a run
                open_store(dataset, samples, view_size=VIEW, cache=Path(cache))
            busy["medssl, without other processes"].append(time.process_time() - began)

        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(cores(), mp_context=context) as pool:
            list(pool.map(decode, files[:8]))  # the processes are running, and pydicom is imported

            def alone() -> None:
                busy["pydicom"].append(sum(pool.map(decode, files, chunksize=4)))

            windowed = timed(lambda: list(pool.map(partial(decode, voi=True), files, chunksize=4)))
            found = take_turns({"pydicom": timed(alone), "medssl": timed(build), "with the VOI LUT": windowed}, rounds)
    return ratio_line(
        f"{what}: time to build the store / pydicom alone",
        found["medssl"],
        found["pydicom"],
        mark=MARK,
        at_least=False,
        files=len(files),
        cores=cores(),
        listing_seconds=round(listing, 3),
        seconds={name: round(statistics.median(each), 3) for name, each in found.items()},
        processor_ms_per_file={
            name: round(1000 * statistics.median(each) / len(files), 2) for name, each in busy.items()
        },
    )


def lines(rounds: int = 3, count: int = FILES, folder: Path | None = None) -> list[Line]:
    found = [
        compare("CT with a short header", partial(write_files, count=count), rounds),
        compare("CT in JPEG 2000", partial(write_files, count=max(1, count // 5), compressed=True), rounds),
    ]
    if folder is not None:
        found.append(compare("your files", partial(copy_files, folder, count=count), rounds))
    return found


def main() -> None:
    """Print the figures, and what they were computed from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--folder", type=Path, help="a folder of your own DICOM files")
    words = parser.parse_args()
    found = lines(words.rounds, words.files, words.folder)
    print_table(found)
    for line in found:
        print(line.what.partition(":")[0], dict(line.detail))


if __name__ == "__main__":
    main()
