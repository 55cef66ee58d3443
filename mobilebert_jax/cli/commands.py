"""One function a command: options to recipes, results to stdout."""

import argparse
import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.cli.bench import bench  # noqa: F401 (a command too)
from mobilebert_jax.cli.config_values import format_config
from mobilebert_jax.cli.flags import default_workdir, load_config, load_with_source
from mobilebert_jax.cli.inspection_tables import print_contents, print_differences, print_ranges, print_statistics
from mobilebert_jax.cli.label_tables import print_glue, print_label_results, print_label_scores, print_repeats
from mobilebert_jax.cli.plan import plan  # noqa: F401 (a command too)
from mobilebert_jax.cli.quantize import quantize  # noqa: F401 (a command too)
from mobilebert_jax.cli.serve import serve  # noqa: F401 (a command too)
from mobilebert_jax.cli.tables import print_answers, print_estimate, print_json, print_results, print_scores
from mobilebert_jax.cli.weights import export_weights, import_weights  # noqa: F401 (commands too)
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.parallel.processes import is_first
from mobilebert_jax.parallel.start import start
from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.evaluate import evaluate_folder, load_answerer, score_file
from mobilebert_jax.recipes.evaluate_labels import average_runs, evaluate_labels
from mobilebert_jax.recipes.evaluations import keep_evaluation
from mobilebert_jax.recipes.finetune import finetune_folder
from mobilebert_jax.recipes.finetune_labels import finetune_labels_folder
from mobilebert_jax.recipes.glue import averages, run_glue
from mobilebert_jax.recipes.labels import LABEL_TASKS
from mobilebert_jax.recipes.place import local_copy, looked_into
from mobilebert_jax.recipes.repeats import repeats, run_repeats
from mobilebert_jax.recipes.run import estimate_run, prepare_run, run_recipe
from mobilebert_jax.recipes.settings import PHASES
from mobilebert_jax.recipes.tokens import TOKENS
from mobilebert_jax.report.page import write_report
from mobilebert_jax.tasks.own_data import Columns
from mobilebert_jax.tasks.token_data import TOKEN_COLUMNS
from mobilebert_jax.text.shards import Share
from mobilebert_jax.training.stopping import Stopper, interruptible
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.addresses import below, is_address
from mobilebert_jax.utils.errors import Stopped, UserError


def run(options: argparse.Namespace) -> None:
    """Every phase of the config, then GLUE's tasks."""
    config, source = _joined(options)
    results = _run_phases(options, PHASES, config, source)
    glue = run_glue(config, _workdir(options), options.stopper, source)
    if not is_first():
        return
    if results:
        print_results(results)
    if glue:
        print_glue(glue, averages(glue))
    _report_on(_workdir(options), options.stopper)
    print(f"finished: {below(_workdir(options), 'model')}")


def pretrain(options: argparse.Namespace) -> None:
    """The teacher phase alone."""
    _run_phases(options, ("teacher",), *_joined(options))
    if is_first():
        print(f"finished: {below(_workdir(options), 'teacher', 'model')}")


def distill(options: argparse.Namespace) -> None:
    """The transfer and distill phases alone."""
    _run_phases(options, ("transfer", "distill"), *_joined(options))
    if is_first():
        print(f"finished: {below(_workdir(options), 'distill', 'model')}")


def prepare(options: argparse.Namespace) -> None:
    """Tokenizer and token stores alone."""
    config, source = load_with_source(options.config, _overrides(options))
    share = Share.parse(options.shard)
    if options.dry_run:
        return print_estimate(estimate_run(config, _workdir(options), options.stopper))
    data = prepare_run(config, _workdir(options), options.stopper, source, share)
    if data is None:
        place = below(_workdir(options), "data")
        print(f"share {options.shard} is finished; the store is, once the other shares are: {place}")
        return
    for name, store in (("train", data.train), ("heldout", data.heldout)):
        print(f"{name}: {store.num_documents} documents, {store.num_sentences} sentences, {store.num_tokens} tokens")
    print(f"finished: {below(_workdir(options), 'data')}")


def finetune(options: argparse.Namespace) -> None:
    """A task on a given model folder, by default in a folder beside the config's run."""
    _join_processes(options)
    labelled = options.task in LABEL_TASKS
    options.model = local_copy(options.model, "--model")
    config, source = load_with_source(_with_default_config(options), _overrides(options))
    preset = options.config.startswith(("configs/glue", "configs/squad"))
    workdir = _workdir(options, "" if preset else f"-{options.task}")
    traced = _traced(options)
    tune = finetune_labels_folder if labelled else finetune_folder
    stopper = options.stopper
    given = options.model, options.task
    if options.seeds != 1 or options.sweep:
        wanted = repeats(config, options.seeds, options.sweep)
        alone = lambda config, folder: tune(config, *given, folder, stopper, source, traced)  # noqa: E731
        results = run_repeats(alone, config, wanted, workdir)
        if is_first():
            print_repeats(results)
            print(f"finished: {below(workdir, 'model')}, from {results['best']}")
        return
    results = tune(config, *given, workdir, stopper, source, traced, stopper.began)
    if is_first():
        print_label_results(results) if labelled else print_results(results)
        print(f"finished: {below(workdir, 'model')}")


def evaluate(options: argparse.Namespace) -> None:
    """Scores of a model folder or of a predictions file."""
    if options.runs or options.task == "glue":
        return _average(options)
    if not options.dataset:
        raise UserError("evaluate: give --dataset=, what the model or the predictions are scored on")
    if bool(options.model) == bool(options.predictions):
        raise UserError("evaluate: give either --model=DIR or --predictions=FILE")
    if options.task in LABEL_TASKS:
        return _evaluate_labels(options)
    if options.predictions:
        scores = score_file(options.dataset, options.predictions, options.task)
    else:
        model = local_copy(options.model, "--model")
        given = model, options.dataset, options.task, options.output, options.batch_size, options.precision
        scores = evaluate_folder(*given, options.sequence_length, options.doc_stride)
        keep_evaluation(model, options.task, options.dataset, scores)
    print_json(scores) if options.json else print_scores(scores)


def _average(options: argparse.Namespace) -> None:
    """Finished runs of GLUE's tasks together."""
    if options.task != "glue" or not options.runs or options.model or options.dataset:
        raise UserError("evaluate: --task=glue and --runs=FOLDERS go together, without a model and a data set")
    scores = average_runs(options.runs)
    print_json(scores) if options.json else print_label_scores(scores)


def _evaluate_labels(options: argparse.Namespace) -> None:
    """Scores of a classifier, or its predictions where the part has no labels."""
    if options.predictions:
        raise UserError(f"evaluate: --predictions is for SQuAD; of {options.task} a model is scored, --model=DIR")
    if options.doc_stride:
        raise UserError(f"--doc_stride={options.doc_stride}: is for windows over passages, {options.task} has none")
    usual = TOKEN_COLUMNS if options.task == TOKENS else Columns()
    named = {name: getattr(options, name) for name in ("text", "text_pair", "label") if getattr(options, name)}
    model = local_copy(options.model, "--model")
    scores = evaluate_labels(
        model,
        options.dataset,
        options.task,
        part=options.part,
        columns=dataclasses.replace(usual, **named),
        output=options.output,
        bad_rows=options.bad_rows,
        batch_size=options.batch_size,
        sequence_length=options.sequence_length,
        precision=options.precision,
    )
    keep_evaluation(model, options.task, options.dataset, scores, options.part)
    print_json(scores) if options.json else print_label_scores(scores)


def answer(options: argparse.Namespace) -> None:
    """Candidates with scores and half-open character offsets."""
    try:
        # Not read_text, which would change line ends and thereby offsets.
        passage = Path(options.passage).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"--passage={options.passage}: {reason}; a readable UTF-8 text file is needed") from error
    answers = load_answerer(local_copy(options.model, "--model")).find_answers(options.question, passage, options.top_k)
    if not options.json:
        print_answers(answers, answers.explanation)
        return
    difference = answers.score_difference
    print_json(
        {
            "answers": [vars(found) for found in answers],
            "null_score": answers.null_score,
            "null_probability": answers.null_probability,
            # Infinite where the passage offers no span at all, which JSON cannot say.
            "score_difference": difference if math.isfinite(difference) else None,
            "explanation": answers.explanation,
        }
    )


def inspect(options: argparse.Namespace) -> None:
    """What a path holds; with two, what differs."""
    from mobilebert_jax.inspection.compare import compare
    from mobilebert_jax.inspection.contents import read_contents
    from mobilebert_jax.inspection.stores import store_statistics

    if options.ranges:
        return _ranges(options)
    paths = [local_copy(path, "inspect PATH") for path in (options.path, options.other) if path]
    contents = [read_contents(path) for path in paths]
    if len(contents) == 1:
        found = contents[0]
        statistics = store_statistics(found.path) if found.kind == "store" else {}
        print_json(found.to_dict() | statistics) if options.json else print_contents(found)
        return print_statistics(statistics) if statistics and not options.json else None
    report = {"kind": contents[0].kind, "paths": [options.path, options.other], **compare(*contents)}
    print_json(report) if options.json else print_differences(report)


def _ranges(options: argparse.Namespace) -> None:
    """Activation ranges of a model on a text."""
    from mobilebert_jax.inspection.ranges import activation_ranges

    if options.other:
        raise UserError("inspect: --ranges reads one model folder, not two")
    ranges = activation_ranges(options.path, options.ranges, options.sequence_length)
    if not options.json:
        return print_ranges(ranges)
    print_json({"kind": "ranges", "path": options.path, "ranges": [found.to_dict() for found in ranges]})


def print_config(options: argparse.Namespace) -> None:
    """The resolved config of a command, as overrides."""
    print(format_config(load_config(_with_default_config(options), _overrides(options))), end="")


def _overrides(options: argparse.Namespace) -> list[str]:
    """Those given, and what other options mean by another name."""
    labelled = getattr(options, "task", "") in LABEL_TASKS
    of_labels, of_questions = ("text", "text_pair", "label", "bad_rows"), ("bad_answers",)
    given = {name: getattr(options, name, "") for name in ("dev", *of_labels, *of_questions)}
    for name in of_questions if labelled else of_labels:
        if given[name]:
            kind = "questions" if labelled else "labelled texts"
            raise UserError(f"--{name}={given[name]}: is for {kind}, not for {getattr(options, 'task', '')}")
    named = {
        **{f"finetune.{name}": value for name, value in given.items()},
        "finetune.dataset" if labelled else "finetune.questions": getattr(options, "dataset", ""),
        "data.errors": getattr(options, "errors", ""),
        "data.workers": getattr(options, "workers", None),
    }
    return [*options.overrides, *(f"{name}={value}" for name, value in named.items() if value not in ("", None))]


def _with_default_config(options: argparse.Namespace) -> str:
    """The config given; of `finetune`, by default the task's own, or that of the run which goes on."""
    if not options.config:
        begun = Path(options.workdir or ".", "config.json")
        if options.task in LABEL_TASKS:
            options.config = f"configs/glue.py:{options.task}"
        elif options.workdir and not is_address(options.workdir) and begun.is_file():
            options.config = str(begun)
        elif not options.dataset or options.dataset.startswith("builtin:"):
            options.config = "configs/demo.py"
        else:
            options.config = f"configs/squad.py:{options.task}{_shorter_windows(options.model)}"
    return options.config


def _shorter_windows(model: str) -> str:
    """What configs/squad.py is told of a model with fewer positions than its windows have tokens."""
    path, usual = Path(model, CONFIG), default_config().finetune.sequence_length
    positions = read_folder_config(path).cfg.max_position_embeddings if path.is_file() else usual
    return f",{positions}" if positions < usual else ""


def report(options: argparse.Namespace) -> None:
    """The page of a run, also of one in progress."""
    import jax

    # A run in progress may hold the accelerator for itself.
    jax.config.update("jax_platforms", "cpu")
    print(f"report: {_written_report(options.workdir)}")


def _joined(options: argparse.Namespace) -> tuple[ConfigDict, dict[str, Any]]:
    """The config and where it comes from, once all processes have found each other."""
    _join_processes(options)
    return load_with_source(options.config, options.overrides)


def _run_phases(
    options: argparse.Namespace, phases: tuple[str, ...], config: ConfigDict, source: dict[str, Any]
) -> dict[str, Any]:
    traced = _traced(options)
    return run_recipe(config, _workdir(options), options.stopper, phases, source, traced, options.stopper.began)


def _traced(options: argparse.Namespace) -> Traced | None:
    return Traced.parse(options.profile) if options.profile else None


def _join_processes(options: argparse.Namespace) -> None:
    start(options.coordinator, options.num_processes, options.process_id, options.coordinator_timeout)


def _written_report(workdir: str | Path) -> str:
    """Writes the page of a run; returns where it is."""
    with looked_into(workdir) as place:
        return place.put(write_report(place.folder).name)


def _report_on(workdir: str | Path, stopper: Stopper) -> None:
    """Writes the page of a run that has ended; whatever goes wrong there, the run itself has not failed."""
    try:
        path = interruptible(lambda: _written_report(workdir), stopper, "everything but the page is done")
        print(f"report: {path}")
    except Stopped:
        raise
    except Exception as error:
        warnings.warn(f"{below(workdir, 'report.html')} could not be written: {error}", stacklevel=2)


def _workdir(options: argparse.Namespace, suffix: str = "") -> str | Path:
    if is_address(options.workdir):
        return options.workdir
    return Path(options.workdir) if options.workdir else default_workdir(options.config, suffix)
