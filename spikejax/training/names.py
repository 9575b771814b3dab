"""Names of parameters, as configurations and messages say them."""

import jax


def parameter_name(path: jax.tree_util.KeyPath) -> str:
    """Returns a parameter's dotted name, such as "blocks.0.kernel", from its path in the nested dict."""
    return ".".join(str(entry.key) for entry in path)
