"""MobileBERT in JAX: the model, what asks it (answers, classes, hidden words), and model folders in and out."""

import importlib

_HOMES = {
    "ModelConfig": "mobilebert_jax.models.config",
    "MobileBert": "mobilebert_jax.models.encoder",
    "from_pretrained": "mobilebert_jax.models.pretrained",
    "save_pretrained": "mobilebert_jax.models.pretrained",
    "resize_vocabulary": "mobilebert_jax.models.resize",
    "at_precision": "mobilebert_jax.quantization.precision",
    "QuestionAnswerer": "mobilebert_jax.inference.question_answerer",
    "Classifier": "mobilebert_jax.inference.classifier",
    "TokenClassifier": "mobilebert_jax.inference.token_classifier",
    "MaskFiller": "mobilebert_jax.inference.mask_filler",
}

__all__ = [
    "Classifier",
    "MaskFiller",
    "MobileBert",
    "ModelConfig",
    "QuestionAnswerer",
    "TokenClassifier",
    "at_precision",
    "from_pretrained",
    "resize_vocabulary",
    "save_pretrained",
]


def __getattr__(name: str):
    """Public names are imported when asked for, so that `mobilebert --help` does not wait for JAX."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
