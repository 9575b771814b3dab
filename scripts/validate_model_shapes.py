"""Every scale's shapes through a configuration's network, and its parameters by part.

    python scripts/validate_model_shapes.py --config configs/spike.py:baseline [--size FRAMES,HEIGHT,WIDTH]

Nothing is computed and no weights are made: the network is evaluated abstractly, at full size in seconds. Where the
features of a scale do not fit together, one line names the scale and both sizes, and the exit code is 2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from flax import nnx

from spikejax.cli import add_words, extent, make_parser, run
from spikejax.config.files import CONFIG_HELP, OVERRIDE_PREFIX, load_config, parse_with_overrides
from spikejax.errors import InputError
from spikejax.models.fusion import SpikeFusion, encoder_scale
from spikejax.models.restorer import MIN_FRAMES, MIN_SIDE, Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import STAGE_SCALES
from spikejax.training.parameter_patterns import parameter_name

Shape = tuple[int, ...]
ENCODER, ATTENTION, STAGE, FUSED = "spike encoder", "temporal attn", "VRT feature", "fused"
# What a parameter's name begins with, by part.
PARTS = {
    "optical flow (SpyNet)": ("vrt.spynet.",),
    "first convolution": ("vrt.conv_first.",),
    **{f"stage {index + 1}": (f"vrt.stages.{index}.",) for index in range(len(STAGE_SCALES))},
    "stage 8": ("vrt.reconstruction_",),
    "output": ("vrt.norm.", "vrt.linear_after_body.", "vrt.head."),
    "spike encoder": ("spike_branch.encoder.",),
    "temporal attention": ("spike_branch.temporal_attention.",),
    "fusion": ("spike_branch.fuse_blocks.",),
}


@dataclass
class Watched:
    """A fusion, or none, that writes down the shapes it meets by stage; see `spikejax.models.vrt.Fusion`."""

    fusion: SpikeFusion | None
    shapes: dict[int, dict[str, Shape]] = field(default_factory=dict)

    def before_attention(self, stage: int, x: jax.Array) -> jax.Array:
        """The features that the stage's blocks get."""
        if self.fusion is None or self.fusion.branch.kind.acts != "before_attention":
            return x
        return self._fuse(stage, x, self.fusion.before_attention(stage, x))

    def after_stage(self, stage: int, x: jax.Array) -> jax.Array:
        """The features that everything after the stage gets."""
        self.shapes.setdefault(stage, {STAGE: x.shape})
        if self.fusion is None or self.fusion.branch.kind.acts != "after_stage":
            return x
        return self._fuse(stage, x, self.fusion.after_stage(stage, x))

    def _fuse(self, stage: int, x: jax.Array, fused: jax.Array) -> jax.Array:
        assert self.fusion is not None
        self.shapes[stage] = {STAGE: x.shape}
        if stage in self.fusion.features:
            self.shapes[stage][FUSED] = fused.shape
            if self.fusion.branch.temporal_attention is not None:
                self.shapes[stage][ATTENTION] = self.fusion.features[stage].shape
        return fused


def trace(model: Restorer, frames: int, height: int, width: int) -> tuple[dict[int, dict[str, Shape]], Shape]:
    """Returns the shapes [t, h, w, c] that every stage meets of one clip, by what they are, and that of the result.

    Args:
        model: a network, of shapes alone.
        frames: of the clip.
        height: rows of the clip; what the network pads is part of the shapes.
        width: columns of the clip.
    """
    rows, columns = model.padded_size(height, width)
    graph, parameters = nnx.split(model)
    by_stage: dict[int, dict[str, Shape]] = {}

    def evaluate(parameters: nnx.State, clip: jax.Array, voxels: jax.Array) -> jax.Array:
        network = nnx.merge(graph, parameters)
        branch = network.spike_branch
        watched = Watched(None if branch is None else branch(voxels))
        beside = None if network.spike_channels is None else network.spike_channels(voxels.astype(clip.dtype))
        restored = network.vrt(clip, beside=beside, fusion=watched)
        by_stage.update(watched.shapes)
        if branch is not None:
            encoded = branch.encoder(voxels)
            for stage in branch.config.fused_stages:
                by_stage[stage][ENCODER] = encoded[encoder_scale(stage)].shape
        return restored

    config = model.vrt.config
    clip = jax.ShapeDtypeStruct((1, frames, rows, columns, config.input_channels + config.noise_map), jnp.float32)
    voxels = jax.ShapeDtypeStruct((1, frames, rows, columns, model.spike_bins or 1), model.compute_dtype or jnp.float32)
    restored = jax.eval_shape(evaluate, parameters, clip, voxels)
    cropped = (restored.shape[1], height * config.upscale, width * config.upscale, restored.shape[-1])
    return {stage: {name: shape[1:] for name, shape in shapes.items()} for stage, shapes in by_stage.items()}, cropped


def count_parameters(model: Restorer) -> dict[str, int]:
    """Returns the parameters of every part that the network has."""
    counts = dict.fromkeys(PARTS, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param))):
        name = parameter_name(path)
        (part,) = (part for part, prefixes in PARTS.items() if name.startswith(prefixes))
        counts[part] += leaf.size
    return {part: count for part, count in counts.items() if count}


def main(arguments: Sequence[str]) -> None:
    """Prints the shapes and counts of what the command line names.

    Args:
        arguments: what follows the program's name.
    """
    parser = make_parser(
        "scripts/validate_model_shapes.py",
        description="Prints every scale's shapes through a network, and its parameters by part.",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration.",
    )
    parser.add_argument("--config", required=True, metavar="FILE[:NAME]", help=CONFIG_HELP)
    add_words(
        parser,
        "--size",
        read=extent,
        metavar="FRAMES,HEIGHT,WIDTH",
        help="of the clip (default: the training clip's)",
    )
    options, overrides = parse_with_overrides(parser, arguments)
    config = load_config(options.config, overrides)
    frames, height, width = options.size or (config.data.frames, config.data.crop, config.data.crop)
    if frames < MIN_FRAMES or min(height, width) < MIN_SIDE:
        raise InputError(
            f"--size: expected at least {MIN_FRAMES},{MIN_SIDE},{MIN_SIDE}, found {frames},{height},{width}"
        )

    model = nnx.eval_shape(lambda: build_restorer(config.model, rngs=make_rngs(0)))
    if not isinstance(model, Restorer):
        raise InputError(f"model.backbone: expected a VRT, whose stages have scales, found {config.model.backbone!r}")
    stages, restored = trace(model, frames, height, width)
    rows, columns = model.padded_size(height, width)
    padded = "" if (rows, columns) == (height, width) else f", padded to {rows} x {columns}"
    print(f"{options.config}: {frames} frames of {height} x {width}{padded}")
    print("\n".join(_shape_table(stages)))
    print(f"{'result':12}{_times(restored)}\n")
    print("\n".join(_count_table(count_parameters(model))))


def _shape_table(stages: dict[int, dict[str, Shape]]) -> Iterator[str]:
    columns = [name for name in (ENCODER, ATTENTION, STAGE, FUSED) if any(name in shapes for shapes in stages.values())]
    yield f"{'stage':6}{'scale':6}" + "".join(f"{name:17}" for name in columns).rstrip()
    for stage, shapes in sorted(stages.items()):
        scale = STAGE_SCALES[stage - 1]
        cells = (_times(shapes[name]) if name in shapes else "-" for name in columns)
        yield f"{stage:<6}{f'1/{scale}' if scale > 1 else '1':6}" + "".join(f"{cell:17}" for cell in cells).rstrip()


def _count_table(counts: dict[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    yield f"{'parameters of':24}{'number':>12}{'share':>8}"
    for part, count in (*counts.items(), ("all", total)):
        yield f"{part:24}{count:>12,}{count / total:>8.1%}"


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    run(main)
