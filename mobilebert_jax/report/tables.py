"""The report's tiles and tables of figures."""

import json
import math
from typing import Any

from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.workdir import flat
from mobilebert_jax.report.label_scores import is_labelled, label_table, label_tile
from mobilebert_jax.report.markup import MISSING, Markup, bar, duration, figure, join, note, percent, table, tag, tile
from mobilebert_jax.report.parameters import encoder_size
from mobilebert_jax.report.run_folder import PhaseLog, RunFolder
from mobilebert_jax.training.time_spent import goodput

BASELINES = {"no_answer": "always silent", "first_sentence": "first sentence", "random_entry": "a random entry"}
PLACES = {"host": "memory", "device": "device memory"}
SCORES = {"exact": "exact", "f1": "F1", "HasAns_f1": "F1, answerable", "NoAns_f1": "F1, unanswerable"}

SPENT = {
    "step": "training steps",
    "lost": "steps made anew after a restart",
    "data": "waiting for data",
    "compile": "compiling steps",
    "checkpoint": "waiting for checkpoints",
    "evaluate": "evaluation",
    "prepare": "preparing text",
    "init": "starting, reading models",
}
LEAST_SECONDS = 0.05


def tiles(run: RunFolder) -> Markup:
    """The run at a glance."""
    teacher, distill = run.phases["teacher"], run.phases["distill"]
    wanted = [phase for phase in run.phases.values() if phase.part_of_run]
    done = sum(phase.finished for phase in wanted)
    current = next((phase for phase in wanted if not phase.finished), None)
    where = f"{current.name}: {current.state}" if current else "the run is finished"
    seconds, what = total_seconds(run)
    made = [
        tile("phases done", f"{done} of {len(wanted)}", where),
        tile("time", duration(seconds), what),
        tile(
            "masked LM, held out",
            f"{figure(teacher.last('masked_lm'), 2)} → {figure(distill.last('masked_lm'), 2)}",
            f"loss of teacher → student; {percent(teacher.last('masked_lm_accuracy'))} → "
            f"{percent(distill.last('masked_lm_accuracy'))} right",
        ),
    ]
    sizes = encoder_size(run.teacher_model()), encoder_size(run.student_model())
    beside = f"the teacher has {_short(sizes[0])}"
    beside += f", {sizes[0] / sizes[1]:.1f} times as many" if all(sizes) else ""
    made.append(tile("encoder parameters", _short(sizes[1]), beside))
    if is_labelled(run):
        made.append(label_tile(run.results))
    elif run.results:
        best, score = max(
            ((name, own["f1"]) for name, own in run.results["baselines"].items()), key=lambda pair: pair[1]
        )
        beside = f"percent; best baseline {score:.1f} ({BASELINES.get(best, best)})"
        made.append(tile("questions, F1", figure(run.results["student"]["f1"], 1), beside))
    elif run.phases["finetune"].part_of_run:
        made.append(tile("questions, F1", MISSING, "not scored yet"))
    return tag("div", *made, cls="tiles")


def total_seconds(run: RunFolder) -> tuple[float | None, str]:
    """Seconds of all phases and what they count, in words."""
    begun = [phase for phase in run.phases.values() if phase.train]
    for times, what in (
        ([phase.elapsed for phase in begun], "all phases, from start to last logged step"),
        ([phase.step_seconds for phase in begun], "training steps alone"),
    ):
        if times and None not in times:
            return sum(times), what
    return None, "nothing logged yet"


def masked_lm_table(run: RunFolder) -> Markup:
    """Held-out masked LM and next sentence of the teacher and of the student on its way."""
    rows = [
        *_pretraining_row("teacher, untrained", run.phases["teacher"], 0),
        *_pretraining_row("teacher", run.phases["teacher"], -1),
        *_pretraining_row("student before distillation", run.phases["distill"], 0),
        *_pretraining_row("student", run.phases["distill"], -1),
    ]
    if not rows:
        return note("Nothing has been evaluated yet.")
    vocabulary = (run.manifest or {}).get("vocab_size")
    if vocabulary:
        rows.insert(
            0, ["uniform guess", figure(math.log(vocabulary)), percent(1 / vocabulary), figure(math.log(2)), "50.0%"]
        )
    header = ["", "masked LM, loss", "right", "next sentence, loss", "right"]
    return table(header, rows, [index for index, row in enumerate(rows) if row[0] in ("teacher", "student")])


def _pretraining_row(name: str, phase: PhaseLog, which: int) -> list[list[Any]]:
    """The first (0) or newest (-1) held-out figures of a phase, none where it has none; the newest is no first one."""
    lines = [line for line in phase.heldout if "masked_lm" in line["heldout"]]
    if not lines or (which == 0 and lines[0]["step"] != 0) or (which == -1 and lines[-1]["step"] == 0):
        return []
    own = lines[which]["heldout"]
    if which == -1 and not phase.finished:
        name = f"{name}, step {lines[-1]['step']:,}"
    loss, sentence = own.get("masked_lm"), own.get("next_sentence")
    accuracies = percent(own.get("masked_lm_accuracy")), percent(own.get("next_sentence_accuracy"))
    return [[name, figure(loss), accuracies[0], figure(sentence), accuracies[1]]]


def question_table(run: RunFolder) -> Markup:
    """The fine-tuned student's scores beside the baselines'."""
    if is_labelled(run):
        return label_table(run.results)
    if not run.results:
        return note("No questions have been scored yet.")
    student = run.results["student"]
    names = {"student": student, **{BASELINES.get(k, k): own for k, own in run.results["baselines"].items()}}
    columns = [name for name in SCORES if name in student]
    rows = [[name, *(bar(own[c] / 100, figure(own[c], 1)) for c in columns)] for name, own in names.items()]
    parts = [f"{run.results['questions']:,} held-out questions"]
    if "NoAns_total" in student:
        parts.append(f"{student['NoAns_total']:,} of them without an answer")
    return join(table(["", *(SCORES[name] for name in columns)], rows, [0]), note("percent; ", ", ".join(parts)))


def phase_table(run: RunFolder) -> Markup:
    """Progress, time and speed of every phase."""
    rows = []
    places = [place for place in PLACES if any(phase.memory(place) for phase in run.phases.values())]
    for phase in run.phases.values():
        share = 1.0 if phase.finished else phase.step / max(phase.steps, 1)
        waits = [line["data_wait"] for line in phase.train if "data_wait" in line]
        logged = bool(phase.train)
        rows.append(
            [
                phase.name,
                bar(share if phase.part_of_run else 0.0, phase.state, "wide"),
                f"{phase.step:,}" if logged else MISSING,
                f"{phase.batch_size:,}" if logged else MISSING,
                MISSING if phase.rate is None else f"{phase.rate:,.0f}",
                f"{1000 * sum(waits) / len(waits):.2f} ms" if waits else MISSING,
                duration(phase.step_seconds),
                duration(phase.elapsed),
                *(MISSING if used is None else f"{used / 2**30:.2f} GiB" for used in map(phase.memory, places)),
            ]
        )
    header = ["", "state", "steps", "batch", "examples/s", "data wait a step", "in steps", "in all"]
    header += [PLACES[place] for place in places]
    remark = "examples/s is the median; “in steps” leaves out compilation, evaluation and saving."
    return tag("div", table(header, rows), note(remark), cls="phases")


def time_table(run: RunFolder) -> Markup:
    """What the run's time went to, through all its restarts."""
    if not run.time:
        return note("Nothing has been written about it.")
    there = sum(seconds for kind, seconds in run.time.items() if kind != "away")
    rows = [
        [words, duration(run.time[kind]), bar(run.time[kind] / max(there, 1e-9), percent(run.time[kind] / there))]
        for kind, words in SPENT.items()
        if run.time[kind] >= LEAST_SECONDS or kind == "step"
    ]
    away = f"; no process was there for {duration(run.time['away'])}" if run.time["away"] >= 1 else ""
    remark = f"{duration(there)} with a process there, of which {percent(goodput(run.time))} trained (goodput){away}."
    return join(table(["", "time", ""], rows, [list(SPENT).index("step")]), note(remark))


def config_table(run: RunFolder) -> Markup:
    """Settings that differ from the config's file and from the defaults, where the run ran, the whole config folded."""
    default, own = flat(default_config().to_dict()), flat(run.config)
    source = run.run.get("source") or {}
    changed = {name: values for name, values in (source.get("changed") or {}).items() if len(values) == 2}
    differing = {name: [default.get(name), own[name]] for name in sorted(own) if own[name] != default.get(name)}
    where = f"differ from {source['config']}" if source.get("config") else "differ from the config's file"
    shown = [
        _differences(changed, where, "there", "Everything is as in the config's file.", open_=True),
        _differences(differing, "differ from the paper's defaults", "default", "Every setting is the default."),
        _environments(run.run.get("environments") or []),
    ]
    whole = tag("pre", json.dumps(run.config, indent=2, ensure_ascii=False))
    return join(*shown, tag("details", tag("summary", "the whole config"), whole))


def _differences(rows: dict[str, list[Any]], where: str, there: str, none: str, open_: bool = False) -> Markup:
    """Setting, value there, value here; `none` where there is nothing to show."""
    if not rows:
        return note(none)
    summary = tag("summary", f"{len(rows)} settings {where}" if len(rows) > 1 else f"1 setting {where}")
    written = [[name, *map(_written, values)] for name, values in rows.items()]
    made = table(["setting", there, "this run"], written)
    return tag("details", summary, made, open="") if open_ else tag("details", summary, made)


def _environments(environments: list[dict[str, Any]]) -> Markup:
    """What the run ran on; more than one column says that its bits are no single machine's."""
    if not environments:
        return join()
    names = [name for name in environments[0] if any(each.get(name) for each in environments)]
    rows = [[name, *(str(each.get(name) or MISSING)[:60] for each in environments)] for name in names]
    some = f"ran in {len(environments)} environments, one after another" if len(environments) > 1 else "environment"
    header = ["", *(f"{number}." if len(environments) > 1 else "" for number in range(1, len(environments) + 1))]
    return tag("details", tag("summary", some), table(header, rows))


def _written(value: Any) -> str:
    return MISSING if value is None else json.dumps(value, ensure_ascii=False)


def _short(count: int | None) -> str:
    """1,234,567 as '1.23M'."""
    if count is None:
        return MISSING
    if count < 1e5:
        return f"{count:,}"
    return f"{count / 1e6:.2f}M" if count < 1e8 else f"{count / 1e6:.0f}M"


def data_note(run: RunFolder) -> Markup:
    """Where text and questions come from, and how much there is."""
    stores = (run.manifest or {}).get("splits") or {}
    sizes = [
        f"{name}: {store['num_documents']:,} documents, {store['num_tokens']:,} word pieces"
        for name, store in stores.items()
    ]
    words = [f"text {run.config['data']['corpus']}", *sizes]
    if run.config["finetune"]["questions"]:
        words.append(f"questions {run.config['finetune']['questions']}")
    return note(" · ".join(words))
