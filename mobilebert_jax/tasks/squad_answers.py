"""Where the answers of training questions stand, and what to do about those that do not stand there."""

import logging
import re
from collections.abc import Sequence

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.text.tables import DROP, REFUSE
from mobilebert_jax.utils.errors import UserError

_LOG = logging.getLogger(__name__)

NAMED = 5
"""So many questions are named where there is something to say about many."""


def answer_span(question: Question) -> tuple[int, int] | None:
    """Half-open characters of the first answer; an empty span for no answer; None when it cannot be recovered.

    As in google-research/bert run_squad.py, an answer whose offset is a little wrong, or whose white space differs, is
    looked for in the words that its range touches.
    """
    if question.is_impossible or not question.answers:
        return 0, 0
    passage, (text, start) = question.passage, question.answers[0]
    if not text.strip() or not 0 <= start < len(passage):
        return None
    if passage.startswith(text, start):
        return start, start + len(text)
    end = start + len(text)
    words_begin = start - len(re.split(r"\s", passage[:start])[-1])
    words_end = end + len(re.split(r"\s", passage[end:], maxsplit=1)[0])
    pattern = r"\s+".join(map(re.escape, text.split()))
    found = re.compile(pattern).search(passage, words_begin, words_end)
    return found.span() if found else None


def trainable(questions: Sequence[Question], source: str, bad_answers: str = DROP) -> list[Question]:
    """The questions whose first answer is in the passage where it should be, and those without one.

    The others are counted and named in a warning and left out, or the source is refused. A warning counts empty
    passages, too, which can teach nothing but silence.

    Raises:
        UserError: an answer that is not there, with `bad_answers` "refuse"; or no question is left.
    """
    there = [answer_span(question) is not None for question in questions]
    wrong = [question for question, found in zip(questions, there, strict=True) if not found]
    if wrong and bad_answers == REFUSE:
        text, start = wrong[0].answers[0]
        raise UserError(
            f"{source}: {len(wrong)} of {len(questions)} answers are not in their passages ({named(wrong)}; the first, "
            f"{text[:40]!r}, should begin at character {start}); put them right, or leave them out with "
            f"--bad_answers={DROP}"
        )
    if wrong:
        some = f"{len(wrong)} of {len(questions)} questions left out"
        _LOG.warning("%s: %s: answer not found in the passage (%s)", source, some, named(wrong))
    kept = [question for question, found in zip(questions, there, strict=True) if found]
    if not kept:
        raise UserError(
            f"{source}: none of {len(questions)} questions can be trained on: no answer is where its offset says"
        )
    warn_of_empty_passages(kept, source)
    return kept


def warn_of_empty_passages(questions: Sequence[Question], source: str) -> None:
    """Counts and names questions about nothing."""
    empty = [question for question in questions if not question.passage.strip()]
    if empty:
        _LOG.warning("%s: %d questions have an empty passage (%s)", source, len(empty), named(empty))


def named(questions: Sequence[Question]) -> str:
    """The first few, by their ids."""
    return ", ".join(question.id for question in questions[:NAMED]) + (", ..." if len(questions) > NAMED else "")
