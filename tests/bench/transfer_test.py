"""`bench transfer` on small models: what it reports must be true at any size."""

import json

import pytest

from mobilebert_jax.bench import transfer
from mobilebert_jax.bench.transfer import (
    WAYS,
    bench_transfer,
    checked_ways,
    print_stage,
    print_sums,
    relative_error,
)
from mobilebert_jax.bench.transfer_at_once import UPDATES, at_once
from mobilebert_jax.cli.main import main
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields
from mobilebert_jax.utils.errors import UserError
from tests.training.quick import quick_jit


@pytest.fixture(scope="module")
def config():
    config = default_config()
    config.model.teacher = model_fields(ModelConfig.test_teacher())
    config.model.student = model_fields(ModelConfig.test_student())
    config.data.vocab_size = 67
    return config


@pytest.fixture(scope="module")
def report(config):
    with pytest.MonkeyPatch.context() as patched:
        made = transfer.make_step
        quick = lambda *given, **named: quick_jit(made(*given, **named).__wrapped__, donate_argnums=0)  # noqa: E731
        patched.setattr(transfer, "make_step", quick)
        return bench_transfer(config, batch_size=2, sequence_length=12, repeats=1)


def test_ways_can_be_left_out_but_not_the_two_that_are_compared():
    assert checked_ways(("whole",)) == ("ours", "reference", "whole")
    with pytest.raises(UserError, match="'theirs'"):
        checked_ways(("theirs",))


def test_every_stage_is_timed_in_every_way(report):
    assert [row["stage"] for row in report["stages"]] == [0, 1, 2]
    assert all(row[way] > 0 for row in report["stages"] for way in WAYS)
    assert report["sums"]["ours"] == pytest.approx(sum(row["ours"] for row in report["stages"]))


def test_ours_makes_the_references_step(report):
    for row in report["stages"]:
        assert row["loss_error"] < 1e-5
        assert row["gradient_error"] < 1e-5
        assert row["parameter_error"] < 1e-5


def test_all_stages_share_one_compilation_and_slots_exist_for_one_block_only(report):
    assert report["compilations"] == {"ours": 1, "soft": 1, "local": 1}
    assert report["memory"]["reference"]["slot_bytes"] == 3 * report["memory"]["ours"]["slot_bytes"]


def test_all_blocks_at_once_are_compared_with_every_stage_and_with_joint_steps(report):
    found, rows = report["at_once"], report["stages"]
    assert found["progressive_over_local"] == pytest.approx(report["sums"]["ours"] / found["local"])
    assert min(row["local"] for row in rows) <= found["local"] <= max(row["local"] for row in rows)
    assert found["local_over_joint"] in [row["local"] / row["whole"] for row in rows]
    assert found["update_over_local"] in [row["local_4"] / UPDATES / row["local"] for row in rows]
    assert found["update"] in [row["local_4"] / UPDATES for row in rows]
    assert report["memory"]["local"]["temporary_bytes"] < report["memory"]["whole"]["temporary_bytes"]
    assert at_once([{"ours": 1.0}]) == {}


def test_the_report_is_json_and_prints_a_row_a_stage(report, capsys):
    json.dumps(report)
    for row in report["stages"]:
        print_stage(row)
    print_sums(report)
    assert sum(line.strip()[:1] in "012" for line in capsys.readouterr().out.splitlines() if line.strip()) == 3


def test_relative_error_is_zero_for_equal_trees_and_scale_free():
    assert relative_error({"a": 3.0}, {"a": 3.0}) == 0
    assert relative_error({"a": 2.02}, {"a": 2.0}) == pytest.approx(0.01, rel=1e-3)


def test_an_unknown_benchmark_is_refused_in_one_line(capsys):
    assert main(["bench", "nothing"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
