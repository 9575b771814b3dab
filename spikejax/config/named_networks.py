"""Networks that are named by something else than a path: demo, hf://USER/NAME, vrt:006.

What the names stand for is found by `spikejax.hub`; reading a command line or a configuration takes no more than this.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from spikejax.errors import InputError
from spikejax.io.paths import HUB_SCHEME, AnyPath, scheme_of

# The one that comes with the package.
DEMO = "demo"
RELEASED = "vrt:"
_EXPECTED = f"{HUB_SCHEME}://USER/NAME, {HUB_SCHEME}://USER/NAME@REVISION or {HUB_SCHEME}://USER/NAME/FILE"
_HUB_NAME = re.compile(
    rf"{HUB_SCHEME}://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@\s]+))?(?:/(?P<file>[^@\s]+))?", re.ASCII
)


@dataclass(frozen=True)
class HubName:
    """A network in a repository of the Hugging Face Hub.

    Attributes:
        repository: USER/NAME.
        revision: a branch, a tag or a commit; None = the main branch.
        file: in the repository; None = the one that `spikejax export` writes.
    """

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB_SCHEME}://{self.repository}{revision}" + (f"/{self.file}" if self.file else "")


def hub_name(text: str) -> HubName | None:
    """The network of the hub that a text names; None for what does not begin with hf://.

    Raises:
        InputError: it begins so, and is no such name.
    """
    if scheme_of(text) != HUB_SCHEME:
        return None
    match = _HUB_NAME.fullmatch(text)
    parts = (match["file"] or "").split("/") if match else []
    if match is None or ".." in parts or "" in parts[1:]:
        raise InputError(f"expected {_EXPECTED}, found {text}")
    # A branch may have slashes, which the web writes as %2F.
    return HubName(match["repository"], unquote(match["revision"]) if match["revision"] else None, match["file"])


def released_name(text: str) -> str | None:
    """The number of the published network that a text names, such as "006" for vrt:006; None for anything else.

    Raises:
        InputError: it begins so, and there is no such network.
    """
    if not text.startswith(RELEASED):
        return None
    from spikejax.config.networks import PUBLISHED  # it brings configurations, which no other name needs

    name = text.removeprefix(RELEASED)
    if name not in PUBLISHED:
        raise InputError(f"expected {RELEASED}NAME with one of {', '.join(PUBLISHED)}, found {text}")
    return name


def is_network_name(path: AnyPath) -> bool:
    """Whether a path is rather the name of a network, unless something of that name is there."""
    text = os.fspath(path)
    return not os.path.lexists(text) and (text == DEMO or released_name(text) is not None or hub_name(text) is not None)
