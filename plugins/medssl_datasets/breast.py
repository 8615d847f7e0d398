"""Breast tumour histology, benign or malignant (BreaKHis, Spanhol et al. 2016)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from medssl.contracts import Classes, Listing, Part, Sample
from medssl.errors import DataError, shorten
from medssl_datasets.folders.files import PublishedTree, images_below, log

__all__ = ["Breast", "case_and_magnification"]

# SOB_B_A-14-22549AB-400-001.png: method, class, tumour type, year, slide, magnification, number
_NAME = re.compile(r"SOB_[BM]_[A-Z]+-\d\d-(\d+)[A-Z]*-(40|100|200|400)-\d+\.")
_PARTS: dict[str, Part] = {"train": "train", "test": "test"}

# Benign and malignant images, Spanhol et al. 2016, table I.
_COUNTS = {"40X": (625, 1370), "100X": (644, 1437), "200X": (623, 1390), "400X": (588, 1232)}


def case_and_magnification(name: str) -> tuple[str, str] | None:
    """Return the case number and the magnification ("400X") in an official file name, ``None`` for any other name.

    The case is the number without its letters: 22549AB, 22549CD and 22549G are one case. 13412 is also one case,
    although it occurs as ductal and as lobular carcinoma. The authors count 82 patients; this rule gives 70 cases, so
    in case of doubt it keeps images together.
    """
    found = _NAME.match(name)
    return (found[1], f"{found[2]}X") if found else None


class Breast(PublishedTree):
    """7,909 H&E images of 700 x 460 px at four magnifications; at 400X 588 benign and 1,232 malignant ones.

    Layouts: the official ``BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/<type>/<slide>/400X/*.png``, and
    the Kaggle version ``{train,test}/{benign,malignant}/*.png`` with 1,693 of the 400X images.

    Source: Spanhol et al., IEEE Trans. Biomed. Eng. 63:1455 (2016). Licence: CC BY 4.0.

    Known leaks: the images come from few cases. All benign cases in the test folder of the Kaggle version are also in
    its training folder. So results on its parts, and on any random split, are better than for new patients.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            magnification: Total magnification of objective and eyepiece.
        """

        magnification: Literal["40X", "100X", "200X", "400X"] = "400X"  # the ICIP 2023 study's

    name = "breast"
    classes = ("benign", "malignant")
    layouts = (classes, ("train/benign", "train/malignant", "test/benign", "test/malignant"))
    wrappers = ("BreaKHis_v1", "histology_slides", "breast", "BreaKHis 400X", "breakhis-400x", "breakhis", "archive")
    expected = "BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/... or {train,test}/{benign,malignant}/*.png"
    augmentation = "histology"

    def index(self) -> Listing:
        """List the images of one magnification, sorted by id.

        Raises:
            DataError: The tree does not exist, or has no image of a class at this magnification.
        """
        samples, unknown = [], []
        for folder, part in (("", None), *_PARTS.items()):
            for label, name in enumerate(self.classes):
                prefix = f"{folder}/{name}" if folder else name
                for image in images_below(self.tree / prefix) if (self.tree / prefix).is_dir() else ():
                    key = case_and_magnification(image.rpartition("/")[2])
                    if key is None:
                        unknown.append(f"{prefix}/{image}")
                    elif key[1] == self.config.magnification:
                        samples.append(Sample(id=f"{prefix}/{image}", y=label, group=key[0], part=part))
        if unknown:
            log.warning("breast: %d files without an official name are left out: %s", len(unknown), shorten(unknown, 5))
        self._check_magnification(samples)
        self.warn_of_counts(samples, dict(zip(self.classes, _COUNTS[self.config.magnification], strict=True)))
        return Listing(
            samples=sorted(samples, key=lambda sample: sample.id),
            target=Classes(self.classes),
            group_kind="case",
            chosen=self.config.magnification,
            default_split="grouped",
            split_reason="all images come from about 70 cases, and a random split (like the Kaggle parts) has "
            "images of one case on both sides",
        )

    def _check_magnification(self, samples: list[Sample]) -> None:
        if not samples:
            raise DataError(
                f"breast: {self.tree} has no image at {self.config.magnification} with its official name "
                "(SOB_B_A-14-22549AB-400-001.png). The Kaggle version has only 400X. "
                "Choose another magnification with --set dataset.magnification=..., or fetch the official archive."
            )
        self.check_classes(samples)
