"""The augmentation of views, and the views that a method requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt

from medssl.contracts.options import Fraction, NonNegative

__all__ = ["Augmentation", "ViewGroup", "ViewSpec"]

_POSITIVE = "0 < low <= high", lambda low, high: 0 < low <= high
_RANGES: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "crop_scale": ("0 < low <= high <= 1", lambda low, high: 0 < low <= high <= 1),
    "crop_ratio": _POSITIVE,
    "window": ("low < high", lambda low, high: low < high),
    "gamma_range": _POSITIVE,
    "blur_sigma": _POSITIVE,
    "noise_sigma": ("0 <= low <= high", lambda low, high: 0 <= low <= high),
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a random view is drawn from an image; the catalogue has named ones (``natural``, ``histology``, ``xray``).

    Operations apply in the order of the fields, as in SimCLR (Chen et al. 2020, appendix A) and torchvision. Each
    sample draws its own parameters, and the four colour operations of the jitter come in a random order for each
    sample. An operation whose probability or range is zero costs nothing. Each operation has its own file in
    ``medssl/data/views/ops``; a test checks that its fields agree with these.

    Attributes:
        crop_scale: Range of the crop's area as a fraction of the image's.
        crop_ratio: Range of the crop's width over its height, drawn log-uniformly.
        window: Grey levels of the image's file that become black and white; values beyond are cut off. ``None``: an
            8-bit image uses its whole range, an image with more bits the range without its darkest and brightest 0.5 %
            of pixels. Evaluation applies only this operation.
        window_jitter: Probability that the window is moved and resized.
        window_level: Move, drawn from ``[-x, x]``, as a fraction of the window's width.
        window_width: Factor on the width, drawn from ``[1 - x, 1 + x]``.
        rotation: Largest angle in degrees; each crop is rotated by an angle from ``[-x, x]``. The view is the largest
            part of the crop without empty corners: three quarters of its area at 10 degrees, half of it at 45.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        rotate90: Probability of a rotation by 90, 180 or 270 degrees (equally likely).
        gamma: Probability of raising grey levels to a power.
        gamma_range: Range of the exponent, drawn log-uniformly; below 1 makes darker levels brighter.
        stain: Probability of a change of the stains haematoxylin, eosin and DAB, each by its own amount (Ruifrok &
            Johnston 2001; Tellez et al. 2018); a grey image does not change.
        stain_scale: Factor on a stain's amount, drawn from ``[1 - x, 1 + x]``.
        stain_shift: Amount added to a stain, drawn from ``[-x, x]``, as optical density (natural logarithm).
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
        noise: Probability of Gaussian noise, independent in each pixel.
        noise_sigma: Range of its standard deviation, as a fraction of the full range.

    Raises:
        ValueError: The first number of a range is larger than the second, or a number is outside its allowed range.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    window: tuple[float, float] | None = None
    window_jitter: Fraction = 0.0
    window_level: NonNegative = 0.1
    window_width: Annotated[float, Ge(0), Lt(1)] = 0.2
    rotation: Annotated[float, Ge(0), Le(180)] = 0.0
    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    rotate90: Fraction = 0.0
    gamma: Fraction = 0.0
    gamma_range: tuple[float, float] = (0.7, 1.5)
    stain: Fraction = 0.0
    stain_scale: Fraction = 0.05
    stain_shift: NonNegative = 0.05
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
    noise: Fraction = 0.0
    noise_sigma: tuple[float, float] = (0.0, 0.05)

    def __post_init__(self) -> None:
        found = {name: getattr(self, name) for name in _RANGES}
        wrong = [name for name, value in found.items() if value is not None and not _RANGES[name][1](*value)]
        if wrong:
            said = [f"{name}: expected [low, high] with {_RANGES[name][0]}, got {list(found[name])}" for name in wrong]
            raise ValueError("; ".join(said) + ".")


@dataclass(frozen=True, kw_only=True)
class ViewGroup:
    """Some views of one size and one augmentation.

    Attributes:
        count: How many views.
        scale: Side length as a fraction of the recipe's image size (1.0: full size; 0.43 gives the 96 px of a 224 px
            multi-crop).
        augment: Fields of the augmentation recipe to replace, for instance ``{"solarise": 0.2}`` for one of two
            asymmetric views. Values set by the user override these.
    """

    count: int = 2
    scale: float = 1.0
    augment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewSpec:
    """The views that a method needs for each sample, in the order in which it receives them.

    Attributes:
        groups: Views of one size and augmentation each.
        geometry: Whether the batch has the position of each view in its image (``Batch.geometry``).
    """

    groups: tuple[ViewGroup, ...] = (ViewGroup(),)
    geometry: bool = False

    @property
    def count(self) -> int:
        """V, over all groups."""
        return sum(group.count for group in self.groups)
