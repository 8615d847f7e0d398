"""Use of trained encoders outside a run: load one, and compute features of images.

N images, S side length of an image in pixels, F features.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.data.audit.overlap import find_overlap
from medssl.data.audit.seen import Seen, read_seen
from medssl.data.listing import index
from medssl.data.store.store import Store, open_store
from medssl.data.views import PlainViews
from medssl.data.views.normalisation import Normalisation, statistics
from medssl.errors import CheckpointError, DataError
from medssl.evaluation.features import extract
from medssl.tools import IMAGE_SUFFIXES, read_image
from medssl.train.encoder import checkpoint
from medssl.train.encoder.backbones import Encoder
from medssl.train.machine.device import choose_layout
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory

__all__ = ["TrainedEncoder", "embed", "find_images", "load_encoder"]

_log = logging.getLogger("medssl")

#: A file, a Pillow image, or an array ``(H, W)`` or ``(H, W, 1 or 3)`` of uint8 or uint16.
ImageLike = str | Path | Image.Image | NDArray[Any]


class TrainedEncoder(nn.Module):
    """The encoder of a run with its preprocessing: normalised images ``(N, 3, S, S)`` to features ``(N, F)``.

    Attributes:
        network: The timm module, without a classifier.
        feature_dim: F.
        image_size: S, the side length of the images that it was trained on.
        normalisation: ``imagenet`` or ``half``.
        window: Grey levels that are shown as black and white, if the recipe fixed them; see
            :attr:`medssl.contracts.Augmentation.window`.
        header: Metadata of the file: backbone, stem, recipe and so on.
        seen: Keys of the images that it was trained on; see :mod:`medssl.data.audit.seen`.
    """

    def __init__(self, encoder: Encoder, header: dict[str, str], seen: Seen) -> None:
        super().__init__()
        self.network = encoder.network
        self.feature_dim = encoder.feature_dim
        self.image_size = int(header["image_size"])
        self.normalisation: Normalisation = "half" if header["normalisation"] == "half" else "imagenet"
        self.window: tuple[float, float] | None = tuple(json.loads(header["window"])) if "window" in header else None
        self.header = header
        self.seen = seen

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``(N, 3, S, S)`` into ``(N, F)``."""
        features: Tensor = self.network(images)
        return features

    @property
    def transform(self) -> Callable[[Any], Tensor]:
        """A torchvision transform from a Pillow image or an array to the encoder's input ``(3, S, S)``.

        It is meant for your own data loader. It resizes in one step; :func:`embed` reads 16-bit and very large images
        as a run does.
        """
        scale, shift = (values.flatten() for values in statistics(self.normalisation, torch.device("cpu")))
        steps = [
            v2.ToImage(),
            v2.RGB(),
            v2.Resize(self.image_size, antialias=True),
            v2.CenterCrop(self.image_size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((shift / scale).tolist(), (1 / scale).tolist()),
        ]
        compose: Callable[[Any], Tensor] = v2.Compose(steps)
        return compose


def load_encoder(path: Path | str) -> TrainedEncoder:
    """Load the encoder of a run.

    Args:
        path: The run's directory, or its ``encoder.safetensors``.

    Returns:
        The encoder, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: The file is missing, broken, not written by medssl, or does not fit the installed timm.
    """
    path = Path(path)
    file = path / "encoder.safetensors" if path.is_dir() else path
    encoder, header = checkpoint.read_encoder(file)
    seen = read_seen(file)
    if "normalisation" not in header:
        raise CheckpointError(
            f"{path} does not say how its images were normalised. Another program changed its header. "
            "Use the file that the run wrote."
        )
    header.pop("seen", None)  # takes a megabyte for ten thousand images
    return TrainedEncoder(encoder, header, seen).eval()


@kept_memory()
def embed(
    encoder: TrainedEncoder | Path | str,
    images: Sequence[ImageLike] | NDArray[Any] | Dataset,
    *,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Compute features of images, exactly as a run does.

    The logger ``medssl`` warns if the encoder was trained on some of the images, or if this is unknown. Do not test a
    classifier on such features: the result would measure memorisation.

    Args:
        encoder: The result of :func:`load_encoder`, or a path for it.
        images: Files, Pillow images or arrays, or one array ``(N, H, W)`` or ``(N, H, W, C)``; or a dataset, whose
            samples are used in their order.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        progress: Called with the number of images read and N.

    Returns:
        ``(N, F)`` float32, in the order of the images.

    Raises:
        DataError: An image cannot be read, or is not an image.
        CheckpointError: See :func:`load_encoder`.
    """
    trained = encoder if isinstance(encoder, TrainedEncoder) else load_encoder(encoder)
    machine = Machine.choose(device, precision)
    dataset = images if isinstance(images, Dataset) else _Given(images)
    samples = index(dataset).samples
    if not samples:
        return np.empty((0, trained.feature_dim), np.float32)
    choose_layout(machine.device).apply(trained, machine.device)
    with TemporaryDirectory(prefix="medssl-") as cache:
        try:
            store = open_store(dataset, samples, view_size=trained.image_size, cache=Path(cache), progress=progress)
        except DataError as error:
            raise _without_option(error) from error
        views = PlainViews(
            store,
            range(len(store)),
            image_size=trained.image_size,
            device=machine.device,
            normalisation=trained.normalisation,
            window=trained.window,
        )
        features: NDArray[np.float32] = extract(trained, views, len(store), precision=machine.precision).numpy()
        _say_what_was_seen(trained.seen, dataset, samples, store, Path(cache))
    return features


def _without_option(error: DataError) -> DataError:
    """Replace advice to use an option of `medssl run` that :func:`embed` does not have."""
    lines = str(error).splitlines()
    kept = [line for line in lines if "--on-bad-image" not in line]
    if len(kept) == len(lines):
        return error
    return DataError("\n".join([*kept, "Replace these files, or leave them out of the list of images."]))


def _say_what_was_seen(seen: Seen, dataset: Dataset, samples: Sequence[Sample], store: Store, cache: Path) -> None:
    overlap = find_overlap(seen, dataset, samples, store, judged=frozenset(store.ids), cache=cache)
    if known := len(overlap.either):
        _log.warning(
            "the encoder was trained on %d of these %d images, or on near-duplicates of them. Do not test anything on "
            "their features.",
            known,
            len(store),
        )
    if not seen.known:
        _log.warning("it is unknown which images the encoder, or its initial weights, were trained on.")


def find_images(paths: Iterable[Path]) -> list[Path]:
    """List image files: the given files, and those in the given folders, sorted within each folder.

    Raises:
        DataError: A file does not exist, or a folder contains no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            what = "contains no image" if path.is_dir() else "does not exist"
            raise DataError(f"{path} {what}. Give image files, or folders that contain some.")
        found.extend(inside)
    return found


class _Given(Dataset):
    """Images that the caller passes to :func:`embed`."""

    def __init__(self, images: Sequence[ImageLike] | NDArray[Any]) -> None:
        super().__init__(self.Config(), Path())
        self._images = images

    def index(self) -> Listing:
        """Return one sample per image, in the given order; its id is its number and, for a file, its path."""
        paths = (picture if isinstance(picture, str | Path) else "" for picture in self._images)
        samples = [Sample(id=f"{i:09d} {path}".rstrip()) for i, path in enumerate(paths)]
        return Listing(samples=samples, target=Classes(("any",)))  # none has a label

    def read(self, sample: Sample) -> np.ndarray:
        """Return ``(H, W, C)``."""
        return self._read(sample, None)

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Return ``(H, W, C)``; a file is read at the reduced size that a run reads."""
        return self._read(sample, short_side)

    def _read(self, sample: Sample, short_side: int | None) -> np.ndarray:
        picture = self._images[int(sample.id[:9])]
        if isinstance(picture, str | Path):
            return read_image(picture, short_side)
        if isinstance(picture, Image.Image):
            picture = np.asarray(picture if picture.mode in ("L", "I;16") else picture.convert("RGB"))
        array = np.asarray(picture)
        return array[:, :, None] if array.ndim == 2 else array
