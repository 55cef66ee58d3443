"""The tables of time, memory and settings, from what the files say."""

import json
import re

import pytest

from mobilebert_jax.report.markup import MISSING
from mobilebert_jax.report.run_folder import read_folder
from mobilebert_jax.report.tables import config_table, phase_table, time_table
from mobilebert_jax.utils.files import read_json, read_json_lines, write_json, write_text


def cells(markup):
    """The rows of the first table, as text."""
    first = str(markup).split("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", first, flags=re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def test_time_and_the_most_memory_stand_by_phase(run_folder):
    header, *rows = cells(phase_table(read_folder(run_folder)))
    assert header[-3:] == ["in steps", "in all", "memory"]
    assert {row[0]: row[-2:] for row in rows} == {row[0]: ["1 min 20 s", "2.00 GiB"] for row in rows}
    assert len(rows) == 4


def test_time_is_told_by_kind_through_restarts(run_folder):
    assert "Nothing has been written" in time_table(read_folder(run_folder))
    seconds = [{"init": 20.0}, {"step": 75.0, "data": 5.0}, {"init": 60.0}, {"step": 40.0}]
    marks = [{"step": 0, "resumes": True, "begins": True}, {"step": 100}]
    marks += [{"step": 50, "resumes": True, "begins": True}, {"step": 100}]
    at = (20.0, 100.0, 280.0, 320.0)
    lines = [
        {"at": when, "seconds": spent, "phase": "teacher", **mark}
        for when, spent, mark in zip(at, seconds, marks, strict=True)
    ]
    write_text(run_folder / "time.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    shown = time_table(read_folder(run_folder))
    assert cells(shown)[1:] == [
        ["training steps", "1 min 18 s", "38.8%"],
        ["steps made anew after a restart", "40 s", "20.0%"],
        ["waiting for data", "2 s", "1.2%"],
        ["starting, reading models", "1 min 20 s", "40.0%"],
    ]
    assert "3 min 20 s with a process there, of which 38.8% trained" in shown
    assert "no process was there for 2 min 00 s" in shown


def test_an_accelerators_memory_has_a_column_of_its_own(run_folder):
    path = run_folder / "teacher" / "metrics.jsonl"
    lines = read_json_lines(path)
    for line in lines:
        line.get("memory", {})["device"] = 3 * 2**30
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    header, teacher, transfer, *_ = cells(phase_table(read_folder(run_folder)))
    assert header[-2:] == ["memory", "device memory"]
    assert teacher[-2:] == ["2.00 GiB", "3.00 GiB"] and transfer[-2:] == ["2.00 GiB", MISSING]


def test_what_differs_from_the_configs_file_is_shown_with_what_the_file_says(run_folder):
    shown = config_table(read_folder(run_folder))
    assert "settings differ from demo</summary>" in shown
    header, *rows = cells(shown)
    assert header == ["setting", "there", "this run"]
    assert ["data.vocab_size", "4096", "120"] in rows and ["transfer.steps", "400", "8"] in rows
    assert not [row for row in rows if row[0] == "data.mask_probability"]


@pytest.mark.parametrize("source", [{}, {"config": "demo", "changed": {}}])
def test_a_run_of_a_file_as_it_is_says_so(run_folder, source):
    path = run_folder / "config.json"
    write_json(path, read_json(path) | {"source": source})
    assert "Everything is as in the config" in config_table(read_folder(run_folder))


def test_a_run_in_two_environments_says_so(run_folder):
    path = run_folder / "config.json"
    run = read_json(path)
    once = config_table(read_folder(run_folder))
    assert "<summary>environment</summary>" in once
    write_json(path, run | {"environments": [*run["environments"], run["environments"][0] | {"jax": "99.0"}]})
    twice = config_table(read_folder(run_folder))
    assert "ran in 2 environments, one after another" in twice and "99.0" in twice
