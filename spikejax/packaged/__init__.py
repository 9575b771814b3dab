"""The network that comes with the package, and a clip to try it on: files that scripts/make_demo.py writes.

demo.safetensors    weights, bfloat16
demo.md             what they were trained on, and what they score
demo_clip.npz       "blur" and "sharp", uint8 [t, h, w, 3], and "counts" of the spikes [t, h', w', k]

Nothing heavy is imported.
"""

from __future__ import annotations

from pathlib import Path

from spikejax.errors import InputError

NETWORK_FILE, CARD_FILE, CLIP_FILE = "demo.safetensors", "demo.md", "demo_clip.npz"
# Of the weights: what everybody downloads who installs the package.
LARGEST_BYTES = 6_000_000
FOLDER = Path(__file__).parent


def packaged_file(name: str) -> Path:
    """One of the files that come with the package.

    Raises:
        InputError: this version comes without.
    """
    path = FOLDER / name
    if not path.is_file():
        raise InputError(
            f"expected the network that comes with the package, found none in this version (no {name}): train one with "
            "spikejax train --config quickstart --workdir runs/quickstart"
        )
    return path
