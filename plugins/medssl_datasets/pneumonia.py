"""Paediatric chest X-rays, normal or pneumonia (Kermany et al. 2018)."""

from __future__ import annotations

import re

from medssl.contracts import Classes, Listing, Part, Sample
from medssl.errors import shorten
from medssl_datasets.folders.files import PublishedTree, images_below, log

__all__ = ["Pneumonia", "patient"]

# Part of each folder. `val` exists only in the Kaggle version: 16 images taken from the original release's train, too #
# few for validation. They go back to train, and the validation part is drawn from the training part as usual.
_PARTS: dict[str, Part] = {"train": "train", "val": "train", "test": "test"}

_PATIENT = re.compile(
    r"(?:(person\d+_(?:bacteria|virus))"  # version 2; the same number is used for several children
    r"|((?:NORMAL2-)?IM-\d+)"  # version 2, normal images; both series start at 1
    r"|(?:NORMAL|BACTERIA|VIRUS)-(\d+))[-_]"  # version 3: disease, patient, image
)


def patient(name: str) -> str | None:
    """Return the patient in an image's file name, ``None`` if the name has an unknown form.

    ``person447_virus_921_1.jpeg`` is patient ``person447_virus``: 170 numbers occur in both the training and the test
    folder, but no pair of number and cause does. ``NORMAL2-IM-0851-0001.jpeg`` and ``IM-0851-0001.jpeg`` are two
    patients. ``BACTERIA-1008087-0001.jpeg`` (version 3) is patient ``1008087``.
    """
    found = _PATIENT.match(name)
    return found[found.lastindex] if found and found.lastindex else None


class Pneumonia(PublishedTree):
    """5,856 chest X-rays of children of one to five years, 1,583 normal and 4,273 with pneumonia.

    Layout: ``chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg`` of version 2 (``ChestXRay2017.zip``) or version 3
    (the same images, renamed by patient), or the Kaggle version, which also has ``val`` and may contain the whole tree
    twice.

    Source: Kermany et al., Cell 172:1122 (2018), doi:10.17632/rscbjbr9sj.2. Licence: CC BY 4.0.

    Known leaks: none between the official folders, which share no patient. A random split of all images has one
    patient on both sides; 30 groups of images are identical pixel by pixel, each inside one folder and class. The
    training folder has 74 % pneumonia, the test folder 62.5 %.
    """

    name = "pneumonia"
    classes = ("NORMAL", "PNEUMONIA")
    layouts = (("train/NORMAL", "train/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA"),)
    wrappers = ("chest_xray", "ChestXRay2017", "ZhangLabData", "CellData", "archive", "pneumonia")
    expected = "chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg"
    augmentation = "xray"

    def index(self) -> Listing:
        """List the X-rays by folder (test, train, val), class and name.

        Raises:
            DataError: The tree does not exist, or a class has no image.
        """
        samples = [
            Sample(id=f"{folder}/{name}/{image}", y=label, group=patient(image.rpartition("/")[2]), part=part)
            for folder, part in sorted(_PARTS.items())
            for label, name in enumerate(self.classes)
            if (self.tree / folder / name).is_dir()
            for image in images_below(self.tree / folder / name)
        ]
        self.check_classes(samples)
        if unknown := [sample.id for sample in samples if sample.group is None]:
            log.warning("pneumonia: no patient is known for %d images: %s", len(unknown), shorten(unknown, 5))
        self.warn_of_counts(samples, self.facts.get("counts", {}))
        return Listing(
            samples=samples,
            target=Classes(self.classes),
            group_kind="patient" if any(sample.group for sample in samples) else None,
            default_split="official",
            split_reason="the test folder has other patients than the training folder, and published results use it; "
            "a random split of all images puts single patients on both sides",
        )
