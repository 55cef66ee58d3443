"""What `bench device` compares: MobileBERT's variants and the encoders that people would take instead.

All are built from the same layers with random weights, and go through the same exporters. ALBERT is one block applied
twelve times, after word vectors of 128; its types and positions are added behind their projection, not before it, which
changes neither size nor time.
"""

import dataclasses

import jax
import numpy as np

from mobilebert_jax.export.inference_form import InferenceForm, inference_form
from mobilebert_jax.export.inference_forward import Forward, forward
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.utils.trees import count_parameters
from mobilebert_jax.utils.types import INPUTS

HEAD = "qa"


@dataclasses.dataclass(frozen=True)
class Network:
    """An encoder; `shared`: all its blocks are one."""

    cfg: ModelConfig
    shared: bool = False


NETWORKS = {
    "mobilebert": Network(ModelConfig.mobilebert()),
    "mobilebert_tiny": Network(ModelConfig.mobilebert_tiny()),
    "mobilebert_no_opt": Network(ModelConfig.mobilebert_no_opt()),
    "bert_base": Network(ModelConfig.bert_base()),
    "distilbert": Network(ModelConfig.bert_base(num_hidden_layers=6)),
    "albert_base": Network(ModelConfig.bert_base(embedding_size=128), shared=True),
}
BASELINE = "bert_base"


def random_form(network: Network) -> tuple[InferenceForm, int]:
    """The form of the network with fresh weights and a span head, and how many parameters it has."""
    own = network.cfg.replace(num_hidden_layers=1) if network.shared else network.cfg
    model = build_model(own, HEAD)
    params = jax.tree.map(np.asarray, init_params(model, 0))
    form = inference_form(model, params)
    if network.shared:
        form = form.replace(blocks=form.blocks * network.cfg.num_hidden_layers, cfg=network.cfg)
    return form, count_parameters(params)


def flops(form: InferenceForm, length: int, run: Forward = forward) -> float:
    """Floating-point operations of one example, as XLA counts them before it optimises."""
    specs = [jax.ShapeDtypeStruct((1, length), np.int32)] * len(INPUTS)
    return float(jax.jit(run).lower(form, *specs).cost_analysis()["flops"])
