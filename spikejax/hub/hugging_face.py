"""Networks on the Hugging Face Hub: fetched into its own cache, and folders of them sent there.

HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean to huggingface_hub, the extra `hub`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spikejax.config.named_networks import HubName
from spikejax.errors import InputError, one_line
from spikejax.extras import require
from spikejax.io.weights import MODEL_FILE, SUFFIX
from spikejax.progress import say
from spikejax.version import __version__

_LISTED, _LONGEST = 8, 200


def fetch(name: HubName) -> Path:
    """The file of a network, in the cache of the hub's library.

    Raises:
        InputError: there is no such file, the hub does not answer, or the extra is not installed.
    """
    require("hub", str(name))
    with _in_one_line(name):
        path = _download(name, name.file) if name.file else _download_weights(name)
    # The cache has a folder for each commit.
    say(f"{name}: {path.stat().st_size / 1e6:,.1f} MB, commit {_commit_of(path)}")
    return path


def push(folder: Path, name: HubName, *, files: Sequence[str]) -> str:
    """Sends files of a folder to a repository, which is made if there is none; returns where they are seen.

    Args:
        folder: that has them.
        files: of it that are sent.
        name: of the repository, without a file; its revision is a branch, which is made if there is none.

    Raises:
        InputError: the hub does not take them, or the extra is not installed.
    """
    require("hub", "--push")
    if name.file is not None:
        raise InputError(f"--push: expected a repository, hf://USER/NAME or hf://USER/NAME@BRANCH, found {name}")
    from huggingface_hub import HfApi

    api = HfApi(library_name="spikejax", library_version=__version__)
    with _in_one_line(name):
        api.create_repo(name.repository, exist_ok=True)
        if name.revision is not None:
            api.create_branch(name.repository, branch=name.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name.repository,
            folder_path=folder,
            revision=name.revision,
            allow_patterns=list(files),
            commit_message=f"Add a network of spikejax {__version__}",
        )
    return str(commit.commit_url)


def _download(name: HubName, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(
        name.repository,
        file,
        revision=name.revision,
        library_name="spikejax",
        library_version=__version__,
    )
    return Path(path)


def _download_weights(name: HubName) -> Path:
    """The file of weights in a repository: `MODEL_FILE`, or the only one of its kind."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        return _download(name, MODEL_FILE)  # asked for first, since it may be in the cache where there is no network
    except RemoteEntryNotFoundError:
        files = HfApi().list_repo_files(name.repository, revision=name.revision)
    weights = [file for file in files if file.endswith(SUFFIX)]
    if len(weights) == 1:
        return _download(name, weights[0])
    shown = ", ".join(map(ascii, files[:_LISTED])) + (f" and {len(files) - _LISTED} more" if files[_LISTED:] else "")
    raise InputError(f"expected {MODEL_FILE} in it, or {name}/FILE for another file, found {shown or 'none'}: {name}")


@contextmanager
def _in_one_line(name: HubName) -> Iterator[None]:
    """What the hub's library, its connections and the disk raise, as an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the library has some sixty classes, its connections others
        raise InputError(f"expected an answer of the Hugging Face Hub, found {_cause(error, name)}: {name}") from error


def _cause(error: Exception, name: HubName) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no repository {name.repository}, or a private one (HF_TOKEN)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no revision {name.revision}"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"no file {name.file}"
    text = one_line(error)
    return f"{type(error).__name__} ({text[:_LONGEST]}{' ...' if len(text) > _LONGEST else ''})"


def _commit_of(path: Path) -> str:
    parts = path.parts
    return parts[parts.index("snapshots") + 1][:12] if "snapshots" in parts[:-1] else "unknown"
