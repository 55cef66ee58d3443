import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import mobilebert_jax as mb
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.time_spent import read_time, summed
from tests.recipes.tiny_run import BOUNDARY, STEPS

PHASES = list(STEPS)


def heldout_figures(workdir, phase):
    return [line["heldout"] for line in read_metrics(workdir / phase / "metrics.jsonl") if "heldout" in line]


def test_every_phase_logs_its_steps_and_its_held_out_figures(finished_run):
    for phase in PHASES:
        lines = [line for line in read_metrics(finished_run / phase / "metrics.jsonl") if "heldout" not in line]
        assert [line["step"] for line in lines] == list(range(1, STEPS[phase] + 1))
        assert all(np.isfinite(line["grad_norm"]) for line in lines)
    for phase in PHASES[:3]:
        assert heldout_figures(finished_run, phase)


def test_transfer_trains_one_block_after_the_other(finished_run):
    lines = read_metrics(finished_run / "transfer" / "metrics.jsonl")
    stages = [(line["step"], line["stage"]) for line in lines if "stage" in line]
    assert all(stage == ("block 0" if step <= BOUNDARY else "block 1") for step, stage in stages)
    first, last = (heldout_figures(finished_run, "transfer")[index] for index in (0, -1))
    assert all(np.less(last["hidden"], first["hidden"]))


def test_the_finished_folders_hold_models_with_their_tokenizers(finished_run):
    for folder, head in (("teacher/model", "pretraining"), ("distill/model", "pretraining"), ("model", "qa")):
        model, params = mb.from_pretrained(finished_run / folder, head=head)
        assert model.cfg.num_hidden_layers == 2
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
        assert (finished_run / folder / "tokenizer.json").is_file()
    same = [load_file(finished_run / place / "model.safetensors") for place in ("model", "finetune/model")]
    assert all(np.array_equal(same[0][name], same[1][name]) for name in same[0])


def test_the_finished_student_answers(finished_run):
    answerer = mb.QuestionAnswerer.from_pretrained(finished_run / "model", threshold=np.inf)
    passage = "A cat sat on the mat. Dogs were running."
    answers = answerer.find_answers("what was first?", passage)
    assert answers
    assert all(found.text == passage[found.start : found.end] for found in answers)


def test_results_compare_the_student_with_baselines(finished_run):
    results = json.loads((finished_run / "finetune" / "results.json").read_text())
    assert results["questions"] == 4
    assert results["baselines"]["no_answer"]["exact"] == 50
    assert results["baselines"]["first_sentence"]["HasAns_f1"] == 100
    assert {"exact", "f1", "HasAns_f1", "NoAns_f1", "best_f1"} <= results["student"].keys()
    assert 0 <= results["student"]["f1"] <= results["student"]["best_f1"] <= 100


def test_a_terminal_less_run_prints_plain_lines_and_nothing_else(finished_run, tiny_run):
    lines = (tiny_run.folder / "stderr").read_text().splitlines()
    strange = [line for line in lines[:-1] if line.split()[0] not in (*PHASES, "training")]
    assert not strange
    assert re.match(r"time 0\d:\d\d: init \d+\.\d%, ", lines[-1])
    assert f"transfer step {BOUNDARY}/{STEPS['transfer']} block 0:" in "\n".join(lines)
    table = (tiny_run.folder / "stdout").read_text()
    assert "4 held-out questions" in table and f"finished: {finished_run / 'model'}" in table


def test_the_runs_time_is_accounted_for(finished_run):
    lines = read_time(finished_run / "time.jsonl")
    sums = summed(lines)
    assert all(sums[kind] > 0 for kind in ("init", "prepare", "compile", "step", "evaluate", "checkpoint"))
    assert sums["lost"] == sums["away"] == 0
    assert {line["phase"] for line in lines} == {*PHASES, ""}
    # Every second between the command's first moment and the last line is of some kind.
    began = lines[0]["at"] - sum(lines[0]["seconds"].values())
    assert sum(sums.values()) == pytest.approx(lines[-1]["at"] - began, abs=0.5)
    (goodput,) = {line["goodput"] for line in read_metrics(finished_run / "finetune" / "metrics.jsonl")[-1:]}
    assert 0 < goodput < 1


def test_started_again_a_finished_run_changes_nothing(finished_run, tiny_run):
    files = [path for path in finished_run.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".jsonl")]
    before = {path: path.stat().st_mtime_ns for path in files}
    out, error = tiny_run.finish("run", finished_run)
    assert out == (tiny_run.folder / "stdout").read_text()
    assert not error
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_another_config_is_refused_in_a_run_s_folder(finished_run, tiny_run):
    process = tiny_run.start("run", finished_run, "--config.distill.ground_truth_ratio=0.25")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 2
    assert not out
    assert error.startswith("mobilebert: config.distill.ground_truth_ratio=0.25: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["config.json", "data/manifest.json"])
def test_a_run_writes_down_what_it_was_made_from(finished_run, name):
    written = json.loads((finished_run / name).read_text())
    if name == "config.json":
        assert written["config"]["transfer"]["steps"] == STEPS["transfer"]
        assert len(written["identity"]) == 64 and len(written["inputs"]["finetune.questions"]) == 64
        assert [each["jax"] for each in written["environments"]] == [jax.__version__]
        assert written["source"]["config"] == "configs/demo.py"
        assert written["source"]["changed"]["transfer.steps"] == [400, STEPS["transfer"]]
    else:
        assert written["splits"]["train"]["num_documents"] == sum(
            e["train"]["num_documents"] for e in written["shards"]
        )
