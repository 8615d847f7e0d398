"""Use of trained encoders outside a run: load one, and compute features of images.

N images, S side length of an image in pixels, F features.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medssl.catalog import Catalog, load_catalog
from medssl.contracts import Dataset, Readers, Sample
from medssl.contracts.kinds import READER
from medssl.data.audit.overlap import find_overlap
from medssl.data.audit.seen import Seen, read_seen
from medssl.data.listing import index
from medssl.data.loading import open_readers
from medssl.data.store.store import Store, open_store
from medssl.data.views import PlainViews
from medssl.errors import CheckpointError
from medssl.evaluation.features import extract
from medssl.export.images import ImagesLike, as_dataset
from medssl.export.transform import Transform, require_channels
from medssl.recipe import choose
from medssl.results.directory import RunResult
from medssl.train.encoder import checkpoint
from medssl.train.encoder.building import Encoder
from medssl.train.machine.device import choose_layout
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory

__all__ = ["TrainedEncoder", "embed", "load_encoder", "open_views", "relative_names"]

_log = logging.getLogger("medssl")


class TrainedEncoder(Encoder):
    """The encoder of a run with its preprocessing: normalised images ``(N, 3, S, S)`` to features ``(N, F)``.

    Attributes:
        network: The network, for most encoders a timm module without a classifier.
        feature_dim: F.
        in_channels: Channels of the images; 3 for colour and for grey images.
        image_size: S, the side length of the images that it was trained on.
        preprocessing: How the encoder expects images.
        window: Grey levels that are shown as black and white, if the recipe fixed them; see
            :attr:`medssl.contracts.Augmentation.window`.
        header: Metadata of the file: backbone, stem, recipe and so on.
        seen: Keys of the images that it was trained on; see :mod:`medssl.data.audit.seen`.
        path: The file that it was loaded from.
    """

    def __init__(self, encoder: Encoder, header: dict[str, str], seen: Seen, path: Path) -> None:
        super().__init__(
            encoder.network,
            backbone_name=encoder.backbone_name,
            image_size=int(header["image_size"]),
            feature_dim=encoder.feature_dim,
            in_channels=encoder.in_channels,
            rebuild=encoder.rebuild,
            origin=encoder.origin,
            source=encoder.source,
        )
        self.preprocessing = checkpoint.preprocessing_of(header)
        self.window: tuple[float, float] | None = tuple(json.loads(header["window"])) if "window" in header else None
        self.header = header
        self.seen = seen
        self.path = path

    def readers(self, catalog: Catalog | None = None) -> Readers:
        """Return the readers of image files with the options of the run.

        Raises:
            PluginError: A reader that the run used is not installed.
        """
        listed: list[dict[str, Any]] = json.loads(self.header.get(READER.section, "[]"))
        return open_readers([choose(READER.name, each["plugin"], each, catalog or load_catalog()) for each in listed])

    @property
    def transform(self) -> Transform:
        """From a file, a Pillow image or an array to the encoder's input ``(3, S, S)``, for a data loader of your own.

        It reads and resizes an image exactly as a run and :func:`embed` do.
        """
        return Transform(self.image_size, self.preprocessing, self.window, self.readers(), self.in_channels)


def load_encoder(run: RunResult | Path | str, base: Path | str | None = None) -> TrainedEncoder:
    """Load the encoder of a run.

    Args:
        run: The result of the run, its folder, its ``encoder.safetensors``, or its ``adapter.safetensors`` alone.
        base: For adapters alone, the file of the weights that they were trained beside; ``None``: a file with these
            weights in the same folder, or the published weights.

    Returns:
        The encoder, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: The file is missing, broken, not written by medssl, or does not fit the installed timm.
    """
    path = run.path if isinstance(run, RunResult) else Path(run)
    file = path / "encoder.safetensors" if path.is_dir() else path
    encoder, header = checkpoint.read_encoder(file, base)
    seen = read_seen(file)
    if "normalisation" not in header and "preprocessing" not in header:
        raise CheckpointError(
            f"{path} does not say how its images were normalised. Another program changed its header. "
            "Use the file that the run wrote."
        )
    header.pop("seen", None)  # takes a megabyte for ten thousand images
    return TrainedEncoder(encoder, header, seen, file).eval()


@kept_memory()
def embed(
    encoder: TrainedEncoder | RunResult | Path | str,
    images: ImagesLike,
    *,
    data_dir: Path | str | None = None,
    catalog: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    on_bad_image: Literal["fail", "skip"] = "fail",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Compute features of images, exactly as a run does.

    The logger ``medssl`` warns if the encoder was trained on some of the images, or if this is unknown. Do not test a
    classifier on such features: the result would measure memorisation.

    Args:
        encoder: What :func:`load_encoder` returned, or what it takes.
        images: A file or a folder, a Pillow image, or a list of files, folders, Pillow images and arrays ``(H, W)`` or
            ``(H, W, C)``; one array ``(H, W)``, ``(N, H, W)`` or ``(N, H, W, C)``; a dataset, its name, or a mapping of
            ``plugin`` (its name) and options. Arrays are uint8 or uint16. A text is a path if something
            exists there, else the name of a dataset. The images of a folder are sorted by path, hidden ones left out;
            those of a dataset come in its order.
        data_dir: Where a named dataset lies: its folder, or the folder of its folder; ``None``: ``MEDSSL_DATA``, else
            the current folder.
        catalog: A catalogue file of the user's own, merged over medssl's.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        on_bad_image: ``fail``: an image that cannot be read is an error; ``skip``: its row is NaN, and the logger
            ``medssl`` warns.
        progress: Called with the number of images read and N.

    Returns:
        ``(N, F)`` float32, in the order of the images.

    Raises:
        DataError: An image does not exist, cannot be read, or is not an image.
        CheckpointError: See :func:`load_encoder`.
        PluginError: The dataset cannot be loaded.
    """
    trained = encoder if isinstance(encoder, TrainedEncoder) else load_encoder(encoder)
    machine = Machine.choose(device, precision)
    known = load_catalog(catalog)
    dataset = as_dataset(images, known, None if data_dir is None else Path(data_dir), trained.readers(known))
    samples = index(dataset).samples
    if not samples:
        return np.empty((0, trained.feature_dim), np.float32)
    choose_layout(machine.device).apply(trained, machine.device)
    with TemporaryDirectory(prefix="medssl-") as cache:
        store, views = open_views(
            trained, dataset, samples, machine, cache=Path(cache), on_bad_image=on_bad_image, progress=progress
        )
        features: NDArray[np.float32] = extract(trained, views, len(store), precision=machine.precision).numpy()
        read = [sample for sample in samples if sample.id in set(store.ids)] if store.skipped else samples
        _say_what_was_seen(trained.seen, dataset, read, store, Path(cache))
    return _with_gaps(features, samples, store) if store.skipped else features


def open_views(
    encoder: TrainedEncoder,
    dataset: Dataset,
    samples: Sequence[Sample],
    machine: Machine,
    *,
    cache: Path,
    on_bad_image: Literal["fail", "skip"],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Store, PlainViews]:
    """Decode images, and make the encoder's input of them as a run does.

    Args:
        encoder: Its size, preprocessing and window are used.
        dataset: The dataset of the images.
        samples: The images.
        machine: Where the views are made.
        cache: Folder of the store; it must exist as long as the views are used.
        on_bad_image: See :func:`embed`.
        progress: See :func:`embed`.

    Returns:
        The decoded images, and their views ``(n, C, S, S)`` by position.
    """
    store = open_store(
        dataset, samples, view_size=encoder.image_size, cache=cache, on_bad_image=on_bad_image, progress=progress
    )
    require_channels(store.channels, encoder.in_channels)
    views = PlainViews(
        store,
        range(len(store)),
        image_size=encoder.image_size,
        device=machine.device,
        preprocessing=encoder.preprocessing,
        window=encoder.window,
    )
    return store, views


def relative_names(given: Sequence[Path], found: Sequence[Path]) -> list[str]:
    """Name images for a file that is joined with the user's own table; no name is an absolute path.

    Args:
        given: Files and folders as the user gave them.
        found: The images in them.

    Returns:
        Relative paths as they are; of absolute ones, the part below the innermost folder that holds all of them.
    """
    folders = [path if path.is_dir() else path.parent for path in given if path.is_absolute()]
    above = Path(os.path.commonpath(folders)) if folders else Path()
    return [str(path.relative_to(above)) if path.is_absolute() else str(path) for path in found]


def _with_gaps(features: NDArray[np.float32], samples: Sequence[Sample], store: Store) -> NDArray[np.float32]:
    """Put a row of NaN in the place of each image that could not be read."""
    for bad in store.skipped:
        _log.warning("left out, cannot be read: %s", bad)
    rows = {name: row for row, name in enumerate(store.ids)}
    whole = np.full((len(samples), features.shape[1]), np.nan, np.float32)
    for place, sample in enumerate(samples):
        if sample.id in rows:
            whole[place] = features[rows[sample.id]]
    return whole


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
