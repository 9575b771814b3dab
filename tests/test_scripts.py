"""The launchers, as far as they run without a cluster: their syntax, what they would do, and one machine for real."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

SCRIPTS = Path(__file__).parents[1] / "scripts"
TRAINING = ["--config", "configs/quickstart.py", "--workdir", "/mnt/spikejax/a b", "--config.training.steps=5"]


def launch(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a launcher to its end."""
    return subprocess.run([SCRIPTS / name, *arguments], capture_output=True, text=True, check=False)


def dry_run(name: str, *arguments: str) -> str:
    """What a launcher would do."""
    done = launch(name, "--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell_words(line: str) -> list[str]:
    """A command line as the shell takes it apart; shlex does not know all of its quotes."""
    split = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    return split.stdout.split("\0")[:-1]


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.sh")))
def test_syntax(script: str) -> None:
    """Catches a script that the shell cannot read."""
    subprocess.run(["bash", "-n", SCRIPTS / script], check=True)


def test_dry_run_on_one_machine() -> None:
    """Catches arguments that fall apart at their blanks."""
    *_, command = dry_run("launch_train.sh", *TRAINING).splitlines()
    assert shlex.split(command) == ["python", "-m", "spikejax.train", *TRAINING]


def test_dry_run_for_slurm() -> None:
    """Catches a process too few or too many for the GPUs, and a job that is not queued again."""
    text = dry_run("launch_slurm.sh", "--nodes", "4", "--gpus", "8", "--partition", "gpu", "--", *TRAINING)
    submit, *job, end = text.splitlines()
    assert end == "JOB"
    options = shlex.split(submit.partition(" <<")[0])
    expected = {"sbatch", "--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu", "--requeue"}
    assert expected <= set(options)
    (step,) = (line for line in job if line.startswith("srun"))
    assert shlex.split(step.partition(" || ")[0])[3:] == ["python", "-m", "spikejax.train", *TRAINING]


@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, False),
        (130, 0, False),
        (143, 9, True),
        (134, 2, True),
        (137, 3, False),
        (4, 0, False),
        (5, 2, True),
        (5, 3, False),
    ],
)
def test_slurm_queues_again_what_can_go_on(tmp_path: Path, code: int, restarts: int, again: bool) -> None:
    """Catches a job that ends for good when a peer dies, and one that tries a mistake again and again."""
    for name, body in {"srun": f"exit {code}", "scontrol": f'echo "$*" >{tmp_path}/asked'}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    text = dry_run("launch_slurm.sh", "--nodes", "4", "--gpus", "8", "--restarts", "3", "--", *TRAINING)
    job = "\n".join(text.splitlines()[1:-1])
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    done = subprocess.run(["bash"], input=job, env=environment, text=True, check=False)
    assert done.returncode == code
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 7\n" if again else "")


def test_dry_run_for_a_tpu_vm() -> None:
    """Catches workers that are left out, and a command that the other side's shell cannot read."""
    where = ["--name", "pod", "--zone", "us-west4-a", "--type", "v5litepod-16", "--share", "10.0.0.2:/runs"]
    text = dry_run("launch_tpu_vm.sh", *where, "--spot", "--", *TRAINING)
    create, archive, copy, install, start = (shell_words(line) for line in text.splitlines())
    assert create[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "create", "pod"] and "--spot" in create
    assert archive[:2] == ["git", "-C"] and archive[3] == "archive"
    assert all("--worker=all" in command for command in (copy, install, start))
    remote = start[-1].removeprefix("--command=")
    subprocess.run(["bash", "-n"], input=remote, text=True, check=True)
    words = shlex.split(remote)
    assert words[words.index("scripts/launch_train.sh") + 1 :][: len(TRAINING)] == TRAINING


@pytest.mark.parametrize(
    ("state", "begins"), [("", "create"), ("PREEMPTED", "delete create"), ("STOPPED", "start"), ("READY", "")]
)
def test_a_tpu_vm_that_was_taken_away_is_made_anew(tmp_path: Path, state: str, begins: str) -> None:
    """Catches a second launch that copies to a machine which is no more, or makes one that is there."""
    gcloud = tmp_path / "gcloud"
    found = f"echo {state}" if state else "exit 1"
    gcloud.write_text(f'#!/usr/bin/env bash\necho "$4" >>{tmp_path}/calls\n[ "$4" != describe ] || {found}\n')
    gcloud.chmod(0o755)
    where = ["--name", "pod", "--zone", "us-west4-a", "--type", "v5litepod-16", "--share", "10.0.0.2:/runs"]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([SCRIPTS / "launch_tpu_vm.sh", *where, "--", *TRAINING], env=environment, check=True)
    assert (tmp_path / "calls").read_text().split() == ["describe", *begins.split(), "scp", "ssh", "ssh"]


def test_dry_run_for_gke() -> None:
    """Catches a manifest that is no YAML, a wrong number of hosts, and arguments with another meaning in YAML."""
    where = ["--name", "deblur", "--image", "repo/spikejax:1", "--topology", "v5e:4x4", "--claim", "runs"]
    manifest = yaml.safe_load(dry_run("launch_gke.sh", *where, "--", *TRAINING, '--config.data.root="\\yes: no'))
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("JobSet", "deblur")
    (job,) = manifest["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert (spec["parallelism"], spec["completions"]) == (4, 4)
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == "tpu-v5-lite-podslice"
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "4x4"
    (container,) = pod["containers"]
    assert container["command"][:3] == ["python", "-m", "spikejax.train"]
    assert container["command"][-len(TRAINING) - 1 :] == [*TRAINING, '--config.data.root="\\yes: no']
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2, 4]}
    assert container["resources"]["limits"]["google.com/tpu"] == 4
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "runs"


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("launch_train.sh", ["--config", "a.py"], "expected --config FILE and --workdir DIR"),
        ("launch_train.sh", ["--restarts", "often"], "--restarts: expected a whole number"),
        ("launch_slurm.sh", ["--gpus", "8", "--", *TRAINING], "--nodes: expected a whole number"),
        ("launch_slurm.sh", ["--gpus"], "--gpus needs a value"),
        ("launch_tpu_vm.sh", ["--name", "pod", "--", *TRAINING], "--zone is needed"),
        ("launch_gke.sh", ["--nmae", "pod"], "unknown option --nmae"),
        (
            "launch_gke.sh",
            ["--name", "a", "--image", "i", "--claim", "c", "--topology", "v5e:3x3", "--", *TRAINING],
            "4 does not divide the 9 chips of v5e:3x3",
        ),
        (
            "launch_gke.sh",
            ["--name", "a", "--image", "i", "--claim", "c", "--topology", "v5p:4x4", "--", *TRAINING],
            "expected KIND:SIZE such as v5e:4x4 or v5p:2x2x4, got v5p:4x4",
        ),
    ],
)
def test_wrong_arguments(script: str, arguments: list[str], told: str) -> None:
    """Catches a launcher that goes on with what it did not understand."""
    done = launch(script, "--dry-run", *arguments)
    assert done.returncode == 2
    assert f"{script}: error: " in done.stderr.splitlines()[-1] and told in done.stderr.splitlines()[-1]


def start(tmp_path: Path, stub: str, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """Starts launch_train.sh with a shell script in the place of Python."""
    python = tmp_path / "python"
    python.write_text(f"#!/usr/bin/env bash\n{stub}\n")
    python.chmod(0o755)
    arguments = [*options, "--config", "c.py", "--workdir", str(tmp_path / "run")]
    return subprocess.Popen(
        [SCRIPTS / "launch_train.sh", *arguments],
        env=os.environ | {"PYTHON": str(python), "RESTART_SECONDS": "0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(("code", "runs"), [(0, 1), (2, 1), (4, 1), (143, 1), (1, 3), (5, 3), (134, 3)])
def test_crashes_are_restarted(tmp_path: Path, code: int, runs: int) -> None:
    """Catches a crash that ends the run, and an end or a mistake that is tried again."""
    process = start(tmp_path, f'echo "$*" >>{tmp_path}/calls; echo seen; exit {code}', "--restarts", "2")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"-m spikejax.train --config c.py --workdir {tmp_path}/run"] * runs
    assert (tmp_path / "run" / "train.log").read_text().count("seen") == runs
    assert ("2 restart(s) used up" in output) == (runs > 1)


def test_a_signal_is_waited_for(tmp_path: Path) -> None:
    """Catches training that is left behind, or cut off while it saves."""
    stub = f"trap 'sleep 0.5; echo saved; exit 143' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"
    process = start(tmp_path, stub)
    deadline = time.monotonic() + 60
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "saved" in output


def test_a_signal_between_two_attempts_ends_it(tmp_path: Path) -> None:
    """Catches a launcher that starts training again after it was told to end."""
    process = start(tmp_path, f"echo run >>{tmp_path}/calls; exit 1", RESTART_SECONDS="600")
    deadline = time.monotonic() + 60
    assert process.stdout is not None
    while "restart 1 of 10" not in process.stdout.readline():
        assert time.monotonic() < deadline
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert (tmp_path / "calls").read_text() == "run\n"
