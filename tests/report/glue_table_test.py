"""GLUE's rows in a run's page."""

import re

from mobilebert_jax.report.glue_table import glue_results, glue_table
from mobilebert_jax.utils.files import write_json

PARTS = ("dev_matched", "dev_mismatched")


def test_glue_s_tasks_stand_beside_baselines_and_the_paper(tmp_path):
    for task, student, majority in (
        ("rte", {"accuracy": 61.25}, {"accuracy": 52.5}),
        ("mnli", {part: {"accuracy": 70.0} for part in PARTS}, {part: {"accuracy": 35.4} for part in PARTS}),
    ):
        examples = {"train": 9, **dict.fromkeys(PARTS if task == "mnli" else ("dev",), 3)}
        results = {"task": task, "examples": examples, "student": student, "baselines": {"majority_class": majority}}
        write_json(tmp_path / "glue" / task / "finetune" / "results.json", results)
    text = glue_table(glue_results(tmp_path))
    rows = [re.findall(r"<td>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)][1:]
    assert rows[0][:3] == ["mnli, dev matched, accuracy", "70.0", "35.4"] and rows[0][4] == "83.3"
    assert rows[1][:3] == ["mnli, dev mismatched, accuracy", "70.0", "35.4"] and rows[1][4] == "82.6"
    assert rows[2][:3] == ["rte, accuracy", "61.2", "52.5"] and rows[2][4] == "66.2"
    assert rows[3][:2] == ["average", "65.6"]
