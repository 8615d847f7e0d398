"""Gets the weights that timm provides for a backbone, from the cache of the Hugging Face Hub or by downloading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from medssl.errors import CheckpointError, OptionError

__all__ = ["fetch_pretrained"]

_FILES = ("model.safetensors", "pytorch_model.bin")  # timm's order
_PATIENCE = 5.0  # seconds to wait for an answer of the hub; its own client retries for half a minute


def fetch_pretrained(backbone: str) -> tuple[Path, str]:
    """Find or download the weights that timm provides for a model.

    Weights in the hub's cache are used without asking the hub for a newer version.

    Args:
        backbone: timm's name of the model, with a tag (``resnet50.tv_in1k``) or without, for timm's default weights.

    Returns:
        The file, and its description: ``resnet18.a1_in1k, timm/resnet18.a1_in1k on the Hugging Face hub``.

    Raises:
        OptionError: timm has no weights for this model.
        CheckpointError: The weights are not in the cache and cannot be downloaded.
    """
    configuration = timm.get_pretrained_cfg(backbone)
    if configuration is None or not configuration.hf_hub_id:
        url = configuration.url if configuration is not None else None
        advice = f"Download {url} and give it with --init FILE" if url else "Choose another --backbone"
        raise OptionError(
            f"the backbone '{backbone}' has no weights on the Hugging Face Hub. timm lists none there. {advice}."
        )
    name = ".".join(word for word in (configuration.architecture, configuration.tag) if word)
    repository, _, revision = configuration.hf_hub_id.partition("@")
    what = f"{name}, {configuration.hf_hub_id} on the Hugging Face hub"
    files = (configuration.hf_hub_filename,) if configuration.hf_hub_filename else _FILES
    for file in files:
        if (path := _download(repository, file, revision or None, here_only=True)) is not None:
            return path, what
    try:
        _require_hub()
        for file in files:
            if (path := _download(repository, file, revision or None)) is not None:
                return path, what
    except Exception as error:  # the hub's client may raise any error of its transport
        cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise _missing(name, configuration, cause) from error
    raise _missing(name, configuration, f"It contains none of {', '.join(files)}")


def _require_hub() -> None:
    """Check that the hub answers.

    Raises:
        OSError: It does not answer.
    """
    import requests  # noqa: PLC0415  (takes half a second; only a download needs it)
    from huggingface_hub import constants  # noqa: PLC0415

    if not constants.HF_HUB_OFFLINE:
        try:
            requests.head(constants.ENDPOINT, timeout=_PATIENCE)
        except requests.RequestException as error:
            raise OSError(f"{constants.ENDPOINT} does not answer") from error


def _download(repository: str, file: str, revision: str | None, *, here_only: bool = False) -> Path | None:
    """Return the file in the hub's cache; ``None`` if it is not cached (``here_only``) or not on the hub."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        found: Any = hf_hub_download(
            repository,
            file,
            revision=revision,
            local_files_only=here_only,
            library_name="timm",
            library_version=timm.__version__,
        )
    except LocalEntryNotFoundError:
        if here_only:
            return None
        raise
    except EntryNotFoundError:
        return None
    return Path(found)


def _missing(name: str, configuration: Any, cause: str) -> CheckpointError:
    url = f" They are also at {configuration.url}." if configuration.url else ""
    return CheckpointError(
        f"could not download the weights {name} from {configuration.hf_hub_id} on the Hugging Face Hub. "
        f"{cause}.{url} Check the network, or download the file elsewhere and give it with --init FILE."
    )
