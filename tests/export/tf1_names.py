"""The original's variables of a config, written out as its graph creates them: name -> shape."""

import numpy as np


def variables(cfg):
    """Encoder, masked-LM and next-sentence heads of google-research `mobilebert`, for any `ModelConfig` of theirs."""
    h, b, e, v = cfg.hidden_size, cfg.intra_bottleneck_size, cfg.embedding_size, cfg.vocab_size
    norm = "FakeLayerNorm" if cfg.normalization_type == "no_norm" else "LayerNorm"
    found = {
        "bert/embeddings/word_embeddings": (v, e),
        "bert/embeddings/token_type_embeddings": (cfg.type_vocab_size, h),
        "bert/embeddings/position_embeddings": (cfg.max_position_embeddings, h),
    }

    def dense(scope, rows, columns):
        found[f"{scope}/kernel"] = (rows, columns)
        found[f"{scope}/bias"] = (columns,)

    def scaled(scope, width, kind=norm):
        found[f"{scope}/{kind}/gamma"] = (width,)
        found[f"{scope}/{kind}/beta"] = (width,)

    dense("bert/embeddings/embedding_transformation", 3 * e, h)
    scaled("bert/embeddings", h)
    for layer in range(cfg.num_hidden_layers):
        scope = f"bert/encoder/layer_{layer}"
        shared = cfg.key_query_shared_bottleneck and not cfg.use_bottleneck_attention
        for part in ("input", *(("attention",) if shared else ())):
            dense(f"{scope}/bottleneck/{part}/dense", h, b)
            scaled(f"{scope}/bottleneck/{part}", b)
        outside = h if not (shared or cfg.use_bottleneck_attention) else b
        dense(f"{scope}/attention/self/query", outside, b)
        dense(f"{scope}/attention/self/key", outside, b)
        dense(f"{scope}/attention/self/value", b if cfg.use_bottleneck_attention else h, b)
        dense(f"{scope}/attention/output/dense", b, b)
        scaled(f"{scope}/attention/output", b)
        for number in range(cfg.num_feedforward_networks):
            ffn = f"{scope}/ffn_layer_{number}" if number < cfg.num_feedforward_networks - 1 else scope
            dense(f"{ffn}/intermediate/dense", b, cfg.intermediate_size)
            dense(f"{ffn}/output/dense", cfg.intermediate_size, b)
            scaled(f"{ffn}/output", b)
        dense(f"{scope}/output/bottleneck/dense", b, h)
        scaled(f"{scope}/output/bottleneck", h)
    if cfg.classifier_activation:
        dense("bert/pooler/dense", h, h)
    dense("cls/predictions/transform/dense", h, h)
    scaled("cls/predictions/transform", h, "LayerNorm")
    found["cls/predictions/extra_output_weights"] = (v, h - e)
    found["cls/predictions/output_bias"] = (v,)
    found["cls/seq_relationship/output_weights"] = (2, h)
    found["cls/seq_relationship/output_bias"] = (2,)
    return found


def values(cfg, seed=0):
    """One random array a variable."""
    stream = np.random.RandomState(seed)
    return {name: stream.standard_normal(shape).astype(np.float32) for name, shape in variables(cfg).items()}
