"""The model card of a network: front matter that hubs read, and what people want to know."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import yaml

from spikejax.errors import InputError
from spikejax.io.json_files import read_json
from spikejax.io.weights import Weights
from spikejax.models.traits import NetworkTraits
from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named
from spikejax.quality.score_files import SCORES_FILE
from spikejax.version import __version__

# As hubs write them: apache-2.0, cc-by-nc-4.0, mit.
_LICENSE = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
# What a hub calls a metric, where that is not its name here.
_METRIC_TYPES = {"psnr_y": "psnr", "ssim_y": "ssim"}


@dataclass(frozen=True)
class MeasuredScores:
    """What was measured of a network, as a card says it.

    Attributes:
        data: name of what it was measured on.
        how: in words.
        before: the mean of each metric of the frames that went in.
        after: of the restored frames.
    """

    data: str
    how: str
    before: Mapping[str, float]
    after: Mapping[str, float]


def read_scores(path: Path) -> MeasuredScores:
    """The scores that `spikejax evaluate` wrote.

    Args:
        path: its folder, or metrics.json in it.

    Raises:
        InputError: there are none.
    """
    file = path / SCORES_FILE if path.is_dir() else path
    content = read_json(file)
    total = None if content is None else content.get("total")
    if content is None or not isinstance(total, dict):
        raise InputError(f"expected the scores of spikejax evaluate, found none: {file}")
    # Names alone: where data lie on somebody's machine is nobody's business.
    named = (content.get(name) for name in ("test_set", "data", "sharp", "input"))
    data = next((os.path.basename(text.rstrip("/")) for text in named if isinstance(text, str) and text), "unknown")
    data += f", {content['split']}" if isinstance(content.get("split"), str) else ""
    how = f"{content.get('protocol', 'unknown')} protocol, mean over the sequences"
    return _scores(total, data=data, how=how)


def scores_in_workdir(workdir: Path, checkpoint: str) -> Path | None:
    """The newest folder in a workdir that `spikejax evaluate` wrote of a checkpoint, None if there is none.

    Measurements with other spikes than the data's own are passed over.
    """
    candidates = []
    for file in workdir.glob(f"*/{SCORES_FILE}"):
        try:
            content = read_json(file) or {}
        except InputError:  # nobody has asked for that file
            continue
        plain = content.get("threshold_factor") == 1 and content.get("noise") is None
        if content.get("checkpoint") == checkpoint and isinstance(content.get("total"), dict) and plain:
            candidates.append((file.stat().st_mtime_ns, file.parent))
    return max(candidates)[1] if candidates else None


def validation_scores(weights: Weights) -> MeasuredScores | None:
    """What the validation in training measured, None if it is unknown."""
    training = weights.training or {}
    validation = training.get("validation")
    if not isinstance(validation, dict) or not validation:
        return None
    source = (training.get("data") or {}).get("source", "unknown")
    return _scores(validation, data=f"{source}, validation split", how="by the validation in training")


def _scores(scores: Mapping[str, Any], *, data: str, how: str) -> MeasuredScores:
    numbers = {name: value for name, value in scores.items() if type(value) in (int, float) and math.isfinite(value)}
    before, after = (
        {name: numbers[f"{name}_{when}"] for name in measured_metrics(numbers) if f"{name}_{when}" in numbers}
        for when in (BEFORE, AFTER)
    )
    return MeasuredScores(data, how, before, after)


def check_license(name: str) -> str:
    """The name of a licence itself; raises InputError if it is none that a hub could know."""
    if not _LICENSE.fullmatch(name):
        raise InputError(f"--license: expected a name as hubs have it, such as apache-2.0, found {name!r}")
    return name


def task_of(traits: NetworkTraits) -> str:
    """What a network does, in words."""
    if traits.interpolates:
        return "video frame interpolation"
    if traits.upscale > 1:
        return f"video super-resolution x{traits.upscale}"
    return "video denoising" if traits.noise_level else "video deblurring"


@dataclass(frozen=True)
class ModelCard:
    """What a card says.

    Attributes:
        title: the network's name.
        weights: it has.
        traits: what it does.
        address: what `--network` takes to get it.
        scores: what was measured; None = nothing.
        license_name: what others may do with the weights, as hubs call it; None = nobody has said.
    """

    title: str
    weights: Weights
    traits: NetworkTraits
    address: str
    scores: MeasuredScores | None = None
    license_name: str | None = None

    def text(self) -> str:
        """The card, in Markdown."""
        front = yaml.safe_dump(self._front_matter(), sort_keys=False, allow_unicode=True)
        count = sum(int(leaf.size) for leaf in jax.tree.leaves(self.weights.params))
        spikes = " with the spikes of a spike camera" if self.traits.spike_bins is not None else ""
        blocks = [
            f"---\n{front}---",
            f"# {self.title}",
            f"A network for {task_of(self.traits)}{spikes}: {count:,} parameters, by spikejax {__version__} "
            "(JAX, Flax NNX).",
            f"```bash\n{self._command()}\n```",
            "## Trained on",
            self._training(),
            "## Measured",
            self._measured(),
            "## Licence",
            self.license_name or "Nobody has said.",
        ]
        return "\n\n".join(blocks) + "\n"

    def _front_matter(self) -> dict[str, Any]:
        task = task_of(self.traits)
        spikes = ["spike-camera"] if self.traits.spike_bins is not None else []
        tags = ["jax", "flax", "vrt", "video-restoration", task.replace(" ", "-"), *spikes]
        matter: dict[str, Any] = {"library_name": "spikejax"}
        if self.license_name is not None:
            matter["license"] = self.license_name
        matter |= {"pipeline_tag": "video-to-video", "tags": tags}
        if self.scores is None or not self.scores.after:
            return matter
        measured = [
            {"type": _METRIC_TYPES.get(name, name), "name": metric_named(name).title, "value": round(value, 4)}
            for name, value in self.scores.after.items()
        ]
        result = {
            "task": {"type": "video-to-video", "name": task},
            "dataset": {"type": self.scores.data, "name": self.scores.data},
            "metrics": measured,
        }
        matter["metrics"] = list(dict.fromkeys(metric["type"] for metric in measured))
        matter["model-index"] = [{"name": self.title, "results": [result]}]
        return matter

    def _command(self) -> str:
        spikes = " --spikes spike/" if self.traits.spike_bins is not None else ""
        sigma = " --sigma 20" if self.traits.noise_level else ""
        network = shlex.quote(self.address)
        return f"spikejax restore --network {network} --input blurry.mp4{spikes}{sigma} --output restored.mp4"

    def _training(self) -> str:
        training = self.weights.training or {}
        lines = [f"- {name}: `{json.dumps(value)}`" for name, value in training.items() if name != "validation"]
        if self.weights.statistics:
            lines.append(f"- statistics of log1p of the spikes' counts: `{json.dumps(self.weights.statistics)}`")
        return "\n".join(lines) or "Nobody has said."

    def _measured(self) -> str:
        scores = self.scores
        if scores is None or not scores.after:
            return "Nothing."
        rows = []
        for name, after in scores.after.items():
            metric = metric_named(name)
            before = metric.text(scores.before[name]) if name in scores.before else ""
            rows.append(f"| {metric.title}{metric.unit_text} | {before} | {metric.text(after)} |")
        table = "\n".join(["| metric | before | after |", "| --- | --- | --- |", *rows])
        return f"On {scores.data}, {scores.how}.\n\n{table}"
