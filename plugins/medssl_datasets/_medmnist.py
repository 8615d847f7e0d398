"""Facts about the MedMNIST datasets: class names in the order of the label numbers, and suitable augmentations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medssl.contracts import Classes, Findings, Grades, Target, Value
from medssl.errors import did_you_mean

__all__ = ["LABELS", "MODALITY", "check_array", "check_finding", "target_of"]

_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)

# medmnist/info.py of MedMNIST v2.
LABELS: dict[str, tuple[str, ...]] = {
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "breastmnist": ("malignant", "normal, benign"),
    "chestmnist": (
        "atelectasis",
        "cardiomegaly",
        "effusion",
        "infiltration",
        "mass",
        "nodule",
        "pneumonia",
        "pneumothorax",
        "consolidation",
        "edema",
        "emphysema",
        "fibrosis",
        "pleural",
        "hernia",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "tissuemnist": (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    ),
}

MODALITY: dict[str, str] = {
    "bloodmnist": "microscopy",
    "breastmnist": "ultrasound",
    "chestmnist": "xray",
    "dermamnist": "histology",  # in colour, without a top and bottom
    "octmnist": "xray",  # grey, with a top and bottom, as the next three
    "organamnist": "ct",  # the classes include left and right organs
    "organcmnist": "ct",
    "organsmnist": "ct",
    "pathmnist": "histology",
    "pneumoniamnist": "xray",
    "retinamnist": "natural",
    "tissuemnist": "microscopy",
}


def check_finding(name: str, finding: str | None) -> None:
    """Check that a dataset has the requested finding.

    Raises:
        ValueError: It does not have the finding.
    """
    if finding is None:
        return
    if name != "chestmnist":
        raise ValueError(
            f"finding = '{finding}' is not possible for {name}. Only chestmnist has several findings per image. "
            "Leave it out, or set dataset.name=chestmnist."
        )
    if finding not in LABELS[name]:
        raise ValueError(
            f"chestmnist has no finding '{finding}'.{did_you_mean(finding, LABELS[name])} "
            f"Choose from: {', '.join(LABELS[name])}."
        )


def check_array(name: str, values: np.ndarray) -> None:
    """Check that an array is one of MedMNIST.

    Raises:
        ValueError: Images are not ``(N, H, W)`` or ``(N, H, W, 3)`` uint8, or labels not whole numbers ``(N, ...)``.
    """
    if name.endswith("_images"):
        fits = values.dtype == np.uint8 and values.ndim in (3, 4) and values.shape[3:] in ((), (3,)) and values.size > 0
    else:
        fits = values.dtype.kind in "iu" and values.ndim in (1, 2) and values.size > 0
    if not fits:
        raise ValueError(f"its array {name} has the type {values.dtype} and the shape {values.shape}")


def target_of(name: str, finding: str | None) -> tuple[Target, Callable[[Sequence[int]], Value]]:
    """Return a dataset's target, and the function that converts a row of its label array to a value."""
    labels = LABELS[name]
    if finding is not None:
        column = labels.index(finding)
        return Classes((f"no {finding}", finding)), lambda row: int(row[column])
    if name == "chestmnist":
        return Findings(labels), lambda row: tuple(map(int, row))
    return (Grades if name == "retinamnist" else Classes)(labels), lambda row: int(row[0])
