"""What the name of a network stands for: `--network` and `spikejax.load` ask here before they read anything."""

from __future__ import annotations

import os

from spikejax.config.named_networks import DEMO, hub_name, released_name
from spikejax.io.paths import AnyPath
from spikejax.packaged import NETWORK_FILE, packaged_file


def resolve_network(name: AnyPath, *, accept_license: bool = False) -> str:
    """The path of a network, which is fetched first if it is named and not here.

    Args:
        name: a path, which stands for itself, also where something here is called like a name; demo, the network that
            comes with the package; hf://USER/NAME[@REVISION][/FILE] of the Hugging Face Hub; vrt:001 to vrt:009, those
            that the authors of VRT have published.
        accept_license: whether the licence of published weights that have to be downloaded is accepted.

    Raises:
        InputError: there is no such network, it cannot be fetched, or its licence has not been accepted.
    """
    text = os.fspath(name)
    if os.path.lexists(text):
        return text
    if text == DEMO:
        return str(packaged_file(NETWORK_FILE))
    if (in_hub := hub_name(text)) is not None:
        from spikejax.hub.hugging_face import fetch  # of an extra

        return str(fetch(in_hub))
    if (released := released_name(text)) is not None:
        from spikejax.hub.released import fetch_released  # it converts, which takes JAX

        return str(fetch_released(released, accept_license=accept_license))
    return text
