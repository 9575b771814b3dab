"""The names of the networks that weights are converted for; what they are is known by `convertible_networks`.

Apart from them, since a command line that lists the names must not wait for JAX.
"""

from spikejax.config.networks import PUBLISHED, SPIKE_VARIANTS

SPIKE_PREFIX = "spike:"
SPYNET_NAME = "spynet"
# These two say again what tables elsewhere say; tests compare them.
PERCEPTUAL_NAMES = ("vgg16", "vgg19", "lpips_alex", "lpips_vgg")
_WITHOUT_TORCH_FORM = {"concat"}  # fusions


def restorer_names() -> tuple[str, ...]:
    """The published VRTs and the variants of the spike design whose PyTorch form is known."""
    variants = (name for name, fields in SPIKE_VARIANTS.items() if fields.get("fusion") not in _WITHOUT_TORCH_FORM)
    return (*PUBLISHED, *(SPIKE_PREFIX + name for name in variants))


def network_names() -> tuple[str, ...]:
    """All of them: networks that restore, their parts, and perceptual networks."""
    return (*restorer_names(), SPYNET_NAME, *PERCEPTUAL_NAMES)
