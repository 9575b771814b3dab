"""Checkpoints in a bucket of a kind that orbax cannot write to: kept on a disk meanwhile, and sent when they are whole.

Orbax 0.12 gives tensorstore, which stores the arrays, a bucket for gs:// alone; of s3:// it says that the path is not
absolute. So the manager here works in a folder on the disk. A process that goes on, or restores, fetches what is whole
in the bucket first; what the disk has from an earlier process does not count.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from spikejax.config.files import COMMITTED, whole_steps
from spikejax.io.bucket_listing import fetch_folder, remove_folder, send_folder
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.paths import UserPath


class MirroredManager(ocp.CheckpointManager):
    """A manager of the checkpoints in a bucket, of which no other process writes any.

    A checkpoint is in the bucket, whole, before it gets its name on the disk. One that is not kept any longer goes from
    there when the next one has been sent, or at the end.
    """

    def __init__(self, remote: UserPath, *, options: dict[str, Any], **manager: Any) -> None:
        """Fetches the whole checkpoints; arguments as of `ocp.CheckpointManager`, the options as a dict.

        Args:
            remote: the folder in the bucket.
            options: of `ocp.CheckpointManagerOptions`; with `create` off nothing is written to the bucket.
            manager: what else `ocp.CheckpointManager` takes.
        """
        self._remote = remote
        self._writes = options.get("create", True)
        # One that only reads may work beside one that writes, and has a folder of its own.
        base = disk_folder(remote) if self._writes else Path(tempfile.mkdtemp(prefix="spikejax_"))
        self._disk, self._base = base / "checkpoints" / remote.name, base
        shutil.rmtree(self._disk, ignore_errors=True)
        self._disk.mkdir(parents=True)
        self._sent = set(whole_steps(remote))
        if self._writes and remote.is_dir():
            for path in remote.iterdir():
                if path.name.isdecimal() and int(path.name) not in self._sent:  # left by a process that was killed
                    remove_folder(path, first=COMMITTED)
        for step in self._sent:
            fetch_folder(remote / str(step), self._disk / str(step))
        super().__init__(self._disk, options=ocp.CheckpointManagerOptions(**options), **manager)

    def send(self, step: int, folder: Path) -> None:
        """Puts a checkpoint that is about to get its name on the disk into the bucket."""
        target = self._remote / str(step)
        remove_folder(target, first=COMMITTED)  # what a process that was killed, or an older run, has left
        send_folder(folder, target)
        (target / COMMITTED).write_text(f"{step}\n")
        self._sent.add(step)
        self._remove_old(kept=step)

    def close(self) -> None:
        """Waits until everything is in the bucket; what is on the disk goes."""
        super().close()
        if self._writes:
            self._remove_old()
        shutil.rmtree(self._disk if self._writes else self._base, ignore_errors=True)

    def _remove_old(self, kept: int | None = None) -> None:
        on_disk = {int(path.name.split(".")[0]) for path in self._disk.iterdir() if path.name[:1].isdigit()}
        for step in sorted(self._sent - on_disk - {kept}):
            remove_folder(self._remote / str(step), first=COMMITTED)
            self._sent.remove(step)
