"""The files of a workdir, and whether a configuration may go on with the run that lies in it.

WORKDIR/config.json               the configuration
WORKDIR/statistics.json           mean and std that standardise the voxels, if the network takes spikes
WORKDIR/metrics.jsonl             every number that is logged, see `spikejax.training.monitoring.metrics_log`
WORKDIR/goodput.json              what the time of the run went to, see `spikejax.training.monitoring.goodput`
WORKDIR/checkpoints/last/STEP       parameters, optimizer, position of the data: what continuing needs
WORKDIR/checkpoints/best_psnr/STEP  parameters and metrics of the best validation: what restoring needs
WORKDIR/not_finite/STEP             as `last`, of the update whose loss or gradient was not finite
WORKDIR/stalled/TIME_process_N.txt  what the threads of a host did when no host got on, see --stall-seconds
"""

import contextlib
import secrets
import tempfile
from pathlib import Path

from ml_collections import ConfigDict

from spikejax.config.files import differences, read_saved_config, whole_steps
from spikejax.config.keys import KEYS
from spikejax.distributed import hosts
from spikejax.errors import InputError, one_line
from spikejax.io.alone import LOCK, working_alone
from spikejax.io.paths import AnyPath, UserPath, user_path
from spikejax.io.weights import SUFFIX, holds_weights

CONFIG_FILE = "config.json"
STATISTICS_FILE = "statistics.json"
CHECKPOINTS = "checkpoints"
# The metric that the best checkpoint is chosen by; higher is better.
BEST_BY = "psnr"
LAST, BEST = "last", f"best_{BEST_BY}"
NOT_FINITE = "not_finite"
STALLED = "stalled"


def is_workdir(path: UserPath) -> bool:
    """Whether a path stands for a workdir, which need not be there; else it stands for weights outside of runs."""
    if (path / CONFIG_FILE).is_file() and (not holds_weights(path) or (path / CHECKPOINTS).is_dir()):
        return True  # a folder for a hub has a config.json, too, and weights may lie in a workdir
    return not (path.is_file() or path.suffix == SUFFIX or holds_weights(path))


def check_is_no_file(workdir: Path) -> None:
    """Raises InputError for a folder that cannot be one, as a file has its name, or that of a folder around it."""
    nearest = _nearest_there(workdir)
    if not nearest.is_dir():
        raise InputError(f"--workdir: expected a folder, found a file: {nearest}")


def check_writable(workdir: UserPath) -> None:
    """Raises InputError where there cannot be a run's folder, or nothing can be written to it; leaves nothing there."""
    if not isinstance(workdir, Path):
        _check_bucket_writable(workdir)
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".spikejax_", dir=_nearest_there(workdir)):
            pass
    except OSError as error:
        raise InputError(f"expected a folder to write to, found {error.strerror or error}: {workdir}") from error


def _nearest_there(path: Path) -> Path:
    """The path, or the nearest of those around it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _check_bucket_writable(folder: UserPath) -> None:
    probe = folder / f".spikejax_{secrets.token_hex(4)}"
    try:
        probe.write_text("")
        probe.unlink()
    except Exception as error:  # of permissions, of networks: each layer below has classes of its own
        raise InputError(f"expected a folder to write to, found {one_line(error)}: {folder}") from error


def hold_alone(held: contextlib.ExitStack, workdir: UserPath) -> None:
    """Keeps other runs out of a workdir until `held` ends; the first of many hosts does so for all.

    Raises:
        InputError: another run is at work there.
    """
    with hosts.failing_together():
        if hosts.is_first() and isinstance(workdir, Path):  # a bucket has no locks
            held.enter_context(working_alone(workdir / LOCK, workdir))


def check_workdir(workdir: AnyPath, config: ConfigDict, *, allow_changes: bool = False) -> list[str]:
    """How `config` differs from that of the run whose checkpoints a workdir holds.

    What cannot change the run's numbers does not count, see `harmless` in `spikejax.config.keys`: the mesh, the number
    of workers, how often is logged, saved and validated, and what is measured then.

    Args:
        workdir: the run's folder.
        config: what is about to be trained there.
        allow_changes: whether it may differ.

    Raises:
        InputError: it may not and does; the message says in what.
    """
    workdir = user_path(workdir)
    if not any(whole_steps(workdir / CHECKPOINTS / kind) for kind in (LAST, BEST)):
        return []  # nothing to continue from, whatever a run that came to nothing has left
    changed = [
        change
        for change in differences(read_saved_config(workdir / CONFIG_FILE, trust_code=True), config)
        if not KEYS[change.partition(":")[0]].harmless
    ]
    if changed and not allow_changes:
        raise InputError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); choose another --workdir, "
            "the configuration it was started with, or --allow-config-changes"
        )
    return changed
