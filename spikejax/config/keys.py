"""Every key of a run: what it means, its unit, and the values it may have. The defaults stand in `defaults`.

This table and the relations between keys (`relations`) are what `check_config` holds a configuration against, what the
command line's changes are read by, and what the page of all keys in the documentation is made of. To add a key: its
default in `defaults`, its row here, and `python -m spikejax.config.keys_page > docs/configuration.md`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from spikejax.config.named_networks import is_network_name
from spikejax.config.relations import EMBEDDED, RELATIONS
from spikejax.config.value_rules import (
    LARGEST_WHOLE,
    AxisSize,
    Flag,
    Number,
    OneOf,
    PathName,
    Pattern,
    Several,
    ValueRule,
    Whole,
)
from spikejax.errors import InputError
from spikejax.extensions import is_code
from spikejax.io.paths import is_remote, user_path


@dataclass(frozen=True)
class Key:
    """A row of the table.

    Attributes:
        rule: the values it may have.
        meaning: what it is.
        unit: of the value, "" where it has none.
        harmless: whether it may change between a run and its continuation, since it changes the run's numbers by no
            more than rounding.
    """

    rule: ValueRule
    meaning: str
    unit: str = ""
    harmless: bool = False


# Kinds of data set (`spikejax.data.sources`) that cannot be in a bucket; a kind of somebody's own says so itself.
_ON_DISKS = ("tfds", *EMBEDDED)
_LONGEST_SHOWN = 100  # characters of a value in a message
_FRAMES_ROWS_COLUMNS = ("frames", "rows", "columns")
_PATTERN = "regular expression, searched for in the dotted names of the parameters; empty: none"

KEYS: dict[str, Key] = {
    "seed": Key(
        # Larger ones would be cut to 32 bits: two seeds would be one.
        Whole(0, 2**32 - 1),
        "of everything random: initial weights, stochastic depth, and the data's unless `data.seed` says otherwise",
    ),
    # ---- The network ----
    "model.backbone": Key(OneOf(("vrt",), code=True), "the network"),
    "model.compute_dtype": Key(
        OneOf(("float32", "bfloat16")), "what features are computed in; parameters are float32 in both"
    ),
    "model.precision": Key(
        OneOf(("highest", "high", "default")),
        "of float32 products in training, see performance.md; restoring and evaluating have `--precision`",
        harmless=True,
    ),
    "model.remat": Key(
        OneOf(("none", "blocks", "everything")),
        "what the backward pass computes again, to save memory; `blocks` saves most of it",
    ),
    "model.kernels": Key(
        OneOf(("auto", "plain", "pallas")),
        "form of the costly operations: `auto`: kernels on TPUs and GPUs for the shapes that they are made for, plain "
        "JAX elsewhere; `plain`: JAX alone; `pallas`: kernels on CPUs too, step by step, for tests",
        harmless=True,
    ),
    # One entry per stage. Stages 1-7 work at 1, 1/2, 1/4, 1/8, 1/4, 1/2, 1 of the resolution; the rest is stage 8.
    "model.vrt.upscale": Key(OneOf((1, 2, 3, 4, 8)), "output size / input size"),
    "model.vrt.input_channels": Key(OneOf((3,)), "of the pictures that come in: RGB, without the noise map"),
    "model.vrt.output_channels": Key(OneOf((3,)), "of the pictures that come out: RGB"),
    "model.vrt.window": Key(
        Several(Whole(1), _FRAMES_ROWS_COLUMNS), "windows of the attention", "frames, pixels of the stage"
    ),
    "model.vrt.depths": Key(
        Several(Whole(1), shortest=8), "attention blocks of stages 1 to 7, then of each group of stage 8"
    ),
    "model.vrt.dims": Key(Several(Whole(4), shortest=8), "channels, for each entry of `model.vrt.depths`"),
    "model.vrt.heads": Key(Several(Whole(1), shortest=8), "attention heads, for each entry of `model.vrt.depths`"),
    "model.vrt.independent": Key(
        Several(Whole(7), distinct=True),
        "indices into `model.vrt.depths`, from 0: the groups of stage 8 with windows of one frame",
    ),
    "model.vrt.warp_frames": Key(
        OneOf((0, 2, 4, 6)),
        "neighbours that parallel warping aligns, both directions together; 0: the network interpolates",
        "frames",
    ),
    "model.vrt.deformable_groups": Key(Whole(1), "groups of offsets of the deformable convolutions"),
    "model.vrt.mutual_ratio": Key(Number(0, 1), "part of the blocks of stages 1 to 7 that have mutual attention"),
    "model.vrt.mlp_ratio": Key(Number(0.25, 16), "hidden channels of the gated MLP / channels"),
    "model.vrt.drop_path": Key(
        Number(0, 1, below=True), "stochastic depth: highest probability of leaving out a block, that of the last one"
    ),
    "model.vrt.noise_map": Key(Flag(), "whether the level of the noise comes as a fourth input channel"),
    "model.vrt.flow": Key(OneOf(("spynet",), code=True), "the network of the optical flows"),
    "model.spike.fusion": Key(
        OneOf(
            ("cross_attention", "early_cross_attention", "concat", "concat_over_time", "early_concat", "none"),
            code=True,
        ),
        "how spikes enter: `cross_attention` after a stage; `early_cross_attention` and `concat` before its attention; "
        "`concat_over_time`: of features that have attended to themselves over time; `early_concat`: as channels of "
        "the picture, before its neighbours are warped; `none`: VRT alone",
    ),
    "model.spike.bins": Key(Whole(1, 4096), "time bins of a frame's voxels"),
    "model.spike.channels": Key(
        Several(Whole(1), shortest=4), "channels of the spike features, for each of `model.spike.fused_stages`"
    ),
    "model.spike.heads": Key(Whole(1), "attention heads of both temporal attentions"),
    "model.spike.residual": Key(
        OneOf(("features", "normalized_query")), "what the fusion's result is added to (cross_attention)"
    ),
    "model.spike.fused_stages": Key(
        Several(Whole(1, 7), shortest=4), "stages that take in spike features: 1 to 4, or on to 7 at most"
    ),
    "model.spike.zero_init": Key(
        Flag(), "whether the fusion's last projections start at zero: the network begins as exactly VRT"
    ),
    "model.spike.normalise": Key(
        OneOf(("statistics", "clip")),
        "how counts become voxels: by the `statistics` of the training split, or each `clip`'s first scaled to the "
        "same mean, so that another threshold or another light changes little",
    ),
    "model.spike.steps": Key(
        Whole(1), "steps of the stream in a frame's window, of which `early_concat` takes the share that has a spike"
    ),
    "model.spike.time": Key(
        OneOf(("none", "relative", "local", "sine")),
        "what attention over time knows of time: `none`: frames are a set; `relative`: a learned bias per head and "
        "time difference; `local`: the same, within `time_reach` frames; `sine`: an encoding of the frame's number",
    ),
    "model.spike.time_reach": Key(
        Whole(1, 4096), "frames: the largest time difference with a bias of its own (`relative`, `local`)"
    ),
    "model.spike.time_own_frame": Key(
        Number(-100, 100),
        "bias of a frame's own spikes at the beginning, beside 0 for the others (`relative`, `local`)",
    ),
    # ---- The data ----
    "data.source": Key(
        OneOf(("folder", "tfds", *EMBEDDED), code=True),
        "kind of the data set; `tfds`: shards of a folder; `moving_photographs`: the embedded one, needs no download; "
        "`moving_scenes`: the same with more variety in training",
    ),
    "data.root": Key(
        PathName("folder", folder=True),
        "folder of the data set, or of its TFDS shards; empty: WORKDIR/data (embedded ones only)",
    ),
    "data.seed": Key(
        Whole(0, 2**32 - 1, also=(-1,)),
        "of the data alone: the embedded data set, the order of samples, crops; -1: `seed`. Runs that share it see the "
        "same batches, whatever their networks begin as",
    ),
    "data.degradation": Key(
        OneOf(("none", "bicubic", "gaussian", "noise", "interpolation")),
        "how the network's input is made of the sharp frames: `bicubic` or `gaussian` (smaller pictures, for "
        "super-resolution), `noise`, `interpolation` (the middle frame is sought); `none`: it is read from blur/, "
        "whose pictures are `model.vrt.upscale` times smaller than the sharp ones",
    ),
    "data.noise_sigma": Key(
        Several(Number(0, 255), ("least", "largest")), "standard deviation of the noise in training", "of 255"
    ),
    "data.frames": Key(Whole(2), "frames of a training clip that the network takes"),
    "data.crop": Key(Whole(16), "side of the square training crops of the network's input", "pixels"),
    "data.batch_size": Key(Whole(1), "clips per update, over all devices"),
    "data.workers": Key(
        Whole(0, also=(-1,)),
        "background threads that make batches; -1: all CPUs that this process may use; 0: each batch when it is asked "
        "for",
        harmless=True,
    ),
    "data.flips": Key(Flag(), "random mirroring, left-right and up-down"),
    "data.rotate": Key(Flag(), "random quarter turns"),
    "data.reverse_time": Key(Flag(), "also play clips backwards; leave off, spikes have a direction in time"),
    "data.repeat_last": Key(
        Whole(0), "how many of data.frames repeat the last frame that is read, for sequences shorter than a window"
    ),
    "data.threshold_factor": Key(
        Number(1), "each clip's spikes as if the camera's threshold were up to this many times as high"
    ),
    "data.scenes.train_sequences": Key(Whole(1), "training sequences of the embedded data set"),
    "data.scenes.val_sequences": Key(Whole(1), "validation sequences, made of other photographs"),
    "data.scenes.frames": Key(Whole(2), "frames of each sequence"),
    "data.scenes.height": Key(Whole(16, 4096), "of its pictures", "pixels"),
    "data.scenes.width": Key(Whole(16, 4096), "of its pictures", "pixels"),
    "data.scenes.max_motion": Key(
        Number(0, 1000, above=True), "how far a point may move within one exposure of the embedded data set", "pixels"
    ),
    # ---- The optimizer ----
    "optimizer.kind": Key(OneOf(("adamw", "adam")), "`adam` is without weight decay"),
    "optimizer.peak_learning_rate": Key(Number(0, above=True), "learning rate after the warm-up"),
    "optimizer.final_learning_rate": Key(Number(0), "learning rate at the end of the cosine"),
    "optimizer.warmup_steps": Key(Whole(0), "linear warm-up", "updates"),
    "optimizer.beta1": Key(Number(0, 1, below=True), "decay of the mean of gradients"),
    "optimizer.beta2": Key(Number(0, 1, below=True), "decay of the mean of squared gradients"),
    # Smaller ones are 0 in float32, and 0 / 0 where a gradient is 0.
    "optimizer.epsilon": Key(Number(1e-30), "added to the root of the mean of squared gradients"),
    "optimizer.weight_decay": Key(Number(0), "per update and unit of learning rate (adamw)"),
    "optimizer.decay_vectors": Key(
        Flag(), "whether norms and biases decay too; the recipe's AdamW knows no exceptions"
    ),
    "optimizer.clip_norm": Key(Number(0), "largest global norm of the gradient; 0: not clipped"),
    "optimizer.frozen": Key(Pattern(), f"parameters that are not trained, such as `spynet`; {_PATTERN}"),
    "optimizer.slow": Key(
        Pattern(), f"parameters that are trained later and slower, such as `spynet|offset_`; {_PATTERN}"
    ),
    "optimizer.slow_steps": Key(Whole(0), "for so long the slow parameters are frozen", "updates"),
    "optimizer.slow_factor": Key(Number(0), "of the learning rate, for the slow parameters"),
    # ---- The loss ----
    "loss.terms": Key(
        Several(OneOf(("charbonnier", "perceptual"), code=True), shortest=1, distinct=True),
        "what is added up, and minimised",
    ),
    # The square of a smaller one is 0 in float32, and the gradient of the root of 0 is not a number.
    "loss.charbonnier_epsilon": Key(
        Number(1e-18), "where Charbonnier's parabola turns into a straight line", "of the picture's range [0, 1]"
    ),
    "loss.perceptual_weight": Key(Number(0), "of the difference of VGG's features (relu3_3); 0: none"),
    "loss.perceptual_network": Key(OneOf(("vgg19", "vgg16")), "the VGG whose features are compared"),
    "loss.perceptual_weights_file": Key(
        PathName(), "its converted weights; empty: the term is left out, with a message"
    ),
    # ---- Training ----
    "training.steps": Key(Whole(1), "length of the run", "updates"),
    "training.log_every": Key(
        Whole(1), "between two lines on the terminal, and two points of the curves", "updates", harmless=True
    ),
    "training.loggers": Key(
        Several(OneOf(("tensorboard", "wandb", "mlflow"), code=True), distinct=True),
        "where the curves go besides `WORKDIR/metrics.jsonl`, which every run has; "
        "W&B and MLflow need `pip install 'spikejax[wandb]'`, `[mlflow]`",
        harmless=True,
    ),
    "training.checkpoint_every": Key(Whole(1), "between two saves of `last`", "updates", harmless=True),
    "training.start_at_zero": Key(Pattern(), f"parameters that begin as 0; {_PATTERN}"),
    "training.start_from": Key(
        PathName(),
        "weights (.safetensors, .pth or folder), a workdir, or a name (vrt:006, hf://USER/NAME) to begin with; what it "
        "lacks is fresh; empty: all is",
    ),
    "training.accumulate": Key(Whole(1), "parts of a batch that are computed one after the other, to save memory"),
    "training.ema_decay": Key(
        Number(0, 1, below=True),
        "of the average of the parameters that is validated and restored with; 0: no average",
    ),
    "training.skip_not_finite": Key(
        Whole(0), "updates with a loss or gradient that is not finite to leave out before stopping", "updates"
    ),
    "training.deterministic": Key(
        Flag(),
        "whether a GPU gives the same bits each time, by slower sums in a fixed order; CPUs and TPUs do without",
        harmless=True,
    ),
    "training.profile_at": Key(Whole(0), "update before which the profiler starts; 0: never", harmless=True),
    "training.profile_updates": Key(Whole(1), "how many updates it records", "updates", harmless=True),
    # ---- Validation ----
    "validation.every": Key(
        Whole(1), "between two validations; there is one after the last update too", "updates", harmless=True
    ),
    "validation.frames": Key(
        Whole(2), "that the network sees at once; a longer sequence is cut into such clips", "frames"
    ),
    "validation.sequences": Key(
        Whole(0), "how many sequences of the validation split are used, from the first; 0: all"
    ),
    "validation.middle_frame": Key(
        Flag(),
        "of sequences of at most validation.frames the middle frame alone counts, as of Vimeo-90K's",
        harmless=True,
    ),
    "validation.noise_sigma": Key(
        Number(0, 255), "standard deviation of the noise (`data.degradation` noise)", "of 255"
    ),
    "validation.pictures": Key(
        Whole(0),
        "sequences of which the middle frame is written as input, restored and ground truth side by side",
        harmless=True,
    ),
    "validation.metrics": Key(
        Several(OneOf(("psnr", "psnr_y", "ssim", "ssim_y", "lpips"), code=True), shortest=1, distinct=True),
        "what is measured; by `psnr` the best checkpoint is chosen",
        harmless=True,
    ),
    "validation.lpips_weights_file": Key(
        PathName(), "converted weights of LPIPS, by AlexNet or VGG; empty: it is not measured"
    ),
    "validation.pictures_every": Key(
        Whole(1),
        "between two validations that write pictures: those whose update it divides, and the last",
        "updates",
        harmless=True,
    ),
    # ---- Devices ----
    "mesh.data": Key(
        Whole(1, also=(-1,)), "devices that split the batch; -1: all that the other axes leave", harmless=True
    ),
    "mesh.fsdp": Key(
        Whole(1, also=(-1,)),
        "devices that split the batch, and the parameters and optimizer state as well",
        harmless=True,
    ),
    "mesh.space": Key(Whole(1, also=(-1,)), "devices that split the rows of the pictures", harmless=True),
    "mesh.layout": Key(OneOf(("standard",), code=True), "which axes there are and what they split", harmless=True),
    "mesh.extra": Key(Several(AxisSize()), "devices along further axes of such a layout", harmless=True),
    # ---- What `python -m spikejax.restore` does unless told otherwise ----
    "restore.tile": Key(
        Several((Whole(2, also=(0,)), *(Whole(16, also=(0,)),) * 2), _FRAMES_ROWS_COLUMNS),
        "what the network sees at once; 0: all there are",
        "frames, pixels",
        harmless=True,
    ),
    "restore.overlap": Key(
        Several(Whole(0), _FRAMES_ROWS_COLUMNS), "what neighbouring tiles share", "frames, pixels", harmless=True
    ),
}


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of every value in `config`."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_config(config: ConfigDict, *, paths: bool = True, continued: bool = False) -> None:
    """Raises InputError unless `config` has every key, each with a value that it may have, and they fit together.

    The message names key, value and what is allowed; where several values are wrong, its details name the others.

    Args:
        config: of a run.
        paths: whether the data set's folder has to be named, and whatever files and folders are named to be there.
        continued: whether a run that has begun is continued, which no longer needs what it was started from.
    """
    values = dict(leaves(config))
    for key in values:
        if key not in KEYS:
            raise InputError(f'there is no configuration key "{key}"; did you mean "{nearest_key(key)}"?')
    for key in KEYS:
        if key not in values:
            raise InputError(f"{key}: expected {KEYS[key].rule.expected}, found no such key in the configuration")
    complain(key_errors(values))
    complain(relation_errors(config, values))
    if paths:
        complain(_path_errors(values, continued=continued))


def key_errors(values: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each value, by its dotted key, that is of another kind or beyond its range."""
    for key, row in KEYS.items():
        if key in values and not row.rule.allows(values[key]):
            yield unexpected(key, row.rule.expected, values[key])


def relation_errors(config: ConfigDict, values: Mapping[str, Any], *, section: str = "") -> Iterator[str]:
    """Yields a line for each relation between keys that does not hold.

    Args:
        config: with the keys of `section` at least.
        values: the same, by dotted key.
        section: only relations within this section of the configuration, such as "model"; "" = all.
    """
    for relation in RELATIONS:
        if all(key.startswith(section) for key in relation.keys):
            expected = relation.check(config)
            if expected is not None:
                yield unexpected(relation.keys[0], expected, values[relation.keys[0]])


def unexpected(key: str, expected: str, value: Any) -> str:
    """The line that says what was expected of a key and what was found."""
    shown = " ".join(repr(value).split())
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    rule = KEYS[key].rule
    if isinstance(rule, Whole) and expected == rule.expected and type(value) is int and value > LARGEST_WHOLE:
        expected = f"{expected} to {LARGEST_WHOLE}" if rule.high == LARGEST_WHOLE else expected
    return f"{key}: expected {expected}, found {shown}"


def complain(errors: Iterator[str]) -> None:
    """Raises InputError with the first of the lines, if there is one; the others are its details."""
    lines = list(errors)
    if lines:
        error = InputError(lines[0])
        error.details = tuple(lines[1:])
        raise error


def nearest_key(key: str) -> str:
    """The dotted key most like `key`; a right last name in a wrong section counts for much."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        last = difflib.SequenceMatcher(None, key.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
        return whole + last

    return max(KEYS, key=likeness)


def named_files(config: ConfigDict) -> list[str]:
    """The files and folders of weights that `config` names."""
    values = dict(leaves(config))
    rules = ((key, row.rule) for key, row in KEYS.items())
    return [values[key] for key, rule in rules if isinstance(rule, PathName) and not rule.folder and values[key]]


def code_in(values: Mapping[str, Any]) -> Iterator[str]:
    """Yields the keys whose value names an entry of somebody's own code, see `spikejax.extensions`."""
    for key, value in values.items():
        names = value if isinstance(value, tuple) else (value,)
        if any(isinstance(name, str) and is_code(name) for name in names) and takes_code(KEYS[key].rule):
            yield key


def takes_code(rule: ValueRule) -> bool:
    """Whether a value that keeps to `rule` may name an entry of somebody's own code."""
    entry = rule.entry if isinstance(rule, Several) else rule
    return isinstance(entry, OneOf) and entry.code


def _path_errors(values: Mapping[str, Any], *, continued: bool) -> Iterator[str]:
    if not values["data.root"] and values["data.source"] in ("folder", "tfds"):
        yield "data.root: expected the folder of the data set (--config.data.root=DIR), found none"
    for key, value in values.items():
        rule = KEYS[key].rule
        if isinstance(rule, PathName) and value and not (continued and key == "training.start_from"):
            if key == "training.start_from" and is_network_name(value):
                continue  # it is fetched before the run begins
            if is_remote(value) and values["data.source"] in _ON_DISKS and key == "data.root":
                yield f"{key}: expected a {rule.kind} on this machine's disks, found {value}"
                continue
            try:
                path = user_path(value, what=key)
                there = path.is_dir() if rule.folder else path.exists()
            except OSError:  # a name that is too long for any file
                there = False
            if not there:
                yield f"{key}: expected a {rule.kind}, found none: {value}"
    for key in code_in(values):
        for name in values[key] if isinstance(values[key], tuple) else (values[key],):
            file = name.rpartition(":")[0]
            if is_code(name) and file.endswith(".py") and not Path(file).is_file():
                yield f"{key}: expected a Python file, found none: {file}"
