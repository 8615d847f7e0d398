"""NIfTI: slices, orientation and values against nibabel's own, on real and on written volumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.conformance.pytest import contract_tests
from medssl.errors import DataError
from medssl.recipe import options
from medssl_datasets.folder import Folder
from medssl_readers.nifti import Nifti

nibabel = pytest.importorskip("nibabel")

test_contract = contract_tests("reader", Nifti)

DATA = os.environ.get("MEDSSL_DATA")
REAL = sorted((Path(DATA) / "nifti").glob("*.nii*")) if DATA else []
VALUES = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # axes of RAS across and down


def reader(**values: Any) -> Nifti:
    return Nifti(options.build(Nifti.Config, values, "reader"))


def write(file: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), file)
    return file


def picture(canonical: np.ndarray, axis: str, k: int) -> np.ndarray:
    """The slice as a radiologist sees it: rows from the top down, columns from the patient's right or front."""
    across, down = PLANES[axis]
    plane = canonical.take(k, axis=3 - across - down)
    return np.array([[plane[x, y] for x in range(plane.shape[0])][::-1] for y in range(plane.shape[1])][::-1])


@pytest.mark.parametrize("axis", PLANES)
@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name[:30])
def test_slices_of_real_files_are_those_of_nibabel(file, axis):
    image = nibabel.as_closest_canonical(nibabel.load(file))
    data = image.get_fdata()
    volumes = data.reshape(*data.shape[:3], -1)
    slices = volumes.shape[3 - sum(PLANES[axis])]
    own = reader(axis=axis)
    assert own.frames(file) == slices * volumes.shape[3]
    for frame in (0, slices // 2, slices * volumes.shape[3] - 1):
        expected = picture(volumes[..., frame // slices], axis, frame % slices)
        read = own.read(file, frame, None)[:, :, 0].astype(float)
        assert read.shape == expected.shape
        if expected.std() > 0:  # values are kept or mapped by a straight line, the same for a volume
            whole = volumes[..., frame // slices]
            step = max(1e-12, (whole.max() - whole.min()) / 65535)
            slope = np.polyfit(expected.ravel(), read.ravel(), 1)[0]
            np.testing.assert_allclose(slope, 1 if _whole(file) else 1 / step, rtol=1e-3)
            assert np.corrcoef(expected.ravel(), read.ravel())[0, 1] > 1 - 1e-6


def _whole(file: Path) -> bool:
    return np.asanyarray(nibabel.load(file).dataobj).dtype.kind in "iu"


@pytest.mark.parametrize("axis", PLANES)
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_files_of_any_orientation_give_the_same_slices(tmp_path, axis, codes):
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    turned = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(np.eye(4)), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(image.as_reoriented(turned), tmp_path / "a.nii.gz")
    own = reader(axis=axis)
    for k in range(own.frames(tmp_path / "a.nii.gz")):
        read = own.read(tmp_path / "a.nii.gz", k, None)[:, :, 0]
        np.testing.assert_array_equal(read.astype(int) - 32768, picture(VALUES, axis, k))


def test_values_without_a_window(tmp_path):
    small = write(tmp_path / "small.nii", (VALUES % 256).astype(np.uint8))
    assert reader().read(small, 0, None).dtype == np.uint8
    fractions = VALUES / 1000.0
    fractions[0, 0, 0] = np.nan
    read = np.stack([reader().read(write(tmp_path / "b.nii", fractions), k, None)[:, :, 0] for k in range(6)])
    assert (read.min(), read.max(), read[0, -1, -1]) == (0, 65535, 0)


def test_a_window_in_hounsfield_units(tmp_path):
    read = reader(window="brain").read(write(tmp_path / "a.nii"), 2, None)
    share = np.clip((picture(VALUES, "axial", 2) - 39.5) / 79 + 0.5, 0, 1)
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read[:, :, 0], share * 255, atol=0.51)


def test_slices_and_volumes_are_chosen(tmp_path):
    file = write(tmp_path / "a.nii", np.stack([VALUES, VALUES + 1, VALUES + 2], axis=3))
    assert list(reader(frames="middle", volumes="1:").chosen(file)) == [9, 15]
    assert list(reader(axis="sagittal", frames="::2", volumes="middle").chosen(file)) == [4, 6]


def test_slices_of_a_volume_are_samples_of_one_group(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "1.nii.gz")
    dataset = Folder(Folder.Config(), tmp_path)
    listing = dataset.index()
    assert [sample.id for sample in listing.samples[:2]] == ["a/1.nii.gz#0", "a/1.nii.gz#1"]
    assert len({sample.group for sample in listing.samples}) == 2
    np.testing.assert_array_equal(
        dataset.read(listing.samples[1])[:, :, 0].astype(int) - 32768, picture(VALUES, "axial", 1)
    )


def test_damaged_files_are_explained(tmp_path):
    file = write(tmp_path / "a.nii")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.nii cannot be read: its data is damaged or truncated"):
        reader().read(file, 0, None)
    with pytest.raises(DataError, match="has no slice 6; it has 6, counted from 0"):
        reader().read(write(tmp_path / "b.nii"), 6, None)
