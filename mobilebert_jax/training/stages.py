"""A stage is data: how long, which blocks learn and how fast, which losses count (design ideas 2 to 4)."""

import dataclasses
from collections.abc import Mapping

from mobilebert_jax.utils.errors import UserError

TRANSFER_TERMS = ("hidden", "mean", "variance", "attention")
HEAD_TERMS = ("masked_lm", "next_sentence", "distillation", "span", "classification", "regression")
GRADIENTS = ("full", "local")
INPUTS = ("student", "teacher")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Consecutive steps with one setting.

    Attributes:
        name: what logs and errors call it.
        steps: how many optimizer steps, each on a batch of its own.
        coefficients: factor of every loss term that counts; a missing term is not computed.
        block_weights: factor of each student block's transfer loss, [L]; empty when no transfer term counts.
        block_rates: learning-rate multiplier of each block, [L]; 0 keeps a block bit-identical.
        embedding_rate, head_rate: the same for the embeddings and for pooler and heads.
        background: restart the warm-up of the reference within this stage.
        gradient: where a block's gradient stops: `full`, at the embeddings; `local`, at the block's own input, so that
            every block learns from its own transfer loss alone.
        inputs: what a block is fed whose gradient is local: the `student`'s own walk, or what enters the `teacher`'s
            block that it imitates; block 0 always takes the student's embeddings.
        fed: share of the blocks that the teacher feeds, at the stage's first and last step, a straight line between.
        block_spans: (first step, step after the last) in which each block learns, [L] and counted from the stage's
            start; empty: all of them.
        block_end_ratio: what the rate of each block falls to, on a straight line, by the end of its span, over its own.
        updates: how many updates a step makes from its batch, where the gradient is local: the teacher, which is most
            of a step, walks once for all of them.
    """

    name: str
    steps: int
    coefficients: Mapping[str, float]
    block_rates: tuple[float, ...]
    block_weights: tuple[float, ...] = ()
    embedding_rate: float = 1.0
    head_rate: float = 1.0
    background: bool = False
    gradient: str = "full"
    inputs: str = "student"
    fed: tuple[float, float] = (1.0, 1.0)
    block_spans: tuple[tuple[int, int], ...] = ()
    block_end_ratio: float = 1.0
    updates: int = 1

    def __post_init__(self):
        unknown = sorted(set(self.coefficients) - {*TRANSFER_TERMS, *HEAD_TERMS})
        if unknown:
            raise UserError(f"stage {self.name!r}: no loss term {unknown[0]!r}")
        if self.steps < 1:
            raise UserError(f"stage {self.name!r}: steps={self.steps}, at least 1 is needed")
        if self.block_weights and len(self.block_weights) != len(self.block_rates):
            raise UserError(
                f"stage {self.name!r}: {len(self.block_weights)} weights for {len(self.block_rates)} blocks"
            )
        if any(rate < 0 for rate in (*self.block_rates, self.embedding_rate, self.head_rate)):
            raise UserError(f"stage {self.name!r}: a learning-rate multiplier is negative")
        if not any((*self.block_rates, self.embedding_rate, self.head_rate)):
            raise UserError(f"stage {self.name!r}: nothing learns, every learning-rate multiplier is 0")
        if not 0 <= self.block_end_ratio <= 1:
            raise UserError(f"stage {self.name!r}: block_end_ratio={self.block_end_ratio}, must be from 0 to 1")
        self._check_gradient()

    def _check_gradient(self) -> None:
        """UserError for fields that a stage with this kind of gradient cannot have."""
        for name, choices in (("gradient", GRADIENTS), ("inputs", INPUTS)):
            if getattr(self, name) not in choices:
                raise UserError(
                    f"stage {self.name!r}: {name}={getattr(self, name)!r}, must be one of {', '.join(choices)}"
                )
        if self.updates < 1:
            raise UserError(f"stage {self.name!r}: updates={self.updates}, at least 1 is needed")
        if self.gradient == "local":
            self._check_local()
        elif self.updates > 1:
            raise UserError(
                f"stage {self.name!r}: updates={self.updates} is for blocks that learn alone, with gradient='local'"
            )
        elif self.inputs == "teacher" or self.block_spans:
            field = "inputs='teacher'" if self.inputs == "teacher" else "block_spans"
            raise UserError(f"stage {self.name!r}: {field} is for blocks that learn alone, with gradient='local'")

    def _check_local(self) -> None:
        """Blocks that learn alone need losses of their own, and steps of the stage to learn in."""
        whole = [term for term in HEAD_TERMS if self.coefficients.get(term)]
        if whole:
            raise UserError(
                f"stage {self.name!r}: {whole[0]} needs the whole student, with gradient='local' each block learns "
                f"from its own transfer loss alone; leave it out or set gradient='full'"
            )
        if not self.trains_blocks_only:
            raise UserError(
                f"stage {self.name!r}: with gradient='local' nothing reaches embeddings and heads, their "
                f"learning-rate multipliers must be 0"
            )
        weights = self.block_weights or (0.0,) * len(self.block_rates)
        for block, (rate, weight) in enumerate(zip(self.block_rates, weights, strict=True)):
            if rate and not (weight and self.transfers):
                raise UserError(f"stage {self.name!r}: block {block} has no transfer loss to learn from")
        if not all(0 <= share <= 1 for share in self.fed):
            raise UserError(f"stage {self.name!r}: fed={self.fed}, shares of the blocks must be from 0 to 1")
        if self.block_spans and len(self.block_spans) != len(self.block_rates):
            raise UserError(f"stage {self.name!r}: {len(self.block_spans)} spans for {len(self.block_rates)} blocks")
        for block, (first, stop) in enumerate(self.block_spans):
            if not 0 <= first < stop <= self.steps:
                raise UserError(
                    f"stage {self.name!r}: block {block} learns from step {first} to {stop}, outside the stage's "
                    f"{self.steps} steps"
                )

    @property
    def transfers(self) -> bool:
        """True when some block's transfer loss counts."""
        return any(self.block_weights) and any(self.coefficients.get(term) for term in TRANSFER_TERMS)

    @property
    def uses_heads(self) -> bool:
        """True when a loss needs the network's heads."""
        return any(self.coefficients.get(term) for term in HEAD_TERMS)

    @property
    def top(self) -> int:
        """The highest block whose transfer loss counts, 0 when none does."""
        return max((index for index, weight in enumerate(self.block_weights) if weight), default=0)

    @property
    def walk(self) -> str:
        """The cheapest way to this stage's gradients.

        `block`: one block learns from its own loss alone. `prefix`: the blocks up to one learn from that one's
        loss. `local`: each block learns from its own. `pair`: everything else that has a transfer loss. `alone`: no
        transfer loss.
        """
        if not self.transfers:
            return "alone"
        if self.gradient == "local":
            return "local"
        blocks_only = self.trains_blocks_only and not self.uses_heads
        single_loss = sum(weight != 0 for weight in self.block_weights) == 1
        if blocks_only and single_loss and self.block_rates[self.top] and not any(self.block_rates[self.top + 1 :]):
            return "prefix" if any(self.block_rates[: self.top]) else "block"
        return "pair"

    @property
    def gated(self) -> bool:
        """True when not every block learns at every step."""
        return bool(self.block_spans) or not all(self.block_rates) or not all(self.block_weights)

    @property
    def trains_blocks_only(self) -> bool:
        """True when embeddings, pooler and heads stay as they are."""
        return not self.embedding_rate and not self.head_rate


@dataclasses.dataclass(frozen=True)
class Plan:
    """A phase's stages, one after another; stage and stage step are functions of the step alone."""

    stages: tuple[Stage, ...]

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def start(self, index: int) -> int:
        """The step at which stage `index` begins."""
        return sum(stage.steps for stage in self.stages[:index])

    def index_at(self, step: int) -> int:
        """The stage that trains at `step`; the last one for steps past the end."""
        for index in range(len(self.stages)):
            if step < self.start(index + 1):
                return index
        return len(self.stages) - 1
