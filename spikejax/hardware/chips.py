"""What the accelerators can do: the figures their makers publish, per device as JAX counts devices.

Sources; rates are the dense ones (without sparsity) of one chip:
    TPU: cloud.google.com/tpu/docs, the pages v4, v5e, v5p, v6e and tpu7x ("Ironwood"). Interchip bandwidth is listed
        there in Gbit/s out of a chip over all its links (v4 2,400, v5e 1,600, v5p 4,800, v6e 3,584) or, for tpu7x, as
        1.2 TB/s for both directions. The memory that a program may use is what the compiler of libtpu 0.0.42 grants.
    A100: NVIDIA A100 80GB data sheet (SXM), 2021; DGX A100: one 200 Gbit/s adapter for each GPU.
    H100: NVIDIA H100 data sheet (SXM), 2023, half of the rates "with sparsity"; DGX H100: one 400 Gbit/s adapter each.
    H200: NVIDIA H200 data sheet (SXM); the rates of the H100.
    B200: NVIDIA HGX B200 data sheet, an eighth of eight GPUs, half of the rates "with sparsity".
    L40S: NVIDIA L40S data sheet, half of the rates "with sparsity"; PCIe 4.0 in place of NVLink.
    RTX 4090: NVIDIA Ada GPU architecture white paper, with float32 sums; PCIe 4.0 in place of NVLink.
"""

import dataclasses

import jax

_GB, _GIB, _TERA = 1e9, 2**30, 1e12


@dataclasses.dataclass(frozen=True)
class Chip:
    """The peaks of one JAX device, which is half a chip for v4 (as libtpu describes it without megacore) and tpu7x.

    Attributes:
        name: as in a topology.
        platform: "tpu" or "cuda".
        kinds: how JAX's device_kind begins.
        devices: how many JAX sees on a chip.
        bfloat16_flops: floating-point operations per second, of products.
        float32_flops: the same at JAX's default precision: one bfloat16 pass on TPUs, TensorFloat-32 on GPUs.
        exact_flops: the same of GPUs by their float32 units, which keep all bits; of TPUs 0.
        memory_bytes: what a program may use.
        memory_bandwidth: bytes per second.
        link_bandwidth: bytes per second out of the device, over all links to its neighbours.
        cluster_bandwidth: the same between hosts.
        clock: cycles per second of a TPU's core, by its peak and the multiplications that its matrix units make in one;
            0 where these are not known (v6e, tpu7x, GPUs).
    """

    name: str
    platform: str
    kinds: tuple[str, ...]
    devices: int
    bfloat16_flops: float
    float32_flops: float
    exact_flops: float
    memory_bytes: int
    memory_bandwidth: float
    link_bandwidth: float
    cluster_bandwidth: float
    clock: float = 0.0

    def flops(self, dtype: str, precision: str = "default") -> float:
        """Floating-point operations per second of products of "bfloat16" or "float32" at JAX's precision of products.

        TPUs make a float32 product of 1 ("default"), 3 ("high") or 6 ("highest") bfloat16 ones.
        """
        if dtype == "bfloat16":
            return self.bfloat16_flops
        if precision == "highest":
            return self.float32_flops / 6 if self.platform == "tpu" else self.exact_flops
        return self.float32_flops / (3 if precision == "high" and self.platform == "tpu" else 1)


def _tpu(
    name: str,
    kind: str,
    *,
    tera: float,
    usable: float,
    bandwidth: float,
    link: float,
    devices: int = 1,
    gigahertz: float = 0,
) -> Chip:
    """A TPU by its whole chip's TFLOP/s, GB/s of memory and GB/s of links, usable GiB of a device, and its clock."""
    return Chip(
        name=name,
        platform="tpu",
        kinds=(kind,),
        devices=devices,
        bfloat16_flops=tera * _TERA / devices,
        float32_flops=tera * _TERA / devices,
        exact_flops=0.0,
        memory_bytes=int(usable * _GIB),
        memory_bandwidth=bandwidth * _GB / devices,
        link_bandwidth=link * _GB / devices,
        cluster_bandwidth=link * _GB / devices,  # the links do not end at a host
        clock=gigahertz * 1e9,
    )


def _gpu(
    name: str,
    kind: str,
    *,
    tera: float,
    tera_tf32: float,
    tera_float32: float,
    memory: float,
    bandwidth: float,
    link: float,
    cluster: float,
) -> Chip:
    """A GPU by its TFLOP/s, GB of memory, and GB/s of memory, of NVLink in one direction and of its network adapter."""
    return Chip(
        name=name,
        platform="cuda",
        kinds=(kind,),
        devices=1,
        bfloat16_flops=tera * _TERA,
        float32_flops=tera_tf32 * _TERA,
        exact_flops=tera_float32 * _TERA,
        memory_bytes=int(memory * _GB),
        memory_bandwidth=bandwidth * _GB,
        link_bandwidth=link * _GB,
        cluster_bandwidth=cluster * _GB,
    )


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu("v4", "TPU v4", tera=275, usable=15.25, bandwidth=1228, link=300, devices=2, gigahertz=1.05),
        _tpu("v5e", "TPU v5 lite", tera=197, usable=15.75, bandwidth=819, link=200, gigahertz=1.5),
        _tpu("v5p", "TPU v5", tera=459, usable=95.74, bandwidth=2765, link=600, gigahertz=1.75),
        _tpu("v6e", "TPU v6 lite", tera=918, usable=31.25, bandwidth=1640, link=448),
        _tpu("tpu7x", "TPU7x", tera=2307, usable=94.75, bandwidth=7380, link=600, devices=2),
        _gpu(
            "a100",
            "NVIDIA A100",
            tera=312,
            tera_tf32=156,
            tera_float32=19.5,
            memory=85,
            bandwidth=2039,
            link=300,
            cluster=25,
        ),  # fmt: skip
        _gpu(
            "h100",
            "NVIDIA H100",
            tera=989.4,
            tera_tf32=494.7,
            tera_float32=67,
            memory=85,
            bandwidth=3352,
            link=450,
            cluster=50,
        ),  # fmt: skip
        _gpu(
            "h200",
            "NVIDIA H200",
            tera=989.4,
            tera_tf32=494.7,
            tera_float32=67,
            memory=141,
            bandwidth=4800,
            link=450,
            cluster=50,
        ),  # fmt: skip
        _gpu(
            "b200",
            "NVIDIA B200",
            tera=2250,
            tera_tf32=1125,
            tera_float32=75,
            memory=180,
            bandwidth=7700,
            link=900,
            cluster=50,
        ),  # fmt: skip
        _gpu(
            "l40s",
            "NVIDIA L40S",
            tera=362,
            tera_tf32=183,
            tera_float32=91.6,
            memory=48,
            bandwidth=864,
            link=32,
            cluster=25,
        ),  # fmt: skip
        _gpu(
            "rtx4090",
            "NVIDIA GeForce RTX 4090",
            tera=165.2,
            tera_tf32=82.6,
            tera_float32=82.6,
            memory=24,
            bandwidth=1008,
            link=32,
            cluster=12.5,
        ),  # fmt: skip
    )
}


def chip_of(device: jax.Device) -> Chip | None:
    """The chip that a device is, or None if its peaks are not known here."""
    matches = [(kind, chip) for chip in CHIPS.values() for kind in chip.kinds if device.device_kind.startswith(kind)]
    return max(matches, key=lambda match: len(match[0]))[1] if matches else None  # "TPU v5 lite" before "TPU v5"
