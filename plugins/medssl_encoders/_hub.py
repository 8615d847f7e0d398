"""Files of the Hugging Face Hub: from its cache, else by download, else an error that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm

from medssl.errors import CheckpointError, MedsslError, OptionError
from medssl.tools import read_json as read_json_file
from medssl_encoders import _building

__all__ = ["FILES", "fetch", "fetch_timm", "read_json", "understood"]

FILES = ("model.safetensors", "pytorch_model.bin")  # timm's order
_PATIENCE = 5.0  # seconds to wait for an answer of the hub; its own client retries for half a minute


def fetch_timm(backbone: str) -> tuple[Path, str]:
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
    configuration = _building.require_architecture(backbone)
    if not configuration.hf_hub_id:
        url = configuration.url
        advice = f"Download {url} and give it with --init FILE" if url else "Choose another --backbone"
        raise OptionError(
            f"the backbone '{backbone}' has no weights on the Hugging Face Hub. timm lists none there. {advice}."
        )
    name = ".".join(word for word in (configuration.architecture, configuration.tag) if word)
    repository, _, revision = configuration.hf_hub_id.partition("@")
    files = (configuration.hf_hub_filename,) if configuration.hf_hub_filename else FILES
    also = f" They are also at {configuration.url}." if configuration.url else ""
    path = fetch(repository, files, revision or None, what=f"the weights {name}", also=also)
    return path, f"{name}, {repository} on the Hugging Face hub"


def fetch(
    repository: str,
    files: Sequence[str] = FILES,
    revision: str | None = None,
    *,
    what: str,
    also: str = "",
    gate: str | None = None,
) -> Path:
    """Return the first of some files that a repository has: from the hub's cache, else downloaded.

    Args:
        repository: ``owner/name``.
        files: Names of files, the preferred first.
        revision: A branch, a tag or a commit; ``None``: the main branch.
        what: What the file is, for messages: ``the weights NAME``.
        also: A further sentence for messages.
        gate: Where access is requested; ``None``: the page of the repository.

    Raises:
        CheckpointError: None of them is in the cache, and none can be downloaded. The message gives the cause.
    """
    for file in files:
        if (path := _download(repository, file, revision, here_only=True)) is not None:
            return path
    try:
        _require_hub()
        for file in files:
            if (path := _download(repository, file, revision)) is not None:
                return path
    except Exception as error:  # the hub's client may raise any error of its transport
        raise _missing(repository, what, files[0], _cause(error, repository, gate), also) from error
    raise _missing(repository, what, files[0], f"It contains none of {', '.join(files)}.", also)


def read_json(repository: str, file: str, revision: str | None = None, gate: str | None = None) -> dict[str, Any]:
    """Return the content of a JSON file of a repository.

    Raises:
        CheckpointError: It cannot be fetched, or is not a JSON object.
    """
    path = fetch(repository, (file,), revision, what=f"the file {file}", gate=gate)
    try:
        values = read_json_file(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the file {file} of {repository} cannot be read. {error}. The hub sent something else. Delete "
            f"{path} and try again."
        ) from error
    if not isinstance(values, Mapping):
        raise CheckpointError(f"the file {file} of {repository} holds no settings. Delete {path} and try again.")
    return dict(values)


@contextlib.contextmanager
def understood(repository: str) -> Iterator[None]:
    """Turn what the wrong settings of a repository cause into an error that names it.

    Raises:
        CheckpointError: Something was raised that is no error of medssl.
    """
    try:
        yield
    except MedsslError:
        raise
    except Exception as error:  # a value of another type can fail anywhere, also inside the library of the network
        raise CheckpointError(
            f"the settings of {repository} cannot be used ({type(error).__name__}: {error!s:.200}). Its files are "
            "damaged, or describe another kind of model. Choose another repository, or give the settings as options."
        ) from error


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
    from huggingface_hub.errors import (  # noqa: PLC0415
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        found: Any = hf_hub_download(
            repository,
            file,
            revision=revision,
            local_files_only=here_only,
            etag_timeout=_PATIENCE,
            library_name="timm",
            library_version=timm.__version__,
        )
    except LocalEntryNotFoundError:
        if here_only:
            return None
        raise
    except EntryNotFoundError:
        return None
    except HFValidationError as error:
        raise OptionError(
            f"'{repository}' is not the name of a repository on the Hugging Face Hub. It has the form owner/name. For "
            "instance: --encoder hub:timm/resnet18.a1_in1k."
        ) from error
    return Path(found)


def _cause(error: Exception, repository: str, gate: str | None) -> str:
    """Describe in one or two sentences why the hub gave no file."""
    from huggingface_hub import get_token  # noqa: PLC0415
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: PLC0415

    page = gate or f"https://huggingface.co/{repository}"
    chain = _chain(error)
    statuses = [s for e in chain if (s := getattr(getattr(e, "response", None), "status_code", None)) is not None]
    status = statuses[0] if statuses else None
    if any(isinstance(each, GatedRepoError) for each in chain) or status == 403:
        if get_token():
            return f"Your access token has no access to it. Request access at {page} with the account of the token."
        return (
            f"Its authors grant access on request. Request it at {page}, then log in with `hf auth login` or set "
            "HF_TOKEN."
        )
    if status == 401 and get_token():
        return "The hub refused your access token. Log in again with `hf auth login`, or set HF_TOKEN to a valid one."
    if any(isinstance(each, RevisionNotFoundError) for each in chain):
        return "It does not have this revision."
    if any(isinstance(each, RepositoryNotFoundError) for each in chain) or status in (401, 404):
        return "The hub has no such repository, or it is private and you are not logged in. Check its name."
    if status == 429:
        return "The hub has received too many requests from you. Wait some minutes and try again."
    if status is not None and status >= 500:
        return f"The hub reports an error of its own ({status}). Try again later."
    if any("complete message body" in str(each) or "onsistency check" in str(each) for each in chain):
        return "The download ended before the file was complete. Try again."
    if any("timeout" in type(each).__name__.lower() for each in chain):
        return "The hub did not answer in time. Try again later."
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") + "."


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _missing(repository: str, what: str, file: str, cause: str, also: str) -> CheckpointError:
    return CheckpointError(
        f"could not download {what} from {repository} on the Hugging Face Hub. {cause}{also} Without a network, "
        f"download {file} elsewhere and give it with --init FILE."
    )
