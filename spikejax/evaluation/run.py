"""An evaluation from options to files: sequence by sequence, so that one that was stopped goes on; on all hosts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax

from spikejax.compile_cache import use_compile_cache
from spikejax.config.networks import Tiles, published_alike
from spikejax.data.datasets.paired_folders import InputRule, PairedFolders
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.evaluation.options import EvaluationOptions
from spikejax.evaluation.partial import FRAMES, PartialEvaluation, Scores
from spikejax.hub.resolving import resolve_network
from spikejax.inference.precision import check_precision
from spikejax.inference.restored_stream import StreamSettings
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.contents import contents_of
from spikejax.io.disk_space import full_disk_named
from spikejax.io.paths import as_path, user_path
from spikejax.models.traits import NetworkTraits
from spikejax.progress import Progress
from spikejax.quality.metrics import AFTER, METRICS, Measure, open_all_metrics
from spikejax.quality.score_files import check_score_folder, mean_over_frames, mean_scores, write_score_folder
from spikejax.training.inputs import data_root, embedded_data
from spikejax.training.measure_split import TrainedNetwork, load_trained, open_split
from spikejax.training.validation import HostShare, ScoreTable, SequenceRestorer, Sequences, middle_up_to
from spikejax.training.workdir import is_workdir

_VIMEO = "Vimeo-90K-T"
# Of the 8 frames that Vimeo's septuplets of super-resolution are lengthened to, the one that counts.
_COUNTED_OF_VIMEO = slice(3, 4)
_WORDS = {
    "psnr": "PSNR: {:.2f} dB",
    "ssim": "SSIM: {:.4f}",
    "psnr_y": "PSNR_Y: {:.2f} dB",
    "ssim_y": "SSIM_Y: {:.4f}",
}


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured.

    Attributes:
        header: what was measured, on what and how.
        frames: the scores of every frame that counts, by sequence.
    """

    header: Mapping[str, Any]
    frames: Mapping[str, Sequence[Scores]]

    @property
    def clips(self) -> dict[str, Scores]:
        """The mean over each sequence's frames."""
        return {name: mean_scores(scores) for name, scores in self.frames.items()}

    @property
    def mean_over_sequences(self) -> Scores:
        """The total as the published evaluation states it: the mean over the sequences' means."""
        return mean_scores(list(self.clips.values()))

    @property
    def mean_over_frames(self) -> Scores:
        """The total as others state it; another one where sequences differ in length."""
        return mean_over_frames(self.frames)


def evaluate(options: EvaluationOptions) -> Evaluation:
    """Measures a network and writes the scores; all hosts have to come here.

    Raises:
        InputError: the options, the network and the data do not fit together.
    """
    output = Path(options.output)
    options.check_one_tile()
    check_score_folder(output, overwrite=options.overwrite)
    network = resolve_network(options.network, accept_license=options.accept_license)
    path = user_path(network, what="--network")
    if options.data is None and options.sharp is None and not is_workdir(path):
        raise InputError(
            f"expected --data or --sharp with weights, which name no data to measure on, found none: {path}"
        )
    use_compile_cache(options.compile_cache, apart_from=[path, options.lpips])
    trained = load_trained(
        path,
        which=options.which,
        dtype=options.dtype,
        precision=check_precision(options.precision),
        statistics=options.statistics,
        trust_code=options.trust_code,
    )
    options = with_test_set(options, trained.traits)
    dataset, where = _open_data(options, trained)
    settings = _settings(options, trained, dataset)
    header = _header(options, trained, settings, where, dataset)
    measured = options.decisive | _contents(options, where) | {"parameters": trained.restorer.fingerprint()}
    work = PartialEvaluation(output, measured)
    counted = 0 if options.sharp is not None else middle_up_to(trained.config)
    restorer = SequenceRestorer(trained.restorer.network, settings, counted)
    measures = _metrics(options, trained)
    with work.alone(), full_disk_named(output):
        frames = _measure(options, restorer, dataset, work, measures)
        if hosts.is_first():
            extra = {FRAMES: work.folder / FRAMES} if options.save_frames else {}
            write_score_folder(output, frames, header=header, overwrite=options.overwrite, extra=extra)
            work.remove()
    evaluation = Evaluation(header, frames)
    hosts.wait_for_all("the end of the evaluation")
    return evaluation


def with_test_set(options: EvaluationOptions, traits: NetworkTraits) -> EvaluationOptions:
    """The options with the published test set, and its tile and overlap, if it is one.

    As in the published program, pictures below a folder called "vimeo" are Vimeo-90K-T.

    Raises:
        InputError: no published network of this kind was evaluated on that test set.
    """
    if options.protocol != "published":
        return options
    alike = published_alike(
        upscale=traits.upscale, interpolates=traits.interpolates, noise_level=traits.noise_level
    ).values()
    tiles: dict[str, Tiles] = {}
    for entry in alike:
        tiles = {**entry.test_sets, **tiles}
    test_set = options.test_set
    if test_set is None and _VIMEO in tiles and options.tile is None and "vimeo" in str(options.sharp).lower():
        test_set = _VIMEO
    if test_set is None:
        return options
    if test_set not in tiles:
        raise InputError(
            f"expected --test-set, one of {', '.join(tiles) or 'none for such a network'}, found {test_set!r}"
        )
    own = tiles[test_set]
    return replace(options, test_set=test_set, tile=Extent(*own.tile), overlap=options.overlap or Extent(*own.overlap))


def _open_data(options: EvaluationOptions, trained: TrainedNetwork) -> tuple[Any, dict[str, str]]:
    """The sequences that are measured, and where they are."""
    traits, sigma = trained.traits, options.sigma
    if options.sharp is not None:
        if traits.spike_bins is not None:
            raise InputError(
                f"expected --data, whose sequences have spikes, for a network that takes them: {trained.path}"
            )
        traits.check_sigma(sigma)
        rule = InputRule(traits.upscale, traits.window if traits.interpolates else None, sigma)
        dataset = PairedFolders(options.sharp, options.input, rule)
        _print_notes(dataset.notes)
        return dataset, {"input": options.input or "made of the sharp pictures", "sharp": options.sharp}
    if traits.spike_bins is None and (options.filmed_again or options.threshold_factor != 1):
        raise InputError(f"expected a network that takes spikes for another spike camera, found none: {trained.path}")
    config = trained.config
    if traits.noise_level and sigma is not None:
        with config.unlocked():
            config.validation.noise_sigma = float(sigma)
    elif sigma is not None:
        traits.check_sigma(sigma)
    source = "folder" if options.data else config.data.source
    if options.filmed_again:
        root = embedded_data(config, disk_folder(trained.path) / "noisy_data", options.noise)
    else:
        root = as_path(options.data) if options.data else data_root(config, disk_folder(trained.path))
    split = open_split(trained, root, options.split, source=source, threshold_factor=options.threshold_factor)
    _print_notes(split.spike_sizes)
    return split, {"data": str(root), "split": options.split}


def _contents(options: EvaluationOptions, where: Mapping[str, str]) -> dict[str, str]:
    """What is read, by its contents: scores of pictures that were replaced since do not count."""
    read = {name: getattr(options, name) for name in ("input", "sharp", "lpips", "statistics")}
    contents = {name: contents_of(user_path(path)) for name, path in read.items() if path is not None}
    if "data" in where and (split := as_path(where["data"]) / options.split).exists():
        contents["data"] = contents_of(split)
    return contents


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes if hosts.is_first() else ():
        print(f"spikejax: note: {note}", file=sys.stderr)


def _settings(options: EvaluationOptions, trained: TrainedNetwork, dataset: Any) -> StreamSettings:
    restorer = trained.restorer
    if options.sharp is None:
        own = trained.validator(dataset, frames=options.frames).settings
    else:
        own = restorer.settings(RestoreSettings(sigma=options.sigma))
    tile, overlap = own.tile, own.overlap
    if options.protocol == "published" or (options.sharp is not None and not is_workdir(trained.path)):
        tile, overlap = restorer.tile, restorer.overlap
    if options.frames is not None:
        tile = replace(tile, frames=options.frames)
    tile = options.tile or tile
    overlap = options.overlap or (restorer.overlap_of(tile) if options.tile else overlap)
    return restorer.settings(
        RestoreSettings(
            tile=tile,
            overlap=overlap,
            sigma=own.sigma,
            devices=options.space or options.devices,
            space=options.space is not None,
            protocol=options.protocol,
        )
    )


def _metrics(options: EvaluationOptions, trained: TrainedNetwork) -> dict[str, Measure]:
    """What is measured: what the options name, or else what validation in training measures, and what flickers."""
    validation = trained.config.validation
    over_time = [name for name, entry in METRICS.items() if entry.over_time]
    names = options.metrics or (*validation.metrics, *over_time)
    weights = {"lpips": options.lpips or validation.lpips_weights_file}
    return open_all_metrics(names, key="--metrics", weights=weights)


def _header(
    options: EvaluationOptions, trained: TrainedNetwork, settings: StreamSettings, where: dict[str, str], dataset: Any
) -> dict[str, Any]:
    return {
        "network": str(trained.path),
        "checkpoint": trained.checkpoint,
        **where,
        "threshold_factor": options.threshold_factor,
        "noise": asdict(options.noise) if options.filmed_again else None,
        "sigma": settings.sigma,
        "protocol": settings.protocol,
        "test_set": options.test_set,
        "tile": list(settings.tile.shape),
        "overlap": list(settings.overlap.shape),
        "unused": [f"{drop.sequence} {drop.frame}: {drop.reason}" for drop in dataset.dropped],
    }


def _measure(
    options: EvaluationOptions,
    restorer: SequenceRestorer,
    dataset: Sequences,
    work: PartialEvaluation,
    measures: Mapping[str, Measure],
) -> dict[str, list[Scores]]:
    """The scores of every frame that counts, by sequence; those of an earlier start are read."""
    hosts.check_same(json.dumps(work.description), "options, network and data")
    sequences = dataset.sequences()[: options.sequences or None]
    vimeo = options.test_set == _VIMEO and restorer.network.traits.upscale > 1
    share = HostShare(jax.process_index(), jax.process_count(), hosts.sum_over_hosts)
    done = work.done(sequences, with_frames=options.save_frames)
    left = sum(length for name, length in sequences if name not in done)
    progress = Progress("evaluating", total=left, unit="frame") if hosts.is_first() else None
    for number, (name, length) in enumerate(sequences, 1):
        if name not in done:
            counted = _COUNTED_OF_VIMEO if vimeo else restorer.counted(length)
            table = ScoreTable(length, measures, share)
            for index, shown in enumerate(restorer.restore(dataset, name, length)):
                table.add(index, shown)
                if options.save_frames and index in range(length)[counted] and hosts.is_first():
                    work.save_frame(name, index, shown)
                if progress is not None:
                    progress.advance()
            done[name] = table.scores(counted)
            if hosts.is_first():
                work.keep(name, done[name])
        if hosts.is_first():
            print(f"Testing {name:20s} ({number:2d}/{len(sequences)}) - {published_words(mean_scores(done[name]))}")
    if progress is not None:
        progress.finish()
    return {name: done[name] for name, _ in sequences}


def published_words(scores: Mapping[str, float]) -> str:
    """The four figures in the words of the published program, those that were measured."""
    return "; ".join(
        text.format(scores[f"{name}_{AFTER}"]) for name, text in _WORDS.items() if f"{name}_{AFTER}" in scores
    )
