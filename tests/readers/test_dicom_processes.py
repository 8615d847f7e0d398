"""Frames that other processes decode equal those that this process decodes, and a process that ends stops nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest

from medssl.errors import DataError
from medssl_readers import _processes
from medssl_readers._dicom_pixels import decode
from medssl_readers._processes import Decoders
from medssl_readers._windows import Window

pydicom = pytest.importorskip("pydicom")
WINDOW = Window(centre=40, width=400)


def write(file, seed):
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    found.Rows, found.Columns, found.SamplesPerPixel = 60, 50, 1
    found.PhotometricInterpretation, found.PixelRepresentation, found.NumberOfFrames = "MONOCHROME2", 0, 2
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.RescaleSlope, found.RescaleIntercept, found.Modality = "1", "-1024", "CT"
    found.PixelData = np.random.default_rng(seed).integers(0, 4096, (2, 60, 50), np.uint16).tobytes()
    found.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
    found.save_as(file, enforce_file_format=True)
    return file


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{seed}.dcm", seed) for seed in range(6)]


@pytest.fixture
def decoders(monkeypatch):
    """Use other processes for every frame."""
    monkeypatch.setattr(_processes, "_WORTH", -1.0)
    found = Decoders()
    found._active = 1  # as if one more thread were decoding
    yield found
    found.end()


def test_a_request_is_answered_with_the_pixels_or_the_error(files, tmp_path):
    def asked(**values):
        return json.dumps(values).encode() + b"\n"

    window = {"centre": 40.0, "width": 400.0, "name": "", "number": 0}
    requests = asked(path=str(tmp_path / "missing.dcm"), frame=0, window=None)
    requests += asked(path=str(files[0]), frame=1, window=window) + asked(path=str(files[0]), frame=0, window=None)
    answers = BytesIO()
    _processes._serve(BytesIO(requests), answers)
    answers.seek(0)
    assert "missing.dcm cannot be read as a DICOM image" in json.loads(answers.readline())["error"]
    for frame, chosen in ((1, WINDOW), (0, None)):
        expected = decode(files[0], frame, chosen)
        assert json.loads(answers.readline()) == {"shape": list(expected.shape), "dtype": expected.dtype.str}
        assert answers.read(expected.nbytes) == expected.tobytes()
    assert not answers.read()


def test_few_frames_start_no_process(files, monkeypatch):
    monkeypatch.setattr(_processes, "_Process", None)
    decoders = Decoders()
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(lambda file: decoders.decode(file, 0, None), files))) == len(files)


def test_where_no_process_can_be_started_this_one_decodes(files, decoders, monkeypatch):
    monkeypatch.setattr(_processes.sys, "executable", "/missing/python")
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda file: decoders.decode(file, 0, None), files))
    np.testing.assert_array_equal(found, [decode(file, 0, None) for file in files])


@pytest.mark.slow
def test_pixels_and_errors_of_other_processes_are_those_of_this_one(files, decoders, tmp_path):
    (tmp_path / "bad.dcm").write_bytes(b"no image" * 100)
    wanted = [(file, frame, window) for file in files for frame in (0, 1) for window in (None, WINDOW)]

    def bad(_):
        with pytest.raises(DataError) as error:
            decoders.decode(tmp_path / "bad.dcm", 0, None)
        return str(error.value)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda each: decoders.decode(*each), wanted))
        errors = set(pool.map(bad, range(6)))
    assert 1 <= len(decoders._free) <= 3
    for each, pixels in zip(wanted, found, strict=True):
        expected = decode(*each)
        assert pixels.dtype == expected.dtype
        np.testing.assert_array_equal(pixels, expected)
    with pytest.raises(DataError) as error:
        decode(tmp_path / "bad.dcm", 0, None)
    assert errors == {str(error.value)}


@pytest.mark.slow
def test_a_process_that_ended_is_replaced_and_one_that_always_ends_is_named(files, decoders, monkeypatch):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda file: decoders.decode(file, 0, None), files))
        assert decoders._free
        for process in decoders._free:
            process._process.kill()
            process._process.wait()
        np.testing.assert_array_equal(decoders.decode(files[0], 0, None), decode(files[0], 0, None))
    for process in decoders._free:
        process._process.kill()
    monkeypatch.setattr(_processes, "_COMMAND", ("-c", "pass"))
    with pytest.raises(DataError, match="the process that decoded it ended"):
        decoders.decode(files[0], 0, None)
