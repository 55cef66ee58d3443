"""One self-contained page: everything in it is inline, so that it opens offline and can be sent to somebody."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilebert_jax.report.evaluations import evaluation_table, has_evaluations
from mobilebert_jax.report.glue_table import glue_results, glue_table
from mobilebert_jax.report.label_scores import is_labelled
from mobilebert_jax.report.markup import Markup, join, note, tag
from mobilebert_jax.report.masked_samples import masked_samples
from mobilebert_jax.report.parameters import parameter_table
from mobilebert_jax.report.plots import heat_map, phase_curves
from mobilebert_jax.report.question_samples import question_samples
from mobilebert_jax.report.run_folder import RunFolder, read_folder
from mobilebert_jax.report.tables import (
    config_table,
    data_note,
    masked_lm_table,
    phase_table,
    question_table,
    tiles,
    time_table,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_text

NAME = "report.html"
HEADLINES = {
    "teacher": "Teacher: masked LM and next sentence",
    "transfer": "Knowledge transfer",
    "distill": "Distillation",
    "finetune": "Fine-tuning on questions",
}


def write_report(workdir: str | Path) -> Path:
    """Writes `workdir/report.html` from whatever the folder holds so far; returns its path.

    The file is replaced whole, never half-written.

    Raises:
        UserError: `workdir` is no run's folder. OSError: the file cannot be written.
    """
    path = Path(workdir) / NAME
    write_text(path, make_page(read_folder(workdir)))
    return path


def make_page(run: RunFolder) -> str:
    """The whole page as HTML."""
    title = run.path.resolve().name
    style = Markup(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))
    sections = [
        _section("Phases", lambda: phase_table(run)),
        _section("Time", lambda: time_table(run)),
        *(
            _section(_headline(run, name), lambda p=phase: _curves(p))
            for name, phase in run.phases.items()
            if phase.train
        ),
        _section("Masked LM, held out", lambda: masked_lm_table(run)),
        *_of_finetuning(run),
        *([_section("Evaluated afterwards", lambda: evaluation_table(run))] if has_evaluations(run) else []),
        _section("Hidden words, guessed", lambda: masked_samples(run)),
        _section("Parameters", lambda: parameter_table(run)),
        _section("Settings", lambda: config_table(run)),
    ]
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"{title}: MobileBERT run"),
        tag("style", style),
    )
    header = tag("header", tag("p", "MobileBERT run", cls="kicker"), tag("h1", title), data_note(run))
    body = tag("body", tag("main", header, _guarded(lambda: tiles(run)), *sections, _footer(run)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _of_finetuning(run: RunFolder) -> list[Markup]:
    if is_labelled(run):
        return [_section("Labels, held out", lambda: question_table(run))]
    glue = glue_results(run.path)
    return [
        _section("Question answering, held out", lambda: question_table(run)),
        _section("Questions and answers", lambda: question_samples(run)),
        *([_section("GLUE", lambda: glue_table(glue))] if glue else []),
    ]


def _headline(run: RunFolder, phase: str) -> str:
    if phase != "transfer":
        return HEADLINES[phase]
    one_by_one = run.config["transfer"]["strategy"] == "progressive"
    return f"{HEADLINES[phase]}, {'block by block' if one_by_one else 'all blocks at once'}"


def _curves(phase: Any) -> Markup:
    legend = join(tag("i", cls="line"), " training ", tag("i", cls="dot"), " held out")
    drawn = [tag("p", legend, cls="legend"), tag("figure", phase_curves(phase))]
    if (heat := heat_map(phase)) is not None:
        caption = "Held-out loss of every block on the student's own inputs, lower is better; dashed: a stage ends"
        drawn += [tag("h3", "Block against step"), tag("figure", heat, tag("figcaption", caption))]
    return join(*drawn)


def _section(title: str, make: Callable[[], Markup]) -> Markup:
    return tag("section", tag("h2", title), _guarded(make))


def _guarded(make: Callable[[], Markup]) -> Markup:
    """What `make` gives; the reason in its place when the files do not allow it, so that the other parts still show."""
    try:
        return make()
    except (UserError, OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        return note(f"This part cannot be shown: {error or type(error).__name__}")


def _footer(run: RunFolder) -> Markup:
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    words = [f"written {now}", f"identity {str(run.run.get('identity', ''))[:12]}"]
    return tag("footer", " · ".join(words))
