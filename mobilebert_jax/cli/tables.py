"""Results as tables on stdout."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from mobilebert_jax.text.estimate import Estimate
from mobilebert_jax.utils.errors import UserError

COLUMNS = {"exact": "exact", "f1": "f1", "HasAns_f1": "f1 answerable", "NoAns_f1": "f1 unanswerable"}


def print_results(results: Mapping[str, Any]) -> None:
    """A fine-tuned model beside the baselines, one row each."""
    rows = {"model": results["student"], **results["baselines"]}
    columns = [name for name in COLUMNS if name in results["student"]]
    print(f"{results['questions']} held-out questions".ljust(28) + "".join(f"{COLUMNS[name]:>17}" for name in columns))
    for name, scores in rows.items():
        print(f"  {name:<26}" + "".join(f"{scores[column]:>17.1f}" for column in columns))
    print_thresholds(results["student"])
    if results["best_step"] != results["steps"]:
        print(f"chosen: step {results['best_step']:,} of {results['steps']:,}")


def print_thresholds(scores: Mapping[str, Any]) -> None:
    """What another threshold for "no answer" would have scored, where that was looked for."""
    for name in ("exact", "f1"):
        if f"best_{name}" in scores:
            best, threshold = scores[f"best_{name}"], scores[f"best_{name}_thresh"]
            print(f'best {name} {best:.1f}, if "no answer" wins when more than {threshold:.2f} above the best span')


def print_scores(scores: Mapping[str, Any]) -> None:
    """One line a score; the baselines as a table below."""
    for name, value in scores.items():
        if not isinstance(value, dict):
            print(f"{name:<20} {value:.2f}" if isinstance(value, float) else f"{name:<20} {value}")
    for name, baseline in scores.get("baselines", {}).items():
        print(f"{'baseline ' + name:<28} exact {baseline['exact']:6.2f}   f1 {baseline['f1']:6.2f}")


def print_answers(answers: Sequence[Any], explanation: str) -> None:
    """Score, probability, half-open character offsets and text of each candidate."""
    for found in answers:
        print(f"{found.score:9.3f}  {found.probability:6.1%}  [{found.start}:{found.end}]  {found.text}")
    print(explanation)


def print_estimate(estimate: Estimate) -> None:
    """Text, tokens, disk and time, on one line each; UserError when the disk is too small."""
    found = "all of it" if estimate.whole else "its beginning"
    print(f"read        {estimate.sample / 1e6:,.1f} MB of text, {found}")
    print(f"rate        {estimate.rate / 1e6:,.2f} MB of text a second, {estimate.workers} processes")
    print(f"store       {estimate.stored_a_byte / estimate.tokens_a_byte:.2f} bytes a token")
    if estimate.total is None:
        return print("The size of this corpus is not known before it is read.")
    tokens = estimate.total * estimate.tokens_a_byte
    print(f"corpus      {estimate.total / 1e6:,.0f} MB of text, {tokens / 1e6:,.1f}M tokens")
    print(f"disk        {estimate.disk / 1e6:,.0f} MB needed, {estimate.free / 1e6:,.0f} MB free")
    print(f"time        {tqdm.format_interval(estimate.seconds)}, the training of a tokenizer aside")
    if estimate.disk > estimate.free:
        raise UserError(
            f"the disk is too small: {estimate.disk / 1e6:,.0f} MB needed, {estimate.free / 1e6:,.0f} MB free"
        )


def print_json(value: Mapping[str, Any]) -> None:
    """Exactly one JSON object on stdout; UserError when a number in it is not finite, which JSON cannot say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UserError("the result holds numbers that are not finite; the model is damaged") from error
    print(text)
