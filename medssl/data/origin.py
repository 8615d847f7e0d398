"""The state of a dataset's folder, to compare it with a result that was made from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medssl.catalog import Catalog
from medssl.data.listing import samples_key
from medssl.data.loading import list_images, open_dataset
from medssl.data.store.building import is_of
from medssl.data.store.contents import content_key
from medssl.data.store.store import default_cache
from medssl.recipe import DataRecipe
from medssl.results.sections import RunData

__all__ = ["DataOrigin"]


@dataclass(frozen=True)
class DataOrigin:
    """The current state of a dataset's folder, to compare it with a result.

    Attributes:
        folder: The folder.
        listed: Checksum of the listing.
        content: Checksum of the files' contents; ``None``: the dataset gives no files.
    """

    folder: str
    listed: str
    content: str | None

    @classmethod
    def of(cls, recipe: DataRecipe, catalog: Catalog, data_dir: Path | None) -> DataOrigin:
        """Read the current state of a recipe's dataset.

        Raises:
            DataError: The images cannot be listed.
        """
        dataset = open_dataset(recipe.dataset, catalog, data_dir, recipe.readers)
        samples = list_images(recipe, dataset).samples
        return cls(str(dataset.root), samples_key(samples), content_key(dataset, samples, default_cache()))

    def change_since(self, made_from: RunData, folder: str | None) -> str | None:
        """Describe what has changed since a result was made; ``None`` if no change is found.

        Args:
            made_from: The ``data`` section of a result.
            folder: The folder of the images at that time; ``None``: not known.
        """
        if folder is not None and folder != self.folder:
            return f"They were in {folder}, not in {self.folder}."
        if made_from.samples_sha256 not in (None, self.listed):  # earlier versions did not save it
            return (
                f"Since then, images in {self.folder} were added, removed or renamed, or their labels, groups or parts "
                "were changed."
            )
        if self.content is not None and not is_of(str(made_from.store.get("key", "")), self.content):
            return f"Since then, files in {self.folder} were changed."
        return None
