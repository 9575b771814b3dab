"""Where the PyTorch spike network of the design keeps the parameters of its spike branch."""

from dataclasses import dataclass

from .rules import ARRAY, CONV_3D, LINEAR, Rule, linear, nest, norm

_RESIDUAL_BLOCK = (*linear("conv1", "conv1", CONV_3D), *linear("conv2", "conv2", CONV_3D))


def _attention(torch: str) -> tuple[Rule, ...]:
    return (
        Rule("attention.in_projection.kernel", f"{torch}.in_proj_weight", LINEAR),
        Rule("attention.in_projection.bias", f"{torch}.in_proj_bias", ARRAY),
        *linear("attention.out_projection", f"{torch}.out_proj"),
    )


# By `model.spike.time`, the last part of the key of a block's biases over time, [2 reach + 1, heads]. The design's
# network has no such keys: they are extensions of ours, and what has no entry here has no PyTorch form.
TIME_BIAS_KEYS = {"none": None, "relative": "time_bias", "local": "local_time_bias"}
OWN_KEYS = frozenset(filter(None, TIME_BIAS_KEYS.values()))


_TEMPORAL_ATTENTION = (
    *norm("norm1", "ln1"),
    *_attention("attn"),
    *norm("norm2", "ln2"),
    *linear("mlp.linear1", "mlp.0"),
    *linear("mlp.linear2", "mlp.2"),
)

_FUSE = (
    *norm("norm_query", "ln_q"),
    *norm("norm_spikes", "ln_kv"),
    *_attention("attn.attn"),
    *norm("norm_mlp", "ln_ffn"),
    *linear("mlp.linear1", "ffn.0"),
    *linear("mlp.linear2", "ffn.2"),
)


@dataclass(frozen=True)
class FuseBlockKeys:
    """Where the PyTorch network keeps the fusion blocks of a kind.

    Attributes:
        torch: what their keys begin with.
        rules: of one block, whose number stands between `torch` and the rest.
    """

    torch: str
    rules: tuple[Rule, ...]


# By `FusionKind.torch_form`. To convert another fusion's weights: name its form there and its keys here.
FUSE_BLOCKS = {"cross_attention": FuseBlockKeys("cross_attn_fuse.fuse_blocks.", _FUSE)}


def spike_branch_rules(torch_form: str, *, scales: int, time: str = "none") -> tuple[Rule, ...]:
    """The rules of a spike branch.

    Args:
        torch_form: of its fusion.
        scales: of its encoder.
        time: `model.spike.time`, a key of `TIME_BIAS_KEYS`.
    """
    fuse_blocks = FUSE_BLOCKS[torch_form]
    bias_key = TIME_BIAS_KEYS[time]
    time_bias = () if bias_key is None else (Rule("attention.time_bias.table", bias_key, ARRAY),)
    encoder = (
        *linear("scales.0.entry", "in_proj", CONV_3D),
        *nest("scales.0.residual_blocks.{j}.", "res0.{j}.", _RESIDUAL_BLOCK),
    )
    for scale in range(1, scales):
        encoder += linear(f"scales.{scale}.entry", f"downs.{scale - 1}", CONV_3D)
        encoder += nest(f"scales.{scale}.residual_blocks.{{j}}.", f"residuals.{scale - 1}.{{j}}.", _RESIDUAL_BLOCK)
    return (
        *nest("encoder.", "spike_encoder.", encoder),
        *nest("temporal_attention.{i}.", "spike_temporal_sa.blocks.{i}.", (*_TEMPORAL_ATTENTION, *time_bias)),
        *nest("fuse_blocks.{i}.", f"{fuse_blocks.torch}{{i}}.", (*fuse_blocks.rules, *time_bias)),
    )
