"""Scores of labels, and later evaluations, on a run's page beside the paper's."""

import html
import json
import re

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.evaluations import keep_evaluation
from mobilebert_jax.recipes.workdir import claim
from mobilebert_jax.report.markup import MISSING
from mobilebert_jax.report.page import make_page
from mobilebert_jax.report.paper import PAPER, paper_rows
from mobilebert_jax.report.run_folder import read_folder


@pytest.fixture
def run(tmp_path):
    def write(task, **scores):
        claim(tmp_path, load_config(f"glue:{task}", []), {"--model": "x", "--task": task})
        (tmp_path / "finetune").mkdir()
        (tmp_path / "model").mkdir()
        parts = [name for name, value in scores.items() if isinstance(value, dict)] or ["dev"]
        results = {
            "task": task,
            "examples": {"train": 40, **dict.fromkeys(parts, 12)},
            "steps": 15,
            "best_step": 10,
            "score": 60.0,
            "student": scores,
            "baselines": {"majority_class": scores},
        }
        (tmp_path / "finetune/results.json").write_text(json.dumps(results))
        return tmp_path

    return write


def rows_of(page, title):
    """The cells of a section's rows, without their tags."""
    section = page.split(f"<h2>{title}</h2>")[1].split("</section>")[0]
    found = re.findall(r"<tr.*?</tr>", section)
    return [
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in found
    ]


def test_the_paper_s_rows_stand_below_ours_in_the_columns_of_their_metrics(run):
    rows = rows_of(make_page(read_folder(run("mrpc", accuracy=70.0, f1=80.0))), "Labels, held out")
    assert rows == [
        ["", "accuracy", "f1"],
        ["student, dev", "70.0", "80.0"],
        ["majority class, dev", "70.0", "80.0"],
        ["MobileBERT_TINY, the paper's test set", MISSING, "87.9"],
        ["MobileBERT, the paper's test set", MISSING, "88.8"],
        ["MobileBERT w/o OPT, the paper's test set", MISSING, "88.8"],
    ]


def test_both_parts_of_mnli_have_rows_of_their_own(run):
    folder = run("mnli", dev_matched={"accuracy": 70.0}, dev_mismatched={"accuracy": 71.0})
    rows = rows_of(make_page(read_folder(folder)), "Labels, held out")
    ours = [row[1] for row in rows if row[0].startswith("MobileBERT,")]
    assert ours == ["83.3", "82.6"] and [row[1] for row in rows if row[0].startswith("student")] == ["70.0", "71.0"]


def test_later_evaluations_appear_by_task_data_set_and_precision(run):
    folder = run("rte", accuracy=60.0)
    assert "Evaluated afterwards" not in make_page(read_folder(folder))
    for precision, value in (("float32", 61.0), ("int8", 59.0)):
        scores = {"computed_in": precision, "examples": {"dev": 12}, "accuracy": value, "score": value}
        keep_evaluation(folder / "model", "rte", "data/glue/", scores)
    parts = {"dev_matched": {"accuracy": 50.0}, "dev_mismatched": {"accuracy": 51.0}}
    keep_evaluation(folder / "model", "mnli", "glue", {"computed_in": "int8", "examples": {}, "score": 50.5, **parts})
    answers = {"exact": 1.5, "f1": 2.5, "total": 3, "computed_in": "int8"}
    keep_evaluation(folder / "model", "squad1", "dev.json", answers)
    rows = rows_of(make_page(read_folder(folder)), "Evaluated afterwards")
    assert rows[:3] == [["rte", "accuracy"], ["glue, float32", "61.0"], ["glue, int8", "59.0"]]
    assert ["mnli dev mismatched", "accuracy"] in rows and ["glue, int8", "51.0"] in rows
    assert ["squad1", "exact", "f1"] in rows and ["dev.json, int8", "1.5", "2.5"] in rows
    assert ["BERT_BASE, the paper's dev set", MISSING, "88.5"] in rows
    assert ["MobileBERT, the paper's dev set", "82.9", "90.0"] in rows


def test_a_task_that_the_paper_has_not_has_no_rows():
    assert paper_rows("tokens", "dev", ["f1"]) == [] == paper_rows("rte", "dev", ["f1"])
    assert len({frozenset(scores) for name, scores in PAPER.items() if name != "BERT_BASE"}) == 1
