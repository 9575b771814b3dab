"""Experiments as their files say them, and what is wrong with those that cannot be run."""

from pathlib import Path
from typing import Any

import pytest

from spikejax.errors import InputError
from spikejax.experiments.spec import Acceptance, Evaluation, Variant, read_experiment
from tests.experiments.toy import VARIANTS, write_toy

WHOLE: dict[str, Any] = dict(
    base="quickstart",
    variants=dict(a=dict(overrides=("data.frames=3",)), b=dict(seeds=3)),
    evaluations=dict(one=dict(threshold_factor=2), two=dict(dark_rate=0.1)),
)


def write(folder: Path, content: dict[str, Any]) -> str:
    """The file of an experiment."""
    path = folder / "mine.py"
    path.write_text(f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({content!r})\n")
    return str(path)


def test_an_experiment_is_what_its_file_says(tmp_path: Path) -> None:
    """Catches entries that are read and not used, defaults that differ, and changes in another form than training's."""
    experiment = read_experiment(write(tmp_path, WHOLE | {"seeds": 2, "acceptance": dict(variant="b", reference="a")}))
    assert experiment.variants == {"a": Variant(("--config.data.frames=3",), 2), "b": Variant((), 3)}
    assert experiment.evaluations["one"] == Evaluation(threshold_factor=2.0)
    assert experiment.evaluations["one"].noise is None and experiment.evaluations["two"].noise is not None
    assert experiment.acceptance == Acceptance("b", "a", 0.0, "one")
    assert (experiment.metric, experiment.pictures.columns, experiment.pictures.evaluation) == (
        "psnr",
        ("input", "a", "b", "sharp"),
        "one",
    )
    assert experiment.title == "mine"
    toy = read_experiment(str(write_toy(tmp_path)))
    assert tuple(toy.variants) == VARIANTS and toy.pictures.columns == ("input", *VARIANTS, "sharp")


def test_the_package_has_experiments_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a bare name that is found in a checkout's folder alone, and names of configurations taken for them."""
    monkeypatch.chdir(tmp_path)
    small, gopro = read_experiment("spikes_pay"), read_experiment("spikes_pay:gopro")
    assert small.variants.keys() == gopro.variants.keys()
    assert (small.base, gopro.base) == ("quickstart", "spike:baseline")
    assert list(small.evaluations) == ["theta1", "theta2", "theta4", "noise"]
    assert small.acceptance is not None and small.acceptance.margin == 0.05
    with pytest.raises(InputError, match="one of spikes_pay or a file FILE.py, found 'quickstart'"):
        read_experiment("quickstart")


def test_order_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    """Catches a table whose rows come by their names although the file says otherwise."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config():\n"
        "    variants = ConfigDict(dict(z=dict(), a=dict()), sort_keys=False)\n"
        "    return ConfigDict(dict(base='quickstart', variants=variants))\n"
    )
    experiment = read_experiment(str(path))
    assert list(experiment.variants) == ["z", "a"]
    assert list(experiment.evaluations) == ["clean"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": {}}, r'there is no entry "variant"; did you mean \'variants\'\?'),
        ({"variants": {}}, "variants: expected at least one, by name, found"),
        ({"variants": {"a/b": {}}}, "variants: expected names of letters, digits and _\\+-, found 'a/b'"),
        ({"variants": {"a": {}, "A": {}}}, "variants: expected names that differ by more than capitals, found A, a"),
        ({"variants": {"a": 3}}, r"variants.a: expected dict\(...\), found 3"),
        ({"variants": {"a": {"override": ()}}}, "no entry \"variants.a.override\"; did you mean 'overrides'"),
        ({"variants": {"a": {"overrides": "x=1"}}}, "variants.a.overrides: expected texts such as"),
        ({"variants": {"a": {"seeds": 0}}}, "variants.a.seeds: expected a whole number from 1 to 1000, found 0"),
        ({"seeds": True}, "seeds: expected a whole number from 1 to 1000, found True"),
        ({"base": 3}, "base: expected a text, found 3"),
        (
            {"evaluations": {"a": {"threshold_factor": 0.5}}},
            "a: threshold_factor: expected a number from 1",
        ),
        ({"evaluations": {"a": {"threshold_factor": "2"}}}, "evaluations.a.threshold_factor: expected a number, found"),
        (
            {"evaluations": {"a": {"dark_rate": 2}}},
            "evaluations.a: dark_rate: expected spikes a step from 0 to below 1, found 2",
        ),
        ({"evaluations": {"a": {"data": "nowhere"}}}, "evaluations.a: data: expected a folder, found none: nowhere"),
        ({"evaluations": {"a": {"data": "/", "dark_rate": 0.1}}}, "data: expected none with the noise"),
        ({"evaluations": {"a": {"frames": 1}}}, "frames: expected 0 or a whole number from 2, found 1"),
        ({"acceptance": {"variant": "a"}}, "acceptance.reference: expected str, found none"),
        ({"acceptance": {"variant": "a", "reference": "c"}}, "acceptance.reference: expected one of a, b, found 'c'"),
        (
            {"acceptance": {"variant": "a", "reference": "b", "margin": -1}},
            "margin: expected a number from 0",
        ),
        ({"acceptance": {"variant": "a", "reference": "b", "evaluation": "x"}}, "expected one of one, two, found 'x'"),
        ({"pictures": {"columns": ("inptu",)}}, "pictures.columns: .*found 'inptu'; did you mean 'input'?"),
        ({"pictures": {"sequences": -1}}, "pictures.sequences: expected a whole number from 0, found -1"),
    ],
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Catches a mistake that is found after hours, in a traceback, or not at all."""
    path = write(tmp_path, WHOLE | changes)
    with pytest.raises(InputError, match=message) as caught:
        read_experiment(path)
    assert str(caught.value).endswith(f": {path}") and "\n" not in str(caught.value)


def test_evaluation_ignores_nothing(tmp_path: Path) -> None:
    """Catches an acceptance rule or pictures at the first evaluation although another one is named."""
    acceptance = dict(variant="a", reference="b", margin=1, evaluation="two")
    experiment = read_experiment(
        write(tmp_path, WHOLE | {"acceptance": acceptance, "pictures": dict(evaluation="two", columns=["a"])})
    )
    assert experiment.acceptance == Acceptance("a", "b", 1.0, "two")
    assert (experiment.pictures.evaluation, experiment.pictures.columns) == ("two", ("a",))
