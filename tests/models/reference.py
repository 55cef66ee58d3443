"""The forward pass of every variant in plain numpy float64, one layer after the other, reading parameters by name."""

import math

import numpy as np

from mobilebert_jax.utils.trees import named_leaves


def float64_params(params):
    return {name.removeprefix("encoder/"): np.asarray(leaf, np.float64) for name, leaf in named_leaves(params).items()}


def dense(params, name, x):
    return x @ params[f"{name}/kernel"] + params[f"{name}/bias"]


def layer_norm(params, name, x, epsilon):
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * params[f"{name}/scale"] + params[f"{name}/bias"]


def norm(cfg, params, name, x):
    if cfg.normalization_type == "layer_norm":
        return layer_norm(params, name, x, cfg.layer_norm_eps)
    return params[f"{name}/scale"] * x + params[f"{name}/bias"]


def activation(cfg, x):
    if cfg.hidden_act == "relu":
        return np.maximum(x, 0)
    if cfg.hidden_act == "relu6":
        return np.clip(x, 0, 6)
    if cfg.hidden_act == "gelu":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def embed(cfg, params, input_ids, attention_mask, token_type_ids):
    words = params["embeddings/word_embeddings/embedding"][input_ids]
    if cfg.zero_pad_embeddings:
        words = words * (np.asarray(attention_mask)[:, :, None] > 0)
    if cfg.trigram_input:
        batch, length, width = words.shape
        grams = np.zeros((batch, length, 3 * width))
        for position in range(length):
            if position + 1 < length:
                grams[:, position, :width] = words[:, position + 1]
            grams[:, position, width : 2 * width] = words[:, position]
            if position > 0:
                grams[:, position, 2 * width :] = words[:, position - 1]
        words = grams
    if cfg.trigram_input or cfg.embedding_size != cfg.hidden_size:
        words = dense(params, "embeddings/embedding_transformation", words)
    types = params["embeddings/token_type_embeddings/embedding"][token_type_ids]
    positions = params["embeddings/position_embeddings/embedding"][: input_ids.shape[1]]
    return norm(cfg, params, "embeddings/norm", words + types + positions)


def attend(cfg, params, query_input, key_input, value_input, attention_mask):
    """Context, scores (minus infinity at masked keys) and probabilities, one head at a time."""
    query = dense(params, "attention/query", query_input)
    key = dense(params, "attention/key", key_input)
    value = dense(params, "attention/value", value_input)
    size = query.shape[-1] // cfg.num_attention_heads
    contexts, all_scores, all_probs = [], [], []
    for head in range(cfg.num_attention_heads):
        columns = slice(head * size, (head + 1) * size)
        scores = query[..., columns] @ key[..., columns].swapaxes(1, 2) / math.sqrt(size)
        scores = np.where(np.asarray(attention_mask)[:, None, :] > 0, scores, -np.inf)
        exponentials = np.exp(scores - scores.max(-1, keepdims=True))
        probs = exponentials / exponentials.sum(-1, keepdims=True)
        contexts.append(probs @ value[..., columns])
        all_scores.append(scores)
        all_probs.append(probs)
    return np.concatenate(contexts, -1), np.stack(all_scores, 1), np.stack(all_probs, 1)


def feed_forward(cfg, params, name, y):
    grown = activation(cfg, dense(params, f"{name}/intermediate", y))
    return norm(cfg, params, f"{name}/output/norm", dense(params, f"{name}/output/dense", grown) + y)


def block(cfg, params, x, attention_mask):
    def bottleneck(name):
        return norm(cfg, params, f"{name}/norm", dense(params, f"{name}/dense", x))

    h = bottleneck("bottleneck_input") if cfg.use_bottleneck else x
    inputs = (x, x, x)
    if cfg.use_bottleneck and cfg.use_bottleneck_attention:
        inputs = (h, h, h)
    elif cfg.use_bottleneck and cfg.key_query_shared_bottleneck:
        shared = bottleneck("bottleneck_attention")
        inputs = (shared, shared, x)
    context, scores, probs = attend(cfg, params, *inputs, attention_mask)
    y = norm(cfg, params, "attention_output/norm", dense(params, "attention_output/dense", context) + h)
    for number in range(cfg.num_feedforward_networks):
        y = feed_forward(cfg, params, f"ffn_{number}", y)
    if cfg.use_bottleneck:
        y = norm(cfg, params, "bottleneck_output/norm", dense(params, "bottleneck_output/dense", y) + x)
    return y, scores, probs


def encode(cfg, params, input_ids, attention_mask, token_type_ids):
    """What `EncoderOutput` holds, as a dict, and the float64 parameters under 'params'."""
    params = float64_params(params)
    x = embed(cfg, params, input_ids, attention_mask, token_type_ids)
    hidden, scores, probs = [x], [], []
    for layer in range(cfg.num_hidden_layers):
        own = {name.removeprefix("layers/"): leaf[layer] for name, leaf in params.items() if name.startswith("layers/")}
        x, layer_scores, layer_probs = block(cfg, own, x, attention_mask)
        hidden.append(x)
        scores.append(layer_scores)
        probs.append(layer_probs)
    pooled = x[:, 0]
    if "pooler/dense/kernel" in params:
        pooled = np.tanh(dense(params, "pooler/dense", pooled))
    return {
        "last_hidden_state": x,
        "hidden_states": np.stack(hidden),
        "attention_scores": np.stack(scores),
        "attention_probs": np.stack(probs),
        "pooler_output": pooled,
        "params": params,
    }


def masked_lm_logits(cfg, params, hidden):
    x = activation(cfg, dense(params, "masked_lm/transform", hidden))
    x = layer_norm(params, "masked_lm/norm", x, cfg.layer_norm_eps)
    logits = x[..., : cfg.embedding_size] @ params["embeddings/word_embeddings/embedding"].T
    if cfg.hidden_size > cfg.embedding_size:
        logits = logits + x[..., cfg.embedding_size :] @ params["masked_lm/extra_embedding"].T
    return logits + params["masked_lm/output_bias"]
