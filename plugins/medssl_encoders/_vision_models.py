"""Vision models of the package transformers: builds them, and finds their tensors and tokens."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medssl.errors import OptionError, PluginError

__all__ = ["create", "interpolates", "of_vision", "package", "tokens_before"]


def create(settings: Mapping[str, Any], repository: str) -> nn.Module:
    library = package()
    own = dict(settings)
    try:
        configuration = library.AutoConfig.for_model(own.pop("model_type"), **own)
        model: nn.Module = library.AutoModel.from_config(configuration)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        cause = str(error).splitlines()[0].rstrip(".")
        raise OptionError(
            f"the installed package transformers cannot build {repository}. {cause}. A repository with its own code "
            "is converted once with `medssl encoder convert`; else install a later version of transformers."
        ) from error
    return model.train()


def package() -> Any:
    try:
        import transformers  # noqa: PLC0415  (an extra, and seconds to import)
    except ImportError as error:
        raise PluginError(
            "the encoder needs the package transformers, which is not installed. Run pip install "
            '"medssl[transformers]".'
        ) from error
    return transformers


def of_vision(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Remove the tensors that a task head or a part of a model adds, and the positions that a model counts itself."""
    own = network.state_dict()
    prefixes = ("", *(f"{name}." for name in ("dinov2", "vit", "model", "siglip_vision_model", "base_model")))
    for prefix in prefixes:
        found = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        if own.keys() <= found.keys():
            return {name: found[name] for name in own}
    return {name: value for name, value in tensors.items() if not name.endswith("position_ids")}


def tokens_before(model: Any) -> int:
    """Number of tokens before the patch tokens."""
    registers = int(getattr(model.config, "num_register_tokens", 0) or 0)
    return 0 if "siglip" in str(model.config.model_type) else 1 + registers


def interpolates(model: Any) -> bool:
    return "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
