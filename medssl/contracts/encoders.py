"""The contract of an encoder: a network that turns images into features, and the facts that its use depends on.

N images, C channels, H x W pixels, F features, T tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Gt, Le

from medssl.contracts.options import Positive, PositiveInt
from medssl.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "HALF",
    "IMAGENET",
    "Built",
    "EncoderCard",
    "EncoderPlugin",
    "Fit",
    "Interpolation",
    "Pooling",
    "Preprocessing",
    "forbidden_by",
]

Interpolation = Literal["bilinear", "bicubic"]
"""The filter that resizes images; both are antialiased."""
Fit = Literal["crop", "squash"]
"""How an image becomes square: its centre is cut out, or its long side is squeezed to the length of the short one."""
Pooling = Literal["token", "mean", "token+mean"]
"""How tokens become features: the class token, the mean of the patch tokens, or both, one after the other."""
Numbers = tuple[float, float, float]
"""One number for each of the channels red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an encoder expects its images.

    Attributes:
        mean: Mean of each channel of images in [0, 1]; subtracted.
        std: Standard deviation of each channel; above 0. The difference is divided by it.
        interpolation: The filter that resizes images for evaluation. Random views of a training use ``bilinear``.
        crop: Share of the short side that the centre crop shows; 1 shows all of it.
        fit: How an image that is not square becomes square.
    """

    mean: Numbers
    std: tuple[Positive, Positive, Positive]
    interpolation: Interpolation = "bilinear"
    crop: Annotated[float, Gt(0), Le(1)] = 1.0
    fit: Fit = "crop"

    def described(self) -> dict[str, Any]:
        """Return its values for a file; a cut is left out, so hashes from before there was a choice stay valid."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("fit", "crop")}


IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The statistics of ImageNet's training images, which most published encoders use; those of random weights too."""

HALF = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""From [0, 1] to [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """What is known of an encoder before it is built.

    Attributes:
        preprocessing: How it expects images.
        image_size: Side of its images in pixels; ``None``: it takes any, and the recipe decides.
        channels: Channels of its images.
        pooling: The pooling that its authors use; ``None``: it has no tokens, and pools in its own way.
        licence: Licence of its weights; ``None``: not known, or the weights are random.
        forbids: Uses that the licence forbids, in words.
        gate: Address where access to the weights is requested; ``None``: anyone may download them.
        trained_on: Names of datasets that are known to be in its training data; ``None``: nothing is known.
    """

    preprocessing: Preprocessing = IMAGENET
    image_size: PositiveInt | None = None
    channels: PositiveInt = 3
    pooling: Pooling | None = None
    licence: str | None = None
    forbids: tuple[str, ...] = ()
    gate: str | None = None
    trained_on: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """A network, and what a result and an encoder file say about it.

    Attributes:
        network: The module; its state dict is saved.
        name: Name of the architecture, for messages and tables.
        rebuild: The options that build the same network with random weights.
        origin: ``source`` and ``sha256`` of its initial weights; empty for random weights.
    """

    network: nn.Module
    name: str
    rebuild: Mapping[str, Any]
    origin: Mapping[str, str] = field(default_factory=dict)


class EncoderPlugin(ABC):
    """A source of encoders: builds a network and knows its card.

    The core resizes and normalises images as the card says, trains and evaluates the network, and writes its file.
    A network takes ``(N, C, H, W)`` floating point, mostly with three channels. Random weights are drawn from torch's
    global generator, which the core seeds before it calls :meth:`build`.

    Attributes:
        Config: Its options: a subclass of this one, so that the facts of the card can be overridden.
        argument: Name of the option that takes the text after the colon in ``--encoder PLUGIN:TEXT``; empty: none.

    Args:
        config: The options.
        facts: Entry of the catalogue for the encoder's name: ``licence``, ``gate`` and others; may be empty.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of every encoder; ``None`` stands for what the encoder's card says.

        Attributes:
            pooling: How tokens become features: ``token``, ``mean`` or ``token+mean``.
            mean: Mean of each channel of images in [0, 1].
            std: Standard deviation of each channel.
            interpolation: Filter that resizes images for evaluation.
            crop: Share of the short side that the centre crop shows.
            fit: How an image that is not square becomes square: ``crop`` or ``squash``.
            adapter: The ``adapter.safetensors`` of an earlier run with ``train.lora_rank``; the core adds it to the
                given weights.
        """

        pooling: Pooling | None = None
        mean: Numbers | None = None
        std: tuple[Positive, Positive, Positive] | None = None
        interpolation: Interpolation | None = None
        crop: Annotated[float, Gt(0), Le(1)] | None = None
        fit: Fit | None = None
        adapter: Path | None = None

    argument: ClassVar[str] = ""

    def __init__(self, config: Any, facts: Mapping[str, Any]) -> None:
        self.config = config
        self.facts = facts

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Create it from options, without an entry of the catalogue."""
        return cls(cls.Config(**options), {})

    @property
    def weights(self) -> Path | str | None:
        """The initial weights: a file, a name of published weights, or ``None`` for random ones."""
        return None

    @abstractmethod
    def read_card(self) -> EncoderCard:
        """Return what the encoder's own files say about it; :attr:`card` applies the catalogue and the options.

        Raises:
            MedsslError: These files are missing or cannot be read.
        """

    @abstractmethod
    def build(self, image_size: int, channels: int = 3) -> Built:
        """Build the network and load its weights.

        Args:
            image_size: Side of full-size images in pixels.
            channels: C, the channels of its images. If it is not 3, weights are adapted, or an error is raised.

        Raises:
            OptionError: The options do not fit, or the network does not take images of this size.
            CheckpointError: The weights are missing, damaged, or of another network.
        """

    def features(self, network: nn.Module, images: Tensor) -> Tensor:
        """Encode ``(N, 3, H, W)`` into ``(N, F)``."""
        found: Tensor = network(images)
        return found

    def dense(self, network: nn.Module, images: Tensor, width: int) -> Tensor:
        """Encode ``(N, 3, H, W)`` into feature maps ``(N, F, h, w)``, the last ones before pooling.

        Args:
            network: The network.
            images: The images.
            width: F, the width of the pooled features.

        Raises:
            OptionError: The network has no such map.
        """
        raise OptionError(
            f"the encoder '{type(self).__name__.lower()}' gives no map of its features. Use another --encoder for this "
            "method, for instance a ResNet."
        )

    def blocks(self, network: nn.Module) -> Sequence[str]:
        """Return the names of the network's blocks in its ``named_modules()``, from the input to the output.

        Layer-wise learning rates, the training of the last blocks, and adapters go by them.
        """
        return ()

    def convert(self, target: Path) -> str:
        """Load weights that only a program can read, running that program, and write them to a safetensors file.

        Only ``medssl encoder convert`` calls it, after the user has agreed to :meth:`runs`.

        Returns:
            What was written, in words.

        Raises:
            OptionError: There is nothing to convert.
        """
        raise OptionError("the weights of this encoder need no conversion. Use it directly, with --encoder.")

    def runs(self) -> str:
        """Say in one sentence what :meth:`convert` downloads and runs; empty: nothing needs a conversion."""
        return ""

    @property
    def card(self) -> EncoderCard:
        """The card: what the files say, then the catalogue's entry, then the options.

        Raises:
            MedsslError: See :meth:`read_card`.
            BreachError: The card or the weights are not what this contract demands.
        """
        from medssl.contracts.crossing.encoders import card_problems  # noqa: PLC0415  (torch, which `medssl list` does not need)
        from medssl.contracts.crossing.values import require_no_problems  # noqa: PLC0415  (as above)

        read = self.read_card()
        require_no_problems(self, "read_card()", card_problems(read, self.weights))
        card = replace(read, **self._catalogued())
        config, before = self.config, card.preprocessing
        changed = {
            name: value
            for name in ("mean", "std", "interpolation", "crop", "fit")
            if (value := getattr(config, name)) is not None
        }
        return replace(card, preprocessing=replace(before, **changed), pooling=config.pooling or card.pooling)

    def _catalogued(self) -> dict[str, Any]:
        given = {name: self.facts[name] for name in ("licence", "gate", "forbids", "trained_on") if name in self.facts}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def forbidden_by(licence: str | None) -> tuple[str, ...]:
    """Return what a licence's name says it forbids: ``cc-by-nc-nd-4.0`` forbids commercial use and derivatives."""
    words = (licence or "").lower().replace("_", "-").replace(" ", "-").split("-")
    found = []
    if "nc" in words or "noncommercial" in words or "non" in words:
        found.append("commercial use")
    if "nd" in words:
        found.append("derivatives")
    return tuple(found)
