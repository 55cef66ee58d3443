"""`ModelConfig`: every flag of the architecture, checked when built, and the presets of the paper."""

import dataclasses
from typing import Any

from mobilebert_jax.utils.errors import UserError

NORMS = ("no_norm", "layer_norm")
ACTIVATIONS = ("relu", "relu6", "gelu", "gelu_erf")
DTYPES = ("float32", "bfloat16")
ATTENTION_KERNELS = ("auto", "plain")
REMAT_POLICIES = ("none", "full", "dots", "named")
POSITIVE = (
    "vocab_size embedding_size hidden_size intra_bottleneck_size intermediate_size "
    "num_attention_heads num_feedforward_networks max_position_embeddings type_vocab_size scan_unroll"
).split()


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One encoder. Names and meanings follow google-research `mobilebert/modeling.py` and its config files.

    Widths: `hidden_size` between blocks, `intra_bottleneck_size` inside a block (equal to `hidden_size` when
    `use_bottleneck` is false). `gelu` is the tanh approximation, `gelu_erf` the exact form. `dtype` is what
    matrix products compute in; parameters, residual stream, norms, softmax and logits are always float32. `remat` and
    `scan_unroll` (blocks the scan's body holds: more compile faster code for small models) change no number.
    `attention_kernel`: "auto" takes a fused one where there is one and nothing asks for maps, "plain" never does; the
    two differ by rounding.
    `torch_norm_eps`: the LayerNorms of the embeddings and of a block's last FFN use 1e-5 instead of `layer_norm_eps`,
    as transformers builds them (`modeling_mobilebert.py` passes it to all norms but these two).

    Raises:
        UserError: a value out of range, or a combination that is no MobileBERT; the message names both.
    """

    vocab_size: int = 30522
    embedding_size: int = 128
    hidden_size: int = 512
    intra_bottleneck_size: int = 128
    intermediate_size: int = 512
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    num_feedforward_networks: int = 4
    trigram_input: bool = True
    use_bottleneck: bool = True
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    normalization_type: str = "no_norm"
    hidden_act: str = "relu"
    classifier_activation: bool = False
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    torch_norm_eps: bool = False
    zero_pad_embeddings: bool = False
    dtype: str = "float32"
    remat: str = "none"
    scan_unroll: int = 1
    attention_kernel: str = "auto"

    def __post_init__(self):
        if self.num_hidden_layers < 0:
            raise UserError(f"model.num_hidden_layers={self.num_hidden_layers}: must not be negative")
        for name in POSITIVE:
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)}: must be at least 1")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)}: a probability in [0, 1) is needed")
        self._check_choice("normalization_type", NORMS)
        self._check_choice("hidden_act", ACTIVATIONS)
        self._check_choice("remat", REMAT_POLICIES)
        self._check_choice("attention_kernel", ATTENTION_KERNELS)
        if self.dtype == "float16":
            raise UserError("model.dtype=float16: activations of NoNorm models reach 1e7 and overflow it; use bfloat16")
        self._check_choice("dtype", DTYPES)
        self._check_widths()

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise UserError(f"model.{name}={getattr(self, name)!r}: must be one of {', '.join(choices)}")

    def _check_widths(self) -> None:
        if self.inner_size % self.num_attention_heads:
            raise UserError(
                f"model.num_attention_heads={self.num_attention_heads}: does not divide the width {self.inner_size}"
            )
        if self.embedding_size > self.hidden_size:
            raise UserError(
                f"model.embedding_size={self.embedding_size}: must not exceed hidden_size={self.hidden_size}"
            )
        if not self.use_bottleneck:
            if self.intra_bottleneck_size != self.hidden_size:
                raise UserError(
                    f"model.intra_bottleneck_size={self.intra_bottleneck_size}: without use_bottleneck it must equal "
                    f"hidden_size={self.hidden_size}"
                )
            for name in ("use_bottleneck_attention", "key_query_shared_bottleneck"):
                if getattr(self, name):
                    raise UserError(f"model.{name}=True: needs use_bottleneck=True")

    @property
    def inner_size(self) -> int:
        """Width inside a block: attention heads times head size, and the FFNs' input."""
        return self.intra_bottleneck_size

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.inner_size // self.num_attention_heads

    @property
    def outer_norm_eps(self) -> float:
        """Epsilon of the embeddings' LayerNorm and of a block's last FFN's."""
        return 1e-5 if self.torch_norm_eps else self.layer_norm_eps

    @property
    def shared_query_key(self) -> bool:
        """True when queries and keys come from their own shared bottleneck (`use_bottleneck_attention` wins)."""
        return self.key_query_shared_bottleneck and not self.use_bottleneck_attention

    def replace(self, **changes: Any) -> "ModelConfig":
        """A checked copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`.

        Raises:
            UserError: an unknown field.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f"model.{unknown[0]}: no such field; the fields are {', '.join(sorted(known))}")
        return cls(**values)

    @classmethod
    def mobilebert(cls, **changes: Any) -> "ModelConfig":
        """The released model (uncased_L-24_H-128_B-512_A-4_F-4_OPT): 24,581,888 encoder parameters."""
        return cls(**changes)

    @classmethod
    def mobilebert_tiny(cls, **changes: Any) -> "ModelConfig":
        """MobileBERT_TINY: attention inside the bottleneck, 2 FFNs a block; 15,485,696 encoder parameters."""
        tiny = {
            "num_feedforward_networks": 2,
            "use_bottleneck_attention": True,
            "key_query_shared_bottleneck": False,
        }
        return cls(**{**tiny, **changes})

    @classmethod
    def mobilebert_no_opt(cls, **changes: Any) -> "ModelConfig":
        """MobileBERT without the operational optimisations: LayerNorm and gelu."""
        return cls(**{"normalization_type": "layer_norm", "hidden_act": "gelu", **changes})

    @classmethod
    def mobilebert_qat(cls, **changes: Any) -> "ModelConfig":
        """The model for quantisation-aware training: relu6."""
        return cls(**{"hidden_act": "relu6", **changes})

    @classmethod
    def mobilebert_multilingual(cls, **changes: Any) -> "ModelConfig":
        """MobileBERT over the cased multilingual vocabulary: 35,977,088 encoder parameters."""
        return cls(**{"vocab_size": 119547, **changes})

    @classmethod
    def ib_bert_large(cls, **changes: Any) -> "ModelConfig":
        """The teacher, inverted-bottleneck BERT_LARGE: 294,205,184 encoder parameters without the pooler."""
        teacher = {
            "intra_bottleneck_size": 1024,
            "intermediate_size": 4096,
            "num_feedforward_networks": 1,
            "key_query_shared_bottleneck": False,
            "normalization_type": "layer_norm",
            "hidden_act": "gelu",
            "classifier_activation": True,
            "hidden_dropout_prob": 0.1,
        }
        return cls(**{**teacher, **changes})

    @classmethod
    def bert_base(cls, **changes: Any) -> "ModelConfig":
        """Plain BERT_BASE (no bottleneck, no trigram)."""
        return cls._bert(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, changes=changes)

    @classmethod
    def bert_large(cls, **changes: Any) -> "ModelConfig":
        """Plain BERT_LARGE (no bottleneck, no trigram)."""
        return cls._bert(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, changes=changes)

    @classmethod
    def test_teacher(cls, **changes: Any) -> "ModelConfig":
        """A teacher small enough for tests: 3 blocks, width 32, an inverted bottleneck of 48."""
        small = {
            "vocab_size": 67,
            "embedding_size": 16,
            "hidden_size": 32,
            "intra_bottleneck_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "max_position_embeddings": 24,
        }
        return cls.ib_bert_large(**{**small, **changes})

    @classmethod
    def test_student(cls, **changes: Any) -> "ModelConfig":
        """A student for `test_teacher`: 3 blocks, width 32, a bottleneck of 16."""
        small = {
            "vocab_size": 67,
            "embedding_size": 16,
            "hidden_size": 32,
            "intra_bottleneck_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "max_position_embeddings": 24,
            "num_feedforward_networks": 3,
        }
        return cls(**{**small, **changes})

    @classmethod
    def _bert(cls, hidden_size: int, num_hidden_layers: int, num_attention_heads: int, changes: dict) -> "ModelConfig":
        bert = {
            "embedding_size": hidden_size,
            "hidden_size": hidden_size,
            "intra_bottleneck_size": hidden_size,
            "intermediate_size": 4 * hidden_size,
            "num_hidden_layers": num_hidden_layers,
            "num_attention_heads": num_attention_heads,
            "num_feedforward_networks": 1,
            "trigram_input": False,
            "use_bottleneck": False,
            "key_query_shared_bottleneck": False,
            "normalization_type": "layer_norm",
            "hidden_act": "gelu",
            "classifier_activation": True,
            "hidden_dropout_prob": 0.1,
        }
        return cls(**{**bert, **changes})


PRESETS = (
    "mobilebert mobilebert_tiny mobilebert_no_opt mobilebert_qat mobilebert_multilingual ib_bert_large bert_base "
    "bert_large test_teacher test_student"
).split()


def preset(name: str, **changes: Any) -> ModelConfig:
    """The preset of that name.

    Raises:
        UserError: no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"model preset {name!r}: must be one of {', '.join(PRESETS)}")
    return getattr(ModelConfig, name)(**changes)
