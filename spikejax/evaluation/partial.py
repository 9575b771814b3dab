"""What an evaluation has measured before it is whole: a file for each sequence, so that a later start goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spikejax.distributed import hosts
from spikejax.io.alone import LOCK, working_alone
from spikejax.io.pictures import write_picture
from spikejax.io.places import PARTIAL, hidden_sibling, resolved
from spikejax.training.validation import ShownFrame

FRAMES = "frames"
_DESCRIPTION, _SCORES = "evaluation.json", "scores"
Scores = dict[str, float]


class PartialEvaluation:
    """The folder beside the output that holds the sequences that are done, until all are."""

    def __init__(self, output: Path, description: Mapping[str, str]) -> None:
        """Nothing is read or written yet.

        Args:
            output: what it becomes.
            description: of all that decides the scores.
        """
        self._output = output
        self.folder = hidden_sibling(resolved(output), PARTIAL)
        self.description = dict(description)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other evaluations out of the output for the time of the block; the first host does so for all.

        Raises:
            InputError: another evaluation is at work there.
        """
        with ExitStack() as held:
            with hosts.failing_together():
                if hosts.is_first():
                    held.enter_context(working_alone(self.folder / LOCK, self._output))
                    held.callback(self._remove_empty)
            yield

    def done(self, sequences: Sequence[tuple[str, int]], *, with_frames: bool) -> dict[str, list[Scores]]:
        """The scores of the sequences that an earlier start has measured in the same way; others are removed.

        Args:
            sequences: all that are to be measured.
            with_frames: whether one counts only if its frames are there, too: they leave as the last before the end.
        """
        described = self.folder / _DESCRIPTION
        found: dict[str, list[Scores]] = {}
        if hosts.is_first():
            content = _read_json(described)
            if content != self.description:
                self._remove_measured()
        hosts.wait_for_all("what an earlier evaluation has left")
        for name, _ in sequences:
            scores = _read_json(self._file(name))
            if isinstance(scores, list) and (not with_frames or (self.folder / FRAMES / name).is_dir()):
                found[name] = scores
        hosts.wait_for_all("what an earlier evaluation has left")
        if found and hosts.is_first():
            print(f"going on with {len(found)} of {len(sequences)} sequences measured: {self.folder}")
        return found

    def keep(self, name: str, scores: list[Scores]) -> None:
        """Writes the scores of a sequence."""
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Not before: what is refused at the first sequence leaves no folder behind.
        (self.folder / _DESCRIPTION).write_text(json.dumps(self.description))
        part = file.with_suffix(".part")
        part.write_text(json.dumps(scores))
        part.replace(file)

    def save_frame(self, name: str, index: int, shown: ShownFrame) -> None:
        """Writes a frame's three pictures."""
        for kind, picture in (("before", shown.before), ("restored", shown.restored), ("sharp", shown.sharp)):
            folder = self.folder / FRAMES / name / kind
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / f"{index:06d}.png", picture)

    def remove(self) -> None:
        """Removes the folder, if there is one."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_measured(self) -> None:
        """Removes all but the lock, which is held."""
        for name in (_DESCRIPTION, _SCORES, FRAMES):
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _remove_empty(self) -> None:
        """Removes the folder if there is nothing but the lock in it: what is refused leaves nothing behind."""
        if self.folder.is_dir() and {entry.name for entry in self.folder.iterdir()} <= {LOCK}:
            self.remove()

    def _file(self, name: str) -> Path:
        return self.folder / _SCORES / f"{name}.json"


def _read_json(path: Path) -> Any:
    """What a file holds; None if there is none, or half of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
