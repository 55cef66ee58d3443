"""Sets of questions by what the user calls them: builtin, a SQuAD json file, `hf:` or `tfds:`."""

from typing import Any

from mobilebert_jax.text.corpus import parse_address
from mobilebert_jax.text.python_docs_qa import BUILTIN, build_questions
from mobilebert_jax.text.squad_json import read_squad, split_squad
from mobilebert_jax.text.squad_rows import read_squad_rows
from mobilebert_jax.text.tables import has_splits, is_data_set
from mobilebert_jax.utils.errors import UserError

TRAIN, VALIDATION = "train", "validation"
"""The splits of a data set that are trained on and scored, where none is named."""


def open_questions(spec: str, dev: str = "") -> dict[str, dict[str, Any]]:
    """`{"train": squad, "heldout": squad}`: what is trained on, and what decides.

    Held out is all of `dev`; without it the builtin set's own part, the split `validation` of a data set that is named
    without one, otherwise a tenth of the articles.

    Raises:
        UserError: a set or split that is not there, or is of another form.
    """
    if dev:
        whole = open_questions(spec)["train"] if spec.startswith("builtin:") else read_questions(spec, TRAIN)
        return {"train": whole, "heldout": read_heldout(dev)}
    if spec == BUILTIN:
        return build_questions()
    if is_data_set(spec) and has_splits(spec) and not parse_address(spec.partition(":")[2], spec).has_split:
        return {"train": read_questions(spec, TRAIN), "heldout": read_questions(spec, VALIDATION)}
    return split_squad(read_questions(spec, TRAIN), heldout_fraction=0.1)


def read_heldout(spec: str) -> dict[str, Any]:
    """What a finished model is asked: all of a file, the split `validation`, the builtin set's held-out part."""
    return build_questions()["heldout"] if spec == BUILTIN else read_questions(spec, VALIDATION)


def read_questions(spec: str, split: str) -> dict[str, Any]:
    """All questions of a file, or of a data set's split, as SQuAD json."""
    if spec.startswith("builtin:"):
        raise UserError(f"questions {spec!r}: there is no such builtin set; {BUILTIN} is the one there is")
    return read_squad_rows(spec, split) if is_data_set(spec) else read_squad(spec)
