"""One function a command: options to recipes, results to stdout."""

import argparse
import json
from pathlib import Path
from typing import Any

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.run import run_recipe, say_results
from mobilebert_jax.recipes.settings import PHASES, check_config
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError


def run(options: argparse.Namespace) -> None:
    """Every phase of the config."""
    results = _run_phases(options, PHASES)
    if results:
        say_results(results)
    print(f"finished: {_workdir(options) / 'model'}")


def pretrain(options: argparse.Namespace) -> None:
    """The teacher phase alone."""
    _run_phases(options, ("teacher",))
    print(f"finished: {_workdir(options) / 'teacher' / 'model'}")


def distill(options: argparse.Namespace) -> None:
    """The transfer and distill phases alone."""
    _run_phases(options, ("transfer", "distill"))
    print(f"finished: {_workdir(options) / 'distill' / 'model'}")


def prepare(options: argparse.Namespace) -> None:
    """Tokenizer and token stores alone."""
    from mobilebert_jax.recipes.data import prepare as prepare_data
    from mobilebert_jax.recipes.workdir import claim

    config = load_config(options.config, options.overrides)
    check_config(config)
    claim(_workdir(options), config)
    data = prepare_data(config, _workdir(options))
    for name, store in (("train", data.train), ("heldout", data.heldout)):
        print(f"{name}: {store.num_documents} documents, {store.num_sentences} sentences, {store.num_tokens} tokens")
    print(f"finished: {_workdir(options) / 'data'}")


def finetune(options: argparse.Namespace) -> None:
    """Question answering on a given model folder."""
    from mobilebert_jax.recipes.finetune import finetune_folder

    config = load_config(options.config, options.overrides)
    stopper = _stopper(options)
    results = finetune_folder(config, options.model, options.dataset, _workdir(options), stopper)
    say_results(results)
    print(f"finished: {_workdir(options) / 'model'}")


def evaluate(options: argparse.Namespace) -> None:
    """Scores of a model folder or of a predictions file."""
    from mobilebert_jax.recipes.evaluate import evaluate_folder, score_file

    if bool(options.model) == bool(options.predictions):
        raise UserError("evaluate: give either --model=DIR or --predictions=FILE")
    if options.predictions:
        scores = score_file(options.dataset, options.predictions)
    else:
        scores = evaluate_folder(options.model, options.dataset, options.task, options.output, options.batch_size)
    if options.json:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        print(f"{name:<14} {value:.2f}" if isinstance(value, float) else f"{name:<14} {value}")


def answer(options: argparse.Namespace) -> None:
    """Candidates with scores and half-open character offsets."""
    from mobilebert_jax.inference.question_answerer import QuestionAnswerer

    try:
        passage = Path(options.passage).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--passage={options.passage}: {error}; a readable UTF-8 text file is needed") from error
    if options.top_k < 1:
        raise UserError(f"--top_k={options.top_k}: must be at least 1")
    answers = QuestionAnswerer.from_pretrained(options.model).find_answers(options.question, passage, options.top_k)
    if options.json:
        print(json.dumps({"answers": [vars(found) for found in answers], **_summary(answers)}, ensure_ascii=False))
        return
    for found in answers:
        print(f"{found.score:9.3f}  {found.probability:6.1%}  [{found.start}:{found.end}]  {found.text}")
    print(answers.explanation)


def bench(options: argparse.Namespace) -> None:
    """The table of `bench transfer`."""
    from mobilebert_jax.bench.transfer import bench_transfer, print_table

    report = bench_transfer(
        load_config(options.config, options.overrides) if options.config else None,
        batch_size=options.batch_size,
        sequence_length=options.sequence_length,
        repeats=options.repeats,
    )
    print(json.dumps(report)) if options.json else print_table(report)


def _summary(answers: Any) -> dict[str, Any]:
    return {
        "null_score": answers.null_score,
        "score_difference": answers.score_difference,
        "explanation": answers.explanation,
    }


def _run_phases(options: argparse.Namespace, phases: tuple[str, ...]) -> dict[str, Any]:
    config = load_config(options.config, options.overrides)
    return run_recipe(config, _workdir(options), _stopper(options), phases)


def _stopper(options: argparse.Namespace) -> Stopper:
    stopper = Stopper(options.max_minutes)
    stopper.install()
    return stopper


def _workdir(options: argparse.Namespace) -> Path:
    """`--workdir`, or runs/ and the config's name."""
    name = options.config.replace(":", "-").replace(",", "-")
    return Path(options.workdir) if options.workdir else Path("runs") / Path(name).stem
