"""Logs of a run for TensorBoard, by CLU's metric writers. The only module that imports TensorFlow."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from spikejax.config.keys import leaves
from spikejax.distributed import hosts
from spikejax.io.atomic import atomic_write
from spikejax.io.pictures import write_picture
from spikejax.training.monitoring.provenance import versions

# TensorFlow greets with pages about its build; it only writes files here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # type: ignore[import-untyped]  # noqa: E402
from clu import metric_writers, parameter_overview  # noqa: E402


class RunWriter:
    """Writes scalars, pictures, texts and hyper-parameters of the run in `workdir`; on the first host alone."""

    def __init__(self, workdir: str | Path) -> None:
        tf.config.set_visible_devices([], "GPU")  # or it would take the memory that JAX needs
        self.picture_folder = Path(workdir) / "pictures"
        self._workdir = Path(workdir)
        folder = os.fspath(Path(workdir) / "tensorboard")
        self._writer = metric_writers.AsyncMultiWriter(
            [metric_writers.SummaryWriter(folder)] if hosts.is_first() else []
        )

    def hyper_parameters(self, config: ConfigDict) -> None:
        """Writes every value of the configuration; TensorBoard knows numbers, texts and truth values."""
        self._writer.write_hparams(
            {key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in leaves(config)}
        )

    def overview(self, step: int, config: ConfigDict, state: Any) -> None:
        """Writes what a run is, as texts: configuration, versions, and every parameter with its size and place.

        Args:
            step: updates done.
            config: the configuration.
            state: parameters or their shapes, as a nested dict.
        """
        parameters = parameter_overview.get_parameter_overview(state, include_stats="sharding", max_lines=None)
        texts = {
            "configuration": json.dumps(config.to_dict(), indent=2),
            "versions": json.dumps(versions(), indent=2),
            "parameters": parameters,
        }
        self._writer.write_texts(step, {name: f"```\n{text}\n```" for name, text in texts.items()})
        if hosts.is_first():
            for name, text in (("versions.json", texts["versions"]), ("parameters.txt", parameters)):
                with atomic_write(self._workdir / name) as temporary:
                    temporary.write_text(text + "\n")

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Writes a point of each curve GROUP/NAME; TensorBoard shows those of a group together."""
        self._writer.write_scalars(step, {f"{group}/{name}": value for name, value in values.items()})

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """Writes input | restored | ground truth by sequence, to TensorBoard and WORKDIR/pictures/SEQUENCE_STEP.png."""
        strips = {f"input, restored, ground truth/{name}": picture[None] for name, picture in pictures.items()}
        self._writer.write_images(step, strips)
        for name, picture in pictures.items() if hosts.is_first() else ():
            with atomic_write(self.picture_folder / f"{name}_{step:07d}.png") as temporary:
                write_picture(temporary, picture)

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._writer.flush()
        self._writer.close()
