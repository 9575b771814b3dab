"""The page of all keys in the documentation, made from their table: python -m spikejax.config.keys_page > FILE.md.

A test compares docs/configuration.md with it.
"""

from collections.abc import Iterator
from itertools import groupby

from spikejax.config import defaults
from spikejax.config.files import OVERRIDE_PREFIX
from spikejax.config.keys import KEYS, Key, leaves
from spikejax.config.relations import RELATIONS

_INTRODUCTION = f"""\
# All keys of a configuration

A configuration says what a run is. It is a Python file with a function `get_config()`, which takes the defaults and
changes what it needs:

```python
from spikejax.config import defaults


def get_config():
    config = defaults.get_config()
    config.data.root = "/data/gopro"
    config.training.steps = 100_000
    return config
```

`--config` takes such a file (`path/to/mine.py`), one of several that a file holds (`path/to/mine.py:NAME`, which calls
`get_config(NAME)`), or the bare name of one that comes with the package: `quickstart`, `vrt:006`, `spike:baseline`. A
file may import its neighbours (`from . import neighbour`). On the command line, `{OVERRIDE_PREFIX}KEY=VALUE` or
`{OVERRIDE_PREFIX}KEY VALUE` changes a value after the file was read, and the last change of a key counts:
`{OVERRIDE_PREFIX}training.steps=200`. What the key may be decides how VALUE is read:

- A number is written as in Python: `{OVERRIDE_PREFIX}mesh.space -1`, `{OVERRIDE_PREFIX}optimizer.clip_norm=0.5`.
- What is True or False takes these words, or true, t, 1, false, f, 0; `{OVERRIDE_PREFIX}data.flips` alone is True and
  `--noconfig.data.flips` is False.
- A text is taken as it is, without quotes; spaces and commas belong to it: `{OVERRIDE_PREFIX}data.root="/data/my set"`.
- A tuple is written as in Python. Its parentheses may be left out, and so may the quotes of texts:
  `{OVERRIDE_PREFIX}data.noise_sigma=0.5,25`, `{OVERRIDE_PREFIX}validation.metrics psnr,ssim`.

`None` is none where there is such a value: the empty text, the empty tuple, or `none`.

The whole configuration is checked against this page before anything is read, compiled or written. A key that is not
here does not exist. Where a list of names ends in `FILE.py:NAME`, an entry of your own code may stand in the place of
one of them (see `spikejax/extensions.py`). A configuration that comes with somebody's network is not allowed to name
such code unless `--trust-code` says so; keys that an older run did not have yet take their defaults.

This page is made by `python -m spikejax.config.keys_page`; what it says of a key stands in `spikejax/config/keys.py`,
its default in `spikejax/config/defaults.py`, and how keys depend on each other in `spikejax/config/relations.py`.
"""

_SECTIONS = {
    "": "The run",
    "model": "The network",
    "model.vrt": "VRT",
    "model.spike": "The spike branch",
    "data": "The data",
    "data.scenes": "The embedded data set",
    "optimizer": "The optimizer",
    "loss": "The loss",
    "training": "Training",
    "validation": "Validation",
    "mesh": "Devices",
    "restore": "Restoring",
}
_NOTES = {
    "model.vrt": "Tuples have one entry per stage. Stages 1 to 7 work at 1, 1/2, 1/4, 1/8, 1/4, 1/2 and 1 of the "
    "resolution; all further entries are groups of stage 8.",
    "mesh": "Devices along each axis of the mesh.",
    "restore": "What `python -m spikejax.restore` does with the network unless told otherwise.",
}


def page() -> str:
    """The page, as Markdown."""
    return "\n".join([_INTRODUCTION, *_tables()])


def _tables() -> Iterator[str]:
    values = dict(leaves(defaults.get_config()))
    for section, keys in groupby(KEYS, key=_section):
        yield f"## {_SECTIONS[section]}{f' (`{section}`)' if section else ''}\n"
        if section in _NOTES:
            yield f"{_NOTES[section]}\n"
        yield "| key | default | what it is | values |"
        yield "| --- | --- | --- | --- |"
        names = list(keys)
        yield from (_row(name, KEYS[name], values[name]) for name in names)
        yield ""
        relations = [relation for relation in RELATIONS if relation.keys[0] in names]
        if relations:
            yield "What has to fit together:\n"
            for relation in relations:
                first, *others = (f"`{key}`" for key in relation.keys)
                beside = f" (with {', '.join(others)})" if others else ""
                yield f"- {first}{beside}: {relation.rule}"
            yield ""


def _row(name: str, key: Key, default: object) -> str:
    meaning = f"{key.meaning} [{key.unit}]" if key.unit else key.meaning
    shown = f"`{default!r}`" if default != "" else "empty"
    return (
        "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", shown, meaning, key.rule.expected)) + " |"
    )


def _section(key: str) -> str:
    return key.rpartition(".")[0]


if __name__ == "__main__":
    print(page(), end="")
