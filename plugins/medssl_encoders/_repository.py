"""What the encoders of repositories on the Hugging Face Hub have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from medssl.contracts import EncoderCard, EncoderPlugin
from medssl_encoders import _cards
from medssl_encoders._hub import fetch, read_json, understood
from medssl_encoders._weights import Weights, open_weights

__all__ = ["FromRepository"]


class FromRepository(EncoderPlugin):
    """An encoder with the weights of a repository, with those of a file for the same network, or with random ones."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderPlugin.Config):
        """Options of all of them.

        Attributes:
            repository: ``owner/name`` on the hub.
            revision: A branch, a tag or a commit; ``None``: the main branch.
            weights: ``pretrained``: those of the repository; a file with the same weights; ``None``: random.
        """

        repository: str
        revision: str | None = None
        weights: Literal["pretrained"] | Path | None = "pretrained"

    argument: ClassVar[str] = "repository"
    config: Config

    @property
    def weights(self) -> Path | str | None:
        """The file, the repository, or ``None``."""
        return self.config.repository if self.config.weights == "pretrained" else self.config.weights

    def read_card(self) -> EncoderCard:
        """Return the card of the repository's settings or of the options, corrected by that of a given file."""
        with understood(self.config.repository):
            card = self._describe()
            return _cards.of_file(self.config.weights, card) if isinstance(self.config.weights, Path) else card

    @abstractmethod
    def _describe(self) -> EncoderCard:
        """Return the card of the repository or of the options."""

    def _read_json(self, file: str) -> dict[str, Any]:
        """Return the content of a JSON file of the repository."""
        return read_json(self.config.repository, file, self.config.revision, self.facts.get("gate"))

    def _fetch_weights(self, files: Sequence[str]) -> Path:
        """Find or download the first of these files that the repository has."""
        config = self.config
        return fetch(config.repository, files, config.revision, what="the weights", gate=self.facts.get("gate"))

    def _open_weights(self, files: Sequence[str]) -> Weights | None:
        """Open the given file or the repository's; ``None`` if the weights are random."""
        if self.config.weights is None:
            return None
        if isinstance(self.config.weights, Path):
            return open_weights(self.config.weights, str(self.config.weights))
        return open_weights(self._fetch_weights(files), f"{self.config.repository} on the Hugging Face hub")
