"""Scores of a finished model, or of a file of predictions, on SQuAD questions."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilebert_jax.export.exported_folder import computed_in, loader
from mobilebert_jax.inference.question_answerer import QuestionAnswerer
from mobilebert_jax.recipes.questions import answer_all, baselines, load_heldout, model_scores, task_scores
from mobilebert_jax.tasks.squad_predict import write_predictions
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json


def evaluate_folder(
    model: str | Path,
    dataset: str,
    task: str = "squad2",
    output: str | Path = "",
    batch_size: int = 32,
    precision: str = "float32",
    sequence_length: int = 0,
    doc_stride: int = 0,
) -> dict[str, Any]:
    """Scores of a model folder with a span head, or of an export of one, in percent, by the official scripts' names.

    exact, f1, total; for squad2 also HasAns_* and NoAns_*, best_f1 and best_exact with their thresholds; for the
    builtin set also `baselines`, the scores of what answers without reading the question. `output` is a folder for
    predictions.json, nbest_predictions.json and, for squad2, null_odds.json. `precision`: as in `at_precision`; the
    scores name it `computed_in`. `sequence_length`: of the windows; by default 384, or the model's positions.
    `doc_stride`: from one window's start to the next one's in tokens, by default 128 or a third of the window.

    Raises:
        UserError: no such model, no trained span head in it, or no such questions.
    """
    windows = {"sequence_length": sequence_length, "doc_stride": doc_stride}
    for name, value, least in (("batch_size", batch_size, 1), *((*window, 0) for window in windows.items())):
        if value < least:
            raise UserError(f"--{name}={value}: must be at least {least}")
    settings = {name: value for name, value in windows.items() if value}
    questions = load_heldout(dataset, task)
    answerer = load_answerer(model, batch_size=batch_size, precision=precision, **settings)
    predictions = answer_all(
        answerer.predict,
        answerer.tokenizer,
        questions,
        task,
        sequence_length=answerer.sequence_length,
        doc_stride=answerer.doc_stride,
        max_query_length=answerer.max_query_length,
        batch_size=batch_size,
    )
    if output:
        write_predictions(predictions, output, task)
    scores = {**model_scores(questions, predictions, task), "computed_in": computed_in(model, precision)}
    return scores | ({"baselines": baselines(questions, task)} if dataset.startswith("builtin:") else {})


def score_file(dataset: str, predictions: str | Path, task: str = "squad2") -> dict[str, Any]:
    """Scores of a predictions.json (question id -> text, "" for no answer), as `evaluate_folder` names them.

    Raises:
        UserError: no such questions or predictions, or a question without a prediction.
    """
    questions = load_heldout(dataset, task)
    try:
        texts = read_json(predictions)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"not JSON ({error})"
        raise UserError(f"--predictions={predictions}: {reason}; a predictions.json is needed") from error
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UserError(f'--predictions={predictions}: an object {{"question id": "answer"}} is needed')
    return task_scores(questions, texts, task)


def load_answerer(model: str | Path, **settings: Any) -> QuestionAnswerer:
    """`QuestionAnswerer.from_pretrained`, but a folder without a trained span head is refused with a UserError.

    An exported folder is run by its own runtime.
    """
    with _trained_span_head(model):
        return QuestionAnswerer.from_pretrained(model, load=loader(model), **settings)


@contextlib.contextmanager
def _trained_span_head(model: str | Path) -> Iterator[None]:
    """Turns the warning that a span head was made up into an error; a pooler that is missing is not used anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* lacks ")
        warnings.filterwarnings("error", message=".* lacks .*span/")
        try:
            yield
        except UserWarning as warning:
            raise UserError(
                f"{model}: no span head in it, it cannot answer questions yet; "
                f"`mobilebert finetune --model={model}` trains one"
            ) from warning
