"""Patterns of parameters' names, as configurations say them."""

import re
from typing import Any

import jax

from spikejax.errors import InputError, did_you_mean
from spikejax.io.weights import parameter_name


def matching(params: Any, pattern: str, *, key: str) -> Any:
    """A tree of bools: which parameters a pattern of the configuration means.

    Args:
        params: tree of parameters or their shapes.
        pattern: regular expression, searched for in dotted names such as "vrt.spynet.blocks.0.kernel"; "" = none.
        key: the configuration's key that holds the pattern, for messages.

    Raises:
        InputError: the pattern is not a regular expression, or matches no parameter.
    """
    if not pattern:
        return jax.tree.map(lambda _: False, params)
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise InputError(f"{key}: expected a regular expression, found {pattern!r}: {error}") from error
    mask = jax.tree_util.tree_map_with_path(lambda path, _: bool(search(parameter_name(path))), params)
    if not any(jax.tree.leaves(mask)):
        names = [parameter_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        entries = dict.fromkeys(entry for name in names for entry in name.split(".") if not entry.isdecimal())
        hint = did_you_mean(pattern, entries)
        parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
        raise InputError(f"{key}: expected a part of some parameter's name ({parts}, ...), found {pattern!r}{hint}")
    return mask
