import os
import re
import shutil
from html.parser import HTMLParser

import pytest

from mobilebert_jax.report.markup import MISSING
from mobilebert_jax.report.page import write_report
from mobilebert_jax.utils.errors import UserError

VOID = {"meta", "hr", "br"}
SECTIONS = (
    "Phases",
    "Time",
    "Teacher: masked LM and next sentence",
    "Knowledge transfer, block by block",
    "Distillation",
    "Fine-tuning on questions",
    "Masked LM, held out",
    "Question answering, held out",
    "Questions and answers",
    "Hidden words, guessed",
    "Parameters",
    "Settings",
)


class Page(HTMLParser):
    """A page taken apart: elements in order, their attributes, text; complains about what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.values, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.values += [(name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.values += [(name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open[-1:]:
            self.texts.setdefault(tag, []).append(data)


def report(folder):
    return write_report(folder).read_text(encoding="utf-8")


def plain(text):
    """What a reader sees, without plots."""
    return re.sub(r"<[^>]*>", "", re.sub(r"<(svg|style).*?</\1>", "", text, flags=re.DOTALL))


def test_a_complete_run_shows_every_section(complete_page):
    text = complete_page
    assert Page(text).texts["h2"] == list(SECTIONS)
    shown = plain(text)
    assert "cannot be shown" not in shown
    assert "4 of 4" in shown and "the run is finished" in shown
    assert "best baseline 30.0 (a random entry)" in shown and "61.2" in shown
    assert "5 min 20 s" in shown  # four phases of 80 s
    assert text.count("<svg") == 5  # the curves of four phases and a heat map


def test_it_opens_offline_and_runs_nothing(complete_page):
    page = Page(complete_page)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(page.tags)
    for name, value in page.values:
        assert "//" not in value, (name, value)
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#")
    (style,) = page.texts["style"][:1]
    assert "url(" not in style and "@import" not in style


def test_what_files_say_is_text_and_never_markup(complete_page):
    text = complete_page
    assert "<script" not in text and "<b>flew" not in text
    assert "&lt;script&gt;" in text and "Who &lt;b&gt;flew&lt;/b&gt;?" in text


def test_samples_mark_right_and_predicted_answers(complete_page):
    text = complete_page
    assert '<mark class="gold said">&lt;script&gt;alert(&#x27;it&#x27;)&lt;/script&gt;</mark>' in text
    assert '<mark class="said">sat on a</mark>' in text
    assert "the right answer" in text and "answered where the passage has no answer" in text


@pytest.mark.parametrize("gone", [("finetune", "model"), ("finetune", "model", "distill/model", "transfer/model")])
def test_a_run_in_progress_shows_what_is_there(run_folder, gone):
    for name in gone:
        shutil.rmtree(run_folder / name)
    shown = plain(report(run_folder))
    assert f"{3 if len(gone) == 2 else 1} of 4" in shown
    assert "not scored yet" in shown and "No questions have been scored yet." in shown
    assert "cannot be shown" not in shown
    if len(gone) > 2:
        assert "transfer: at step 8 of 8" in shown
        assert f"encoder parameters{MISSING}the teacher has" in shown and "times as many" not in shown


def test_a_line_that_was_cut_short_is_left_out(run_folder):
    (run_folder / "data" / "manifest.json").unlink()  # no guesses: they take the longest
    whole = plain(report(run_folder))
    with open(run_folder / "transfer" / "metrics.jsonl", "a") as metrics:
        metrics.write('{"step": 10, "phase": "trans')
    without_time = re.compile(r"written [^·]*")
    assert without_time.sub("", plain(report(run_folder))) == without_time.sub("", whole)


def test_a_run_that_has_only_begun(run_folder):
    for path in run_folder.iterdir():
        if path.name != "config.json":
            shutil.rmtree(path)
    shown = plain(report(run_folder))
    assert "0 of 4" in shown and "teacher: not started" in shown and "nothing logged yet" in shown
    assert "cannot be shown" not in shown
    assert "data.vocab_size305" in shown  # the settings are known from the start


def test_a_damaged_file_costs_its_section_alone(run_folder):
    weights = run_folder / "distill" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (run_folder / "finetune" / "nbest_predictions.json").write_text('{"a-0": [')
    shown = plain(report(run_folder))
    assert shown.count("This part cannot be shown") == 3
    assert f"{weights}: not a readable safetensors file" in shown
    assert "best baseline 30.0" in shown


def test_predictions_for_other_passages_are_not_shown(run_folder):
    (run_folder / "data" / "manifest.json").unlink()
    questions = run_folder.with_name("questions.json")
    source = (run_folder / "config.json").read_text()
    original = re.search(r'"questions": "([^"]+)"', source)[1]
    (run_folder / "config.json").write_text(source.replace(original, str(questions)))
    shutil.copy(original, questions)
    questions.write_text(questions.read_text().replace("alert", "print").replace("on a mat", "in a box"))
    assert "are not those that were answered" in plain(report(run_folder))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: no config.json there"):
        report(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mobilebert"}')
    with pytest.raises(UserError, match=r"config\.json: not the config.json of a run"):
        report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_old_page_stays_until_the_new_one_is_whole(run_folder, monkeypatch):
    (run_folder / "data" / "manifest.json").unlink()
    before = report(run_folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        report(run_folder)
    assert (run_folder / "report.html").read_text(encoding="utf-8") == before
    assert not [path for path in run_folder.iterdir() if path.name.startswith(".")]
