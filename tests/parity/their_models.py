"""transformers' models with seeded weights tame enough to be informative, and what both sides give for one batch."""

import numpy as np
import torch
import transformers

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.folder_config import folder_config
from mobilebert_jax.models.heads import build_model
from tests.models.tame_weights import tame

CLASSES = {
    "pretraining": "ForPreTraining",
    "masked_lm": "ForMaskedLM",
    "next_sentence": "ForNextSentencePrediction",
    "qa": "ForQuestionAnswering",
    "classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    None: "Model",
}


def their_model(name, head, labels=3, seed=0, **changes):
    """transformers' model of a preset, in eval mode, with weights of `draw`; attention computed by plain products."""
    cfg = preset(name, **changes)
    values = folder_config(build_model(cfg, head))
    family = {"mobilebert": "MobileBert", "bert": "Bert"}[values["model_type"]]
    kept = {key: value for key, value in values.items() if key in transformers_fields(family)}
    config = getattr(transformers, f"{family}Config")(**kept, num_labels=labels if "classification" in str(head) else 2)
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{family}{CLASSES[head]}")(config).eval()
    draw(model, seed)
    return model


def transformers_fields(family):
    """The fields of `config.json` that transformers' own config has."""
    return set(getattr(transformers, f"{family}Config")().to_dict()) - {"architectures", "id2label", "label2id"}


def draw(model, seed):
    """Weights in the order of their names from one numpy stream: kernels that keep a unit scale, norms around one."""
    stream = np.random.RandomState(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            parameter.copy_(torch.from_numpy(tame(stream, name, tuple(parameter.shape))))


def their_outputs(model, inputs):
    """Every tensor of a forward pass by our names, numpy."""
    ids, mask, types = (torch.from_numpy(array.astype(np.int64)) for array in inputs)
    with torch.no_grad():
        out = model(
            input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True, output_attentions=True
        )
    found = {
        "hidden_states": np.stack([state.numpy() for state in out.hidden_states]),
        "attention_probs": np.stack([probs.numpy() for probs in out.attentions]),
    }
    names = "prediction_logits seq_relationship_logits start_logits end_logits logits pooler_output last_hidden_state"
    for name in names.split():
        if getattr(out, name, None) is not None:
            found[name] = getattr(out, name).numpy()
    kind = type(model).__name__
    if "logits" in found and ("MaskedLM" in kind or "NextSentence" in kind):
        found["prediction_logits" if "MaskedLM" in kind else "seq_relationship_logits"] = found.pop("logits")
    return found
