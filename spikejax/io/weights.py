"""Weights outside of training runs: one file or folder that says which network it is for.

    NAME.safetensors          one file (https://github.com/huggingface/safetensors), what is no array in its metadata
    FOLDER/model.safetensors  such a file, in a folder for a hub
    FOLDER/weights.json       or: what is not an array
    FOLDER/params/            and the parameters (orbax)

Parameters keep the names that configurations and messages use, such as "vrt.spynet.levels.0.convolutions.0.kernel".
Readers of this module need neither PyTorch nor TensorFlow.
"""

import difflib
import heapq
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_directory, atomic_write
from spikejax.io.paths import AnyPath, UserPath, as_local_file, local_only, user_path
from spikejax.version import __version__

WEIGHTS_FORMAT = 1
NETWORK_KINDS = ("restorer", "spynet", "vgg16", "vgg19", "lpips_alex", "lpips_vgg")
SUFFIX = ".safetensors"
MODEL_FILE = f"model{SUFFIX}"  # in a folder for a hub
_DESCRIPTION, _PARAMS = "weights.json", "params"
_PROGRAM = "spikejax"
_LOGGER = logging.getLogger(__name__)
_DESCRIBED = ("kind", "model", "statistics", "restore", "training")  # the fields of `Weights` that are no arrays
_REQUIRED = ("kind", "model")  # the others were not known to every version, or need not be
# A folder of such a name would be taken for a file of that kind.
_OTHER_SUFFIXES = {".pth", ".pt", ".ckpt", ".npz", ".npy", ".pkl", ".bin", ".json"}


@dataclass(frozen=True)
class Weights:
    """The parameters of a network, and what is needed to build and feed it.

    Attributes:
        kind: what network it is, one of `NETWORK_KINDS`.
        model: the `model` section of its configuration, as `build_restorer` takes it; None for the other kinds.
        params: nested dict of NumPy arrays as `nnx.merge` takes it; entries of lists have numbers as keys.
        statistics: of the voxels it was trained on ({"mean", "std", "bins", ...}), None if it takes none or they are
            unknown.
        restore: the `restore` section of its configuration ({"tile", "overlap"}): what it sees at once when it
            restores, unless told otherwise; None = nobody has said.
        training: in short, how it was trained and what it scored, for people; None = nobody has said.
    """

    kind: str
    model: dict[str, Any] | None
    params: dict[str, Any]
    statistics: dict[str, Any] | None = None
    restore: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in NETWORK_KINDS:
            raise ValueError(f"expected a kind of weights, {', '.join(NETWORK_KINDS)}, found {self.kind!r}")


def holds_weights(folder: UserPath) -> bool:
    """Whether a folder is one of weights, of ours or for a hub."""
    return (folder / _DESCRIPTION).is_file() or (folder / MODEL_FILE).is_file()


def parameter_name(path: jax.tree_util.KeyPath) -> str:
    """A parameter's dotted name, such as "blocks.0.kernel", from its path in the nested dict."""
    return ".".join(str(entry.key) for entry in path)


def flatten_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted name: leaf} of a nested dict of parameters."""
    return {parameter_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(dict(params))}


def nest_params(named: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dict of {dotted name: leaf}; numbers become the integer keys of lists."""
    nested: dict[Any, Any] = {}
    for name, leaf in named.items():
        *parents, last = (int(part) if part.isdecimal() else part for part in name.split("."))
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return nested


Kind = Literal["unexpected", "missing", "shape", "dtype"]


@dataclass(frozen=True)
class Problem:
    """A parameter that is not as a network has it.

    Attributes:
        name: dotted.
        kind: what is wrong with it; "dtype" is a whole number for a real one or the other way round, since real numbers
            of all widths are converted.
        expected: its shape or dtype in the network.
        found: its own.
        nearest: of an unexpected or a missing one, the name of the other kind and of this shape that is most like it;
            "" if none is.
    """

    name: str
    kind: Kind
    expected: str
    found: str
    nearest: str = ""

    def __str__(self) -> str:
        hint = f" (nearest: {self.nearest})" if self.nearest else ""
        return f"{self.name}: expected {self.expected}, found {self.found}{hint}"


class MismatchError(InputError):
    """Parameters that do not fit a network; `details` lists the first of each kind.

    Attributes:
        problems: all of them.
    """

    def __init__(self, expected: str, problems: Iterable[Problem], path: Any = None):
        """Counts the problems.

        Args:
            expected: what the parameters should be, such as "the parameters of vgg16".
            problems: what is wrong.
            path: where they come from, None if the caller says.
        """
        self.problems = tuple(problems)
        counts = Counter(_KIND_NAMES.get(problem.kind, problem.kind) for problem in self.problems)
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        super().__init__(f"expected {expected}, found {listed}" + (f": {path}" if path is not None else ""))
        self.every_detail = tuple(map(str, self.problems))
        self.details = tuple(map(str, _first_of_each_kind(self.problems)))
        for detail in self.details:
            self.add_note(f"  {detail}")
        if hidden := len(self.problems) - len(self.details):
            self.add_note(f"  and {hidden} more")


def _first_of_each_kind(problems: Sequence[Problem]) -> list[Problem]:
    """As many as are listed, in their order: of each kind the first, and as many of all kinds as there is room for."""
    remaining = Counter(problem.kind for problem in problems)
    shares: Counter[str] = Counter()
    room = min(_LISTED_PROBLEMS, len(problems))
    while room:
        for kind in [kind for kind in remaining if shares[kind] < remaining[kind]][:room]:
            shares[kind] += 1
            room -= 1
    listed = []
    for problem in problems:
        if shares[problem.kind]:
            shares[problem.kind] -= 1
            listed.append(problem)
    return listed


def compare_params(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Problem]:
    """What keeps parameters from being those of a network, if anything.

    Args:
        given: {dotted name: what has a shape and a dtype}.
        wanted: likewise, of the network.
    """
    unexpected = {name: tuple(leaf.shape) for name, leaf in given.items() if name not in wanted}
    missing = {name: tuple(leaf.shape) for name, leaf in wanted.items() if name not in given}
    near_unexpected, near_missing = _nearest_names(unexpected, missing), _nearest_names(missing, unexpected)
    both = [(name, given[name], leaf) for name, leaf in wanted.items() if name in given]
    return [
        *(Problem(name, "unexpected", "none", str(shape), near_unexpected[name]) for name, shape in unexpected.items()),
        *(Problem(name, "missing", str(shape), "none", near_missing[name]) for name, shape in missing.items()),
        *(
            Problem(name, "shape", str(tuple(leaf.shape)), str(tuple(own.shape)))
            for name, own, leaf in both
            if tuple(own.shape) != tuple(leaf.shape)
        ),
        *(
            Problem(name, "dtype", str(np.dtype(leaf.dtype)), str(np.dtype(own.dtype)))
            for name, own, leaf in both
            if _is_real(own.dtype) != _is_real(leaf.dtype)
        ),
    ]


_LISTED_PROBLEMS = 18  # with the line before them and the one behind them 20
_KIND_NAMES = {"shape": "of another shape", "dtype": "of another dtype"}
_SHORTLIST = 10  # names that are compared letter by letter


def _is_real(dtype: Any) -> bool:
    return bool(jax.dtypes.issubdtype(dtype, np.floating))


def _nearest_names(names: Mapping[str, tuple], others: Mapping[str, tuple]) -> dict[str, str]:
    """For each name the one among `others` of its shape that is most like it, "" if none is."""
    parts_by_shape: dict[tuple, dict[str, set[str]]] = {}
    for other, shape in others.items():
        parts_by_shape.setdefault(shape, {})[other] = set(other.split("."))
    nearest = {}
    for name, shape in names.items():
        parts, candidates = set(name.split(".")), parts_by_shape.get(shape, {})
        # Comparing letters takes long; shared parts of the names leave a few.
        likely = heapq.nlargest(_SHORTLIST, candidates, key=lambda other: len(parts & candidates[other]))
        nearest[name] = next(iter(difflib.get_close_matches(name, likely, n=1)), "")
    return nearest


def write_weights(path: str | Path, weights: Weights, *, replace: bool = False) -> None:
    """Writes weights to a `.safetensors` file or, under any other name, to a folder; whole or not at all.

    Args:
        path: missing parents are made.
        weights: what to write.
        replace: whether something that exists there already gives way.

    Raises:
        InputError: something is there already, the name is that of another kind of file, or it cannot be written.
    """
    path = local_only(path).absolute()
    try:
        check_target(path, replace=replace)
        if path.suffix == SUFFIX:
            _write_file(path, weights)
        else:
            _write_folder(path, weights, replace=replace)
    except OSError as error:
        raise InputError(f"cannot write weights to {path}: {error.strerror or error}") from error


def check_target(path: Path, *, replace: bool) -> None:
    """Raises InputError if `write_weights` would refuse `path`, to know it before long work."""
    if path.suffix.lower() in _OTHER_SUFFIXES:
        raise InputError(
            f"expected a {SUFFIX} file or a folder to write weights to, found another kind of file: {path}"
        )
    if path.suffix == SUFFIX and path.is_dir():
        raise InputError(f"expected a file to write weights to, found a folder: {path}")
    if path.suffix == SUFFIX and path.exists() and not replace:
        raise InputError(f"expected a new file, found one that exists already: {path}")
    if path.suffix != SUFFIX and path.exists():
        if not path.is_dir():
            raise InputError(f"expected a folder to write weights to, found a file: {path}")
        if any(path.iterdir()) and not replace:
            raise InputError(f"expected a new or empty folder, found one with files in it: {path}")
        if any(path.iterdir()) and not (path / _DESCRIPTION).is_file():
            raise InputError(f"expected a folder of weights to replace, found one of something else: {path}")


def read_weights(path: AnyPath) -> Weights:
    """The weights of a `.safetensors` file or a folder that `write_weights` wrote.

    Raises:
        InputError: there is none, it is damaged, or it is not weights of ours.
    """
    path = user_path(path)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"expected weights, found {error.strerror or error}: {path}") from error
    if is_folder and (path / MODEL_FILE).is_file():
        return _read_file(path / MODEL_FILE)
    if is_folder:
        return _read_folder(path)
    if not exists:
        raise InputError(f"expected weights, a {SUFFIX} file or a folder, found nothing: {path}")
    if path.suffix != SUFFIX:
        raise InputError(
            f"expected weights, a {SUFFIX} file or a folder, found another kind of file (spikejax convert to-jax "
            f"reads those of other programs): {path}"
        )
    return _read_file(path)


def _write_file(path: Path, weights: Weights) -> None:
    from safetensors import SafetensorError  # training and models are to be imported without it
    from safetensors.numpy import save_file

    # The library writes the memory behind an array, whatever its strides.
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in flatten_params(weights.params).items()}
    with atomic_write(path) as temporary:
        temporary.touch()  # says more plainly than the library why a folder cannot be written to
        try:
            save_file(arrays, temporary, metadata={_PROGRAM: json.dumps(describe_weights(weights))})
        except SafetensorError as error:  # a full disk, among others
            raise OSError(None, str(error)) from error


def _read_file(path: UserPath) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        # Not mapped, since what is mapped counts as memory in use.
        with as_local_file(path) as local, safe_open(local, framework="numpy", backend="pread") as file:
            description = (file.metadata() or {}).get(_PROGRAM)
            if description is None:
                raise InputError(
                    f"expected weights that name their network, found arrays alone (spikejax convert to-jax reads "
                    f"those of other programs): {path}"
                )
            fields = read_description(json.loads(description), path)
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
    except (SafetensorError, OSError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"expected a whole {SUFFIX} file, found a damaged one ({error}): {path}") from error
    return Weights(params=nest_params(named), **fields)


def _write_folder(path: Path, weights: Weights, *, replace: bool) -> None:
    from spikejax.io.orbax_params import write_params  # orbax takes seconds, and files do not need it

    with atomic_directory(path, replace=replace) as temporary:
        (temporary / _DESCRIPTION).write_text(json.dumps(describe_weights(weights), indent=1) + "\n")
        write_params(temporary / _PARAMS, jax.tree.map(np.asarray, weights.params))


def _read_folder(path: UserPath) -> Weights:
    description = path / _DESCRIPTION
    if not description.is_file():
        raise InputError(f"expected a folder of weights, found no {_DESCRIPTION}: {path}")
    from spikejax.io.bucket_listing import as_orbax_reads
    from spikejax.io.orbax_params import read_orbax_params

    try:
        fields = read_description(json.loads(description.read_text()), path)
        with as_orbax_reads(path / _PARAMS) as folder:
            params = read_orbax_params(folder)
    except InputError:
        raise
    except (ValueError, OSError, KeyError, RecursionError) as error:
        raise InputError(f"expected a whole folder of weights, found a damaged one ({error}): {path}") from error
    # Orbax turns the numbers of a list's entries into strings.
    return Weights(params=nest_params(flatten_params(params)), **fields)


def describe_weights(weights: Weights) -> dict[str, Any]:
    """What JSON says of weights beside their parameters; `read_description` reads it."""
    described = {name: getattr(weights, name) for name in _DESCRIBED}
    return {"format": WEIGHTS_FORMAT, "version": __version__, **described}


def read_description(description: Any, path: AnyPath) -> dict[str, Any]:
    """The fields of `Weights` but `params` that a description says.

    What is missing has its default, and what nobody knows is said.

    Args:
        description: of `describe_weights`, of whatever version; or anything else.
        path: where it was, for messages.

    Raises:
        InputError: it is none, or of a version that is not known.
    """
    if not isinstance(description, dict):
        found = type(description).__name__
        raise InputError(
            f"expected a description of weights, a dict with {', '.join(_REQUIRED)}, found {found}: {path}"
        )
    source = f"weights of spikejax {str(description.get('version', 'of an unknown version'))[:20]}: {path}"
    if description.get("format", WEIGHTS_FORMAT) != WEIGHTS_FORMAT:
        found = json.dumps(description["format"])[:20]
        raise InputError(f"expected weights of format {WEIGHTS_FORMAT}, found format {found} in {source}")
    for name in _REQUIRED:
        if name not in description:
            raise InputError(f"expected the key {name} of a description of weights, found none in {source}")
    if unknown := description.keys() - {"format", "version", *_DESCRIBED}:
        names = ", ".join(ascii(name)[1:-1] for name in sorted(unknown))
        _LOGGER.warning("left out, not known to this version of spikejax: %s in %s", names, source)
    if description["kind"] not in NETWORK_KINDS:
        found = json.dumps(description["kind"])[:80]
        raise InputError(f"expected weights of {', '.join(NETWORK_KINDS)}, found {found} in {source}")
    for name in ("model", "statistics", "training"):
        section = description.get(name)
        if section is not None and not isinstance(section, dict):
            raise InputError(f"{name}: expected a section, found a {type(section).__name__} in {source}")
    if problem := _tiles_problem(description.get("restore")):
        raise InputError(f"expected weights whose tile and overlap are three numbers each, found {problem}: {path}")
    return {name: description.get(name) for name in _DESCRIBED}


def _tiles_problem(restore: Any) -> str:
    """What is wrong with the tiles of a description, "" if nothing is."""
    if restore is None:
        return ""
    if not isinstance(restore, dict) or restore.keys() != {"tile", "overlap"}:
        return json.dumps(restore)[:200]
    for extent in restore.values():
        whole = isinstance(extent, list) and all(type(side) is int and side >= 0 for side in extent)
        if not whole or len(extent) != 3:
            return json.dumps(restore)[:200]
    return ""
