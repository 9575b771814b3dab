"""Logs of a run for TensorBoard, by CLU's metric writers. The only module that imports TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spikejax.training.monitoring.run_logger import RunLogger, RunStart

# TensorFlow greets with pages about its build; it only writes files here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # type: ignore[import-untyped]  # noqa: E402
from clu import metric_writers  # noqa: E402
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # noqa: E402
from tensorboard.compat.proto import event_pb2  # noqa: E402
from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: E402


class TensorBoardLogger(RunLogger):
    """Writes event files to WORKDIR/tensorboard, a new one for each process."""

    def __init__(self, run: RunStart) -> None:
        tf.config.set_visible_devices([], "GPU")  # or it would take the memory that JAX needs
        folder = run.workdir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)  # or TensorFlow says what is in the way, and not where
        _remove_points_after(run.step, folder)
        writer = _EventWriter(os.fspath(folder))
        writer.begin_session(run.step + 1)
        self._writer = metric_writers.AsyncMultiWriter([writer])
        # TensorBoard knows numbers, texts and truth values.
        known = bool | int | float
        self._writer.write_hparams(
            {name: value if isinstance(value, known) else str(value) for name, value in run.settings.items()}
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLogger`; TensorBoard shows the curves of a group together."""
        self._writer.write_scalars(step, values)

    def texts(self, step: int, texts: Mapping[str, str]) -> None:
        """See `RunLogger`."""
        self._writer.write_texts(step, {name: f"```\n{text}\n```" for name, text in texts.items()})

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """See `RunLogger`; the pictures of validations are shown under one title."""
        strips = {f"input, restored, ground truth/{name}": picture[None] for name, picture in pictures.items()}
        self._writer.write_images(step, strips)

    def flush(self) -> None:
        """See `RunLogger`."""
        self._writer.flush()

    def close(self) -> None:
        """See `RunLogger`."""
        self._writer.flush()
        self._writer.close()


class _EventWriter(metric_writers.SummaryWriter):
    """CLU's writer, which can also say where a process takes up a run."""

    def begin_session(self, step: int) -> None:
        """Tells a TensorBoard that has the earlier files open to forget their points from `step` on."""
        session: Any = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        event = event_pb2.Event(step=step, session_log=session)
        tf.raw_ops.ImportEvent(writer=self._summary_writer._resource, event=event.SerializeToString())


def _remove_points_after(step: int, folder: Path) -> None:
    """Writes the event files of a killed process anew, without what comes again; a curve would go back and zigzag.

    Args:
        step: that the run goes on from.
        folder: of the event files.
    """
    # By time of their making. Those before one that has nothing to be removed have not either.
    for path in sorted((path for path in folder.glob("*tfevents*") if path.is_file()), reverse=True):
        events = _events(path)
        kept = [event for event in events if event.step <= step or not event.HasField("summary")]
        if len(kept) == len(events):
            break
        rewritten = folder / ".rewritten.partial"  # no name that TensorBoard would read
        with rewritten.open("wb") as file:
            writer = RecordWriter(file)
            for event in kept:
                writer.write(event.SerializeToString())
        os.replace(rewritten, path)


def _events(path: Path) -> list[Any]:
    """The events of a file, up to the first that a kill, or a disk, has damaged."""
    events: list[Any] = []
    for record in RawEventFileLoader(os.fspath(path)).Load():
        try:
            events.append(event_pb2.Event.FromString(record))
        except Exception:  # protobuf's DecodeError, in each of its implementations
            break
    return events
