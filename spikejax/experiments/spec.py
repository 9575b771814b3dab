"""What an experiment is, read from the ConfigDict that its file returns.

    base         configuration that all variants begin as, as `--config` of training takes it
    overrides    changes for all of them, "KEY=VALUE" each, as `--config.KEY=VALUE` of training
    seeds        networks trained of each variant; their seeds are the base's `seed` and those that follow it
    variants     NAME: dict(overrides=(...), seeds=N), both optional
    evaluations  NAME: the fields of `Evaluation`, all optional
    metric       what is compared, an entry of `validation.metrics`
    acceptance   dict(variant, reference, margin, evaluation): the variant has to be as good as the reference, but for
                 the margin; optional
    pictures     dict(columns, sequences, evaluation): columns are "input", "sharp" and names of variants; the first
                 four where they are left out

Where `evaluation` is left out it is the first one. A ConfigDict sorts its names unless it is made with sort_keys=False.
Nothing heavy is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

from spikejax.config.files import OVERRIDE_PREFIX, call_file
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.errors import InputError, did_you_mean

# The folder of configs/ that bare names stand for files of.
ROOM = "experiments"
INPUT, SHARP = "input", "sharp"
_MOST_SEEDS = 1000
# Of variants whose pictures the page shows, where the file does not say which.
_VARIANTS_SHOWN = 4

Section = TypeVar("Section")


@dataclass(frozen=True)
class Variant:
    """One way to change the base.

    Attributes:
        overrides: its changes, each as `load_config` takes it.
        seeds: how many networks are trained.
    """

    overrides: tuple[str, ...] = ()
    seeds: int = 1


@dataclass(frozen=True)
class Evaluation:
    """One way to measure a trained network, on the validation split.

    Attributes:
        threshold_factor: threshold of the camera over that of the data set's.
        shot_photons, threshold_variation, dark_rate, dark_variation: noise that the embedded data set is filmed again
            with, see `SensorNoise`.
        data: folder of another data set; "" = the one of training.
        frames: that the network sees at once; 0 = `validation.frames`.
    """

    threshold_factor: float = 1.0
    shot_photons: float = 0.0
    threshold_variation: float = 0.0
    dark_rate: float = 0.0
    dark_variation: float = 0.0
    data: str = ""
    frames: int = 0

    @property
    def noise(self) -> SensorNoise | None:
        """What the embedded data set is filmed again with; None if it is not."""
        noise = SensorNoise(self.shot_photons, self.threshold_variation, self.dark_rate, self.dark_variation)
        return None if noise == SensorNoise() else noise

    def check(self) -> None:
        """Raises InputError unless it can be done."""
        if not 1 <= self.threshold_factor < float("inf"):
            raise InputError(f"threshold_factor: expected a number from 1, found {self.threshold_factor}")
        if self.frames < 0 or self.frames == 1:
            raise InputError(f"frames: expected 0 or a whole number from 2, found {self.frames}")
        if self.data and not Path(self.data).is_dir():
            raise InputError(f"data: expected a folder, found none: {self.data}")
        if self.noise and self.data:
            raise InputError(f"data: expected none with the noise of the simulated camera, found {self.data}")


@dataclass(frozen=True)
class Acceptance:
    """What makes the experiment a success.

    Attributes:
        variant: has to be as good
        reference: as this one,
        margin: but for so much of the metric's unit.
        evaluation: by which both are compared.
    """

    variant: str
    reference: str
    margin: float = 0.0
    evaluation: str = ""


@dataclass(frozen=True)
class Pictures:
    """The pictures of the page.

    Attributes:
        columns: "input", "sharp", or a variant, of whose first network the pictures are; none = the input, the first
            variants and the truth.
        sequences: of how many sequences the middle frame is shown.
        evaluation: of which the pictures are.
    """

    columns: tuple[str, ...] = ()
    sequences: int = 4
    evaluation: str = ""


@dataclass(frozen=True)
class Experiment:
    """An experiment, whose configurations are not yet read.

    Attributes:
        source: its file, for messages and the page's title.
        base: configuration that all variants begin as.
        overrides: changes for all of them.
        variants: by name.
        evaluations: by name, at least one.
        metric: what is compared.
        acceptance: None if there is no such rule.
        pictures: of the page.
    """

    source: str
    base: str
    overrides: tuple[str, ...]
    variants: Mapping[str, Variant]
    evaluations: Mapping[str, Evaluation]
    metric: str = "psnr"
    acceptance: Acceptance | None = None
    pictures: Pictures = field(default_factory=Pictures)

    @property
    def title(self) -> str:
        """What it is called."""
        file, _, name = self.source.rpartition(".py:")
        return f"{Path(file).name}: {name}" if file else Path(self.source).stem


def read_experiment(path: str) -> Experiment:
    """The experiment of a file, or of one of the package's by its bare name; FILE:NAME as for configurations.

    Raises:
        InputError: there is no such file, or an entry is missing, unknown or of the wrong kind.
    """
    config = call_file(path, room=ROOM)
    try:
        return _read(config, path)
    except InputError as error:
        raise InputError(f"{error}: {path}") from error


def _read(config: ConfigDict, path: str) -> Experiment:
    known = ("base", "overrides", "seeds", "variants", "evaluations", "metric", "acceptance", "pictures")
    _check_names(config, known, "")
    base, metric = (_typed(config, name, str, default) for name, default in (("base", None), ("metric", "psnr")))
    seeds = _count(config.get("seeds", 1), "seeds")
    variants = {
        name: _variant(section, f"variants.{name}", seeds) for name, section in _sections(config, "variants").items()
    }
    evaluations = {
        name: _section(Evaluation, section, f"evaluations.{name}")
        for name, section in (_sections(config, "evaluations") if "evaluations" in config else {"clean": {}}).items()
    }
    for name, evaluation in evaluations.items():
        try:
            evaluation.check()
        except InputError as error:
            raise InputError(f"evaluations.{name}: {error}") from error
    acceptance = _section(Acceptance, config.acceptance, "acceptance") if config.get("acceptance") else None
    pictures = _section(Pictures, config.get("pictures", {}), "pictures")
    _check_choices(variants, evaluations, acceptance, pictures)
    first = next(iter(evaluations))
    if acceptance is not None and not acceptance.evaluation:
        acceptance = Acceptance(**asdict(acceptance) | {"evaluation": first})
    columns = tuple(pictures.columns) or (INPUT, *islice(variants, _VARIANTS_SHOWN), SHARP)
    pictures = Pictures(columns, pictures.sequences, pictures.evaluation or first)
    overrides = _overrides(config.get("overrides", ()), "overrides")
    return Experiment(path, base, overrides, variants, evaluations, metric, acceptance, pictures)


def _check_choices(
    variants: Mapping[str, Any], evaluations: Mapping[str, Any], acceptance: Acceptance | None, pictures: Pictures
) -> None:
    """Raises InputError for a name of a variant or an evaluation that there is not."""
    chosen: list[tuple[str, str, Iterable[str]]] = [
        ("pictures.columns", name, (INPUT, SHARP, *variants)) for name in pictures.columns
    ]
    if pictures.evaluation:
        chosen.append(("pictures.evaluation", pictures.evaluation, evaluations))
    if acceptance is not None:
        chosen += [(f"acceptance.{role}", getattr(acceptance, role), variants) for role in ("variant", "reference")]
        if acceptance.evaluation:
            chosen.append(("acceptance.evaluation", acceptance.evaluation, evaluations))
        if not 0 <= acceptance.margin < float("inf"):
            raise InputError(f"acceptance.margin: expected a number from 0, found {acceptance.margin}")
    for where, name, choices in chosen:
        if name not in choices:
            raise InputError(
                f"{where}: expected one of {', '.join(choices)}, found {name!r}{did_you_mean(name, choices)}"
            )
    if pictures.sequences < 0:
        raise InputError(f"pictures.sequences: expected a whole number from 0, found {pictures.sequences}")


def _variant(section: Any, where: str, seeds: int) -> Variant:
    _check_names(section, ("overrides", "seeds"), where)
    own = _overrides(section.get("overrides", ()), f"{where}.overrides")
    return Variant(own, _count(section.get("seeds", seeds), f"{where}.seeds"))


def _sections(config: ConfigDict, key: str) -> dict[str, Any]:
    """The sections of a section, whose names become folders."""
    section = config.get(key)
    if not isinstance(section, ConfigDict) or not section:
        raise InputError(f"{key}: expected at least one, by name, found {_shown(section)}")
    for name, value in section.items():
        if not re.fullmatch(r"\w[\w+-]*", name):
            raise InputError(f"{key}: expected names of letters, digits and _+-, found {name!r}")
        if not isinstance(value, ConfigDict):
            raise InputError(f"{key}.{name}: expected dict(...), found {_shown(value)}")
    if len({name.lower() for name in section}) < len(section):
        raise InputError(f"{key}: expected names that differ by more than capitals, found {', '.join(section)}")
    return dict(section.items())


def _section(kind: Callable[..., Section], section: Any, where: str) -> Section:
    """A dataclass of the values of a section, each of the type that its field has."""
    rows = {row.name: row for row in fields(kind)}  # type: ignore[arg-type]
    _check_names(section, rows, where)
    values = {}
    for name, row in rows.items():
        if name in section:
            types = {"str": str, "int": int, "float": float}
            values[name] = _typed(section, name, types.get(str(row.type), tuple), None, where)
        elif row.default is MISSING and row.default_factory is MISSING:
            raise InputError(f"{where}.{name}: expected {row.type}, found none")
    return kind(**values)


def _typed(section: Any, name: str, kind: type, default: Any, where: str = "") -> Any:
    value = section.get(name, default)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind or (isinstance(value, tuple) and not all(isinstance(entry, str) for entry in value)):
        words = {str: "a text", int: "a whole number", float: "a number", tuple: "a tuple of texts"}
        raise InputError(f"{where + '.' if where else ''}{name}: expected {words[kind]}, found {_shown(value)}")
    return value


def _count(value: Any, where: str) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_SEEDS:
        raise InputError(f"{where}: expected a whole number from 1 to {_MOST_SEEDS}, found {_shown(value)}")
    return value


def _overrides(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(part, str) for part in value):
        raise InputError(f'{where}: expected texts such as ("data.frames=5",), found {_shown(value)}')
    return tuple(f"{OVERRIDE_PREFIX}{part.removeprefix(OVERRIDE_PREFIX)}" for part in value)


def _check_names(section: Any, choices: Iterable[str], where: str) -> None:
    known = list(choices)
    if not isinstance(section, ConfigDict | Mapping):
        raise InputError(f"{where}: expected dict(...), found {_shown(section)}")
    for name in section:
        if name not in known:
            prefix = f"{where}." if where else ""
            raise InputError(f'there is no entry "{prefix}{name}"{did_you_mean(name, known)}')


def _shown(value: Any) -> str:
    return "none" if value is None else " ".join(repr(value).split())[:100]
