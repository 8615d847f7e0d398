"""How views are drawn, and which of them a method wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Le

from medssl.contracts.options import Fraction, NonNegative

__all__ = ["Augmentation", "ViewGroup", "ViewSpec"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a random view is drawn from an image; named ones (``natural``, ``histology``, ``xray``) are in the catalogue.

    Operations apply in the order of the fields, as in SimCLR (Chen et al. 2020, appendix A) and torchvision; every
    sample draws its own parameters, and the four colour operations of the jitter come in a random order per sample.

    Attributes:
        crop_scale: Range of the crop's area as a fraction of the image's.
        crop_ratio: Range of the crop's width over its height, drawn log-uniformly.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        rotate90: Probability of a rotation by 90, 180 or 270 degrees (equally likely).
        jitter: Probability that the four operations below are applied.
        brightness: Factor drawn from ``[max(0, 1 - x), 1 + x]``.
        contrast: Likewise.
        saturation: Likewise; nothing changes on a grey image.
        hue: Shift drawn from ``[-x, x]``, in turns of the colour circle, at most 0.5.
        greyscale: Probability.
        blur: Probability of a Gaussian blur.
        blur_sigma: Range of its standard deviation, in pixels of a 224 px view (scaled with the view's side).
        solarise: Probability of inverting the pixels at or above the threshold.
        solarise_threshold: Fraction of the full range.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    rotate90: Fraction = 0.0
    jitter: Fraction = 0.8
    brightness: NonNegative = 0.4
    contrast: NonNegative = 0.4
    saturation: NonNegative = 0.2
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1
    greyscale: Fraction = 0.2
    blur: Fraction = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: Fraction = 0.0
    solarise_threshold: Fraction = 0.5


@dataclass(frozen=True, kw_only=True)
class ViewGroup:
    """Some views of one size and one augmentation.

    Attributes:
        count: How many views.
        scale: Side length as a fraction of the recipe's image size (1.0: full size; 0.43 gives the 96 px of a 224 px
            multi-crop).
        augment: Fields of the augmentation recipe to replace, for instance ``{"solarise": 0.2}`` for one of two
            asymmetric views. Values the user sets win over these.
    """

    count: int = 2
    scale: float = 1.0
    augment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewSpec:
    """The views a method wants of each sample, in the order it receives them.

    Attributes:
        groups: Views of one size and augmentation each.
        geometry: Whether the batch says where in its image each view was taken (``Batch.geometry``).
    """

    groups: tuple[ViewGroup, ...] = (ViewGroup(),)
    geometry: bool = False

    @property
    def count(self) -> int:
        """V, over all groups."""
        return sum(group.count for group in self.groups)
