"""Two small phases, and batches that stop, break or spoil a run at a given step."""

import functools

from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.feed import Fed
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.phase import Cadence, Phase
from mobilebert_jax.training.stages import Plan
from tests.training.cases import (
    BLOCK,
    BLOCKS,
    COEFFICIENTS,
    EVERYTHING,
    HEADS,
    LEARNING_RATE,
    OPTIMIZERS,
    STUDENT,
    TEACHER,
    batch,
    block_stage,
    network,
    whole_stage,
)

PRETRAINING = {"masked_lm": 1.0, "next_sentence": 1.0}
WITH_DROPOUT = AloneProgram(MobileBertForPreTraining(STUDENT), PRETRAINING)


class Feed:
    """The phase's batches and its stopper in one: both know which step is running."""

    def __init__(self, stop_after=None, break_at=None, change=lambda step, batch: batch):
        self.stop_after, self.break_at, self.change, self.step = stop_after, break_at, change, None

    def __call__(self, start, stop):
        for step in range(start, stop):
            if step == self.break_at:
                raise KeyError("power cut")
            self.step = step + 1
            yield Fed.of(self.change(step, batch(step)))

    @property
    def reason(self):
        return "asked to" if self.stop_after is not None and self.step == self.stop_after else None


def key_sum(params, stop):
    """A figure that any change of the blocks changes; None where a stop comes first."""
    return None if stop() else {"sum": float(params["encoder"]["layers"]["attention"]["key"]["kernel"].sum())}


def transfer_phase(**changes):
    """Three steps for each block, hard frozen, then three in which everything learns from everything."""
    stages = (*(block_stage(block) for block in range(BLOCKS)), whole_stage(COEFFICIENTS | HEADS))
    fields = {
        "name": "transfer",
        "plan": Plan(stages),
        "programs": (BLOCK, BLOCK, BLOCK, EVERYTHING),
        "optimizer": OPTIMIZERS["lamb"],
        "learning_rate": LEARNING_RATE,
        "cadence": Cadence(log=1, evaluate=2, save=2, keep=2),
        "batches": Feed(),
        "init": functools.partial(network, STUDENT, 2),
        "networks": {"teacher": (TEACHER, network(TEACHER, 1)), "student": (STUDENT, None)},
        "teacher": network(TEACHER, 1),
        "evaluate": key_sum,
        "meta": {"teacher": {"path": "a/teacher"}},
    }
    return Phase(**fields | changes)


def alone_phase(**changes):
    """Six steps of pretraining with dropout, in two microbatches each."""
    fields = {
        "name": "pretraining",
        "plan": Plan((whole_stage(PRETRAINING, steps=6, weights=()),)),
        "programs": (WITH_DROPOUT,),
        "optimizer": OPTIMIZERS["adamw"],
        "networks": {"student": (STUDENT, None)},
        "teacher": {},
        "evaluate": None,
        "accumulation": 2,
        "seed": 5,
    }
    return transfer_phase(**fields | changes)


def run(phase, folder, **feed):
    """`run_phase` on a `Feed` with these settings."""
    feed = Feed(**feed)
    changed = {field: getattr(phase, field) for field in Phase.__dataclass_fields__} | {"batches": feed}
    return run_phase(Phase(**changed), folder, feed)
