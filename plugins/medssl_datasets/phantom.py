"""A procedural tissue phantom: a dataset without files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from medssl.contracts import Classes, Dataset, Fraction, Listing, PositiveInt, Sample
from medssl.errors import DataError
from medssl_datasets._tissue import CLASSES, Stain, draw

__all__ = ["Phantom"]

_CLASSES = tuple(CLASSES)
_VERSION = 1  # increase it whenever a pixel changes


class Phantom(Dataset):
    """Drawn H&E-like tissue of four kinds, each with its own patients: gland, stroma, lymphoid, tumour.

    The kinds differ in the positions, sizes and directions of nuclei. Stain, light and magnification differ between
    patients, independently of the kind, and the shares of nucleus, matrix and gap have the same distribution for all
    kinds. So a colour histogram is no better than chance on new patients. An untrained ResNet-18 is right for about
    every second image (k nearest neighbours, 64 px).

    Source: medssl itself; the options determine every image. Licence: that of medssl.

    Known leaks: images of one patient share stain and magnification, like real images, so a random split is easier than
    the default split.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            patients_per_class: Patients of each kind of tissue.
            images_per_patient: Images of each patient.
            size: Side of the square images in pixels.
            noise: Standard deviation of the sensor noise, as a fraction of white.
            seed: Seed of all random draws.
        """

        patients_per_class: PositiveInt = 10  # 7, 1 and 2 in the parts of a grouped 70/10/20 split
        images_per_patient: PositiveInt = 12  # 480 images: drawn in two seconds, and still a small dataset
        size: Annotated[int, Ge(16), Le(4096)] = 64
        noise: Fraction = 0.02  # ours: five of 255 grey levels, visible, but it hides nothing
        seed: Annotated[int, Ge(0)] = 0

    augmentation = "histology"

    def index(self) -> Listing:
        """List the images by class, patient and number."""
        samples = [
            Sample(id=f"{name}/{patient:03d}/{image:03d}", y=label, group=f"{name}-{patient:03d}")
            for label, name in enumerate(_CLASSES)
            for patient in range(self.config.patients_per_class)
            for image in range(self.config.images_per_patient)
        ]
        return Listing(
            samples=samples,
            target=Classes(_CLASSES),
            group_kind="patient",
            default_split="grouped",
            split_reason="the images of a patient share a stain, and the result must hold for new patients",
            channels=3,
            depth=8,
        )

    def read(self, sample: Sample) -> np.ndarray:
        """Draw one image ``(size, size, 3)`` uint8; it depends on the sample's id and the options only.

        Raises:
            DataError: The id is not one of this dataset.
        """
        try:
            name, patient, image = sample.id.split("/")
            key = [self.config.seed, _CLASSES.index(name), int(patient)]
            rng = np.random.default_rng([*key, int(image) + 1])  # + 1: numpy pads the patient's own key with zeros
        except ValueError as error:
            raise DataError(
                f"the phantom has no image '{sample.id}'. Ids are class/patient/image, such as gland/000/000. "
                "List them with index()."
            ) from error
        stain = Stain.random(np.random.default_rng(key))
        return draw(name, stain, rng, self.config.size, self.config.noise)

    def fingerprint(self) -> str:
        """Return the options, the version of the drawing code, and numpy's, whose random streams may change."""
        return json.dumps({"phantom": _VERSION, "numpy": np.__version__, **asdict(self.config)}, sort_keys=True)
