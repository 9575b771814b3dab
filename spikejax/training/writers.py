"""Logs of a run for TensorBoard, by CLU's metric writers. The only module that imports TensorFlow."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from spikejax.data.files import atomic_write
from spikejax.data.video import write_picture
from spikejax.training.config import leaves

# TensorFlow greets with pages about its build; it only writes files here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # type: ignore[import-untyped]  # noqa: E402
from clu import metric_writers, periodic_actions  # noqa: E402


class RunWriter:
    """Writes scalars, pictures and hyper-parameters of the run in `workdir`."""

    def __init__(self, workdir: str | Path, *, steps: int, log_every: int):
        tf.config.set_visible_devices([], "GPU")  # or it would take the memory that JAX needs
        self.picture_folder = Path(workdir) / "pictures"
        summaries = metric_writers.SummaryWriter(os.fspath(Path(workdir) / "tensorboard"))
        self._writer = metric_writers.AsyncMultiWriter([summaries])
        self._report = periodic_actions.ReportProgress(
            num_train_steps=steps, writer=self._writer, every_steps=log_every, every_secs=None
        )

    def hyper_parameters(self, config: ConfigDict) -> None:
        """Writes every value of the configuration; TensorBoard knows numbers, texts and truth values."""
        self._writer.write_hparams(
            {key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in leaves(config)}
        )

    def after_update(self, step: int) -> None:
        """Writes the rate of updates from time to time; to be called after every update."""
        self._report(step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes points of the curves."""
        self._writer.write_scalars(step, values)

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """Writes blur | recon | sharp by sequence, for TensorBoard and as WORKDIR/pictures/SEQUENCE_STEP.png."""
        self._writer.write_images(step, {f"{name}: blur | recon | sharp": p[None] for name, p in pictures.items()})
        for name, picture in pictures.items():
            with atomic_write(self.picture_folder / f"{name}_{step:07d}.png") as temporary:
                write_picture(temporary, picture)

    def close(self) -> None:
        """Returns when everything is on disk."""
        self._writer.flush()
        self._writer.close()
