"""Makes tests/models/golden/*.npz with transformers (extra `parity`): python -m tests.parity.make_golden

One file a case: config.json, names and shapes of the state dict, and every output for a whole and a padded batch. The
weights are not stored; `tests/models/tame_weights.py` draws them again.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy

from tests.models.tame_weights import batch
from tests.parity.their_models import their_model, their_outputs

GOLDEN = Path(__file__).parents[1] / "models" / "golden"
SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}
NARROW = {"embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2}
PLAIN = {"embedding_size": 32, "intra_bottleneck_size": 32}
POOLED = {"classifier_activation": True}
CASES = {
    "mobilebert-pretraining": ("mobilebert", "pretraining", NARROW),
    "mobilebert-masked_lm": ("mobilebert", "masked_lm", NARROW),
    "mobilebert-next_sentence": ("mobilebert", "next_sentence", NARROW | POOLED),
    "mobilebert-qa": ("mobilebert", "qa", NARROW),
    "mobilebert-classification": ("mobilebert", "classification", NARROW | POOLED),
    "mobilebert-token_classification": ("mobilebert", "token_classification", NARROW),
    "mobilebert_tiny-pretraining": ("mobilebert_tiny", "pretraining", NARROW),
    "mobilebert_no_opt-pretraining": ("mobilebert_no_opt", "pretraining", NARROW),
    "mobilebert_qat-none": ("mobilebert_qat", None, NARROW),
    "bert_base-pretraining": ("bert_base", "pretraining", PLAIN),
    "bert_base-qa": ("bert_base", "qa", PLAIN | {"hidden_act": "gelu_erf"}),
}
LENGTH = 7


def main():
    GOLDEN.mkdir(exist_ok=True)
    for case, (name, head, changes) in CASES.items():
        model = their_model(name, head, **SMALL | changes)
        arrays = {}
        for padded in (False, True):
            outputs = their_outputs(model, batch(SMALL["vocab_size"], LENGTH, padded))
            arrays |= {f"{'padded' if padded else 'whole'}/{key}": value for key, value in outputs.items()}
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            arrays["config"] = np.array(Path(folder, "config.json").read_text())
            stored = safetensors.numpy.load_file(Path(folder, "model.safetensors"))
        arrays["shapes"] = np.array(json.dumps({key: tensor.shape for key, tensor in stored.items()}))
        np.savez_compressed(GOLDEN / f"{case}.npz", **arrays)


if __name__ == "__main__":
    main()
