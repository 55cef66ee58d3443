"""A tiny model folder and GLUE's files in its words: what fine-tuning on labels is tried on."""

import jax
import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.recipes.tiny_run import WORDS


def save_encoder(path):
    """An encoder of random weights with its tokenizer."""
    tokenizer = train_tokenizer([" ".join(WORDS)], 120)
    model = build_model(ModelConfig.test_student(vocab_size=tokenizer.vocab_size, zero_pad_embeddings=True))
    rng = np.random.default_rng(0)
    shapes = abstract_params(model)
    params = jax.tree.map(lambda leaf: (0.1 * rng.normal(size=leaf.shape)).astype(np.float32), shapes)
    save_pretrained(path, model, params, tokenizer)
    return path


def write_rte(folder, train=40, dev=12):
    """RTE's three files; the second sentence is entailed where it says so."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("dev", dev), ("test", dev)):
        rows = []
        for number in range(count):
            label = rng.integers(0, 2)
            first = " ".join(rng.choice(WORDS[:8], rng.integers(1, 8)))
            rows.append([str(number), first, ("bright light", "dogs")[label], ("entailment", "not_entailment")[label]])
        header = ["index", "sentence1", "sentence2", "label"]
        lines = [header, *rows] if part != "test" else [header[:3], *(row[:3] for row in rows)]
        path = folder / "RTE" / f"{part}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    return folder


TINY = [
    "finetune.sequence_length=16",
    "finetune.batch_size=8",
    "finetune.epochs=3",
    "finetune.log_every=2",
    "finetune.optimizer.learning_rate=1e-3",
]
"""Overrides of configs/glue.py for that model and set: 15 steps, evaluations at 5, 10 and 15."""
