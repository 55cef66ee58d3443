import json
import statistics

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.repeats import parse_grid, repeats, run_repeats
from mobilebert_jax.utils.errors import UserError


def tuned(calls):
    """A fine-tuning whose scores follow from its settings, and whose model says where it is from."""

    def tune(config, folder):
        calls.append(folder.name)
        figure = config.finetune.batch_size + config.seed + 1e5 * config.finetune.optimizer.learning_rate
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "config.json").write_text(folder.name)
        (folder / "model" / "model.safetensors").write_text("")
        return {"task": "rte", "score": figure, "student": {"accuracy": figure}, "baselines": {}}

    return tune


def test_a_grid_is_every_point_and_the_paper_s_has_270():
    assert parse_grid("") == [()]
    assert parse_grid("batch_size=16,32;epochs=3") == [
        (("batch_size", 16), ("epochs", 3.0)),
        (("batch_size", 32), ("epochs", 3.0)),
    ]
    assert len(parse_grid("paper")) == 270


@pytest.mark.parametrize(
    ("sweep", "message"),
    [("rate=1", "'rate' is none of batch_size, learning_rate, epochs"), ("batch_size=1.5", "batch_size=1.5: numbers")],
)
def test_a_grid_of_something_else_is_refused(sweep, message):
    with pytest.raises(UserError, match=message):
        parse_grid(sweep)
    with pytest.raises(UserError, match="--seeds=0"):
        repeats(load_config("glue:rte", []), 0, "")


def test_means_and_deviations_go_over_seeds_and_the_best_model_is_kept(tmp_path):
    config, calls = load_config("glue:rte", ["seed=3"]), []
    wanted = repeats(config, 3, "batch_size=16,32;learning_rate=1e-5")
    report = run_repeats(tuned(calls), config, wanted, tmp_path)
    assert calls[0] == "batch_size=16,learning_rate=1e-05,seed=3" and len(calls) == 6
    assert report["best"] == "batch_size=32,learning_rate=1e-05,seed=5" and report["seeds"] == [3, 4, 5]
    best, other = report["points"]
    assert best["settings"] == {"batch_size": 32, "learning_rate": 1e-5}
    assert best["values"] == [36.0, 37.0, 38.0] and other["mean"] == 21.0
    assert best["deviation"] == statistics.stdev([36.0, 37.0, 38.0]) == best["student"]["accuracy"]["deviation"]
    assert (tmp_path / "model" / "config.json").read_text() == report["best"]
    assert json.loads((tmp_path / "results.json").read_text()) == report
    assert config.finetune.batch_size == 16 and config.seed == 3


def test_one_seed_has_no_deviation(tmp_path):
    config = load_config("glue:rte", [])
    report = run_repeats(tuned([]), config, repeats(config, 1, ""), tmp_path)
    assert report["points"][0]["deviation"] == 0.0 and report["best"] == "seed=0"


def test_the_folder_of_a_single_run_and_an_address_are_refused(tmp_path):
    config = load_config("glue:rte", [])
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match="the folder of a single run; several need another --workdir"):
        run_repeats(tuned([]), config, repeats(config, 2, ""), tmp_path)
    with pytest.raises(UserError, match="need a folder of this machine"):
        run_repeats(tuned([]), config, repeats(config, 2, ""), "gs://bucket/run")
