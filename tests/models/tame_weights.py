"""Weights and batches from numpy's frozen legacy streams: the same numbers wherever they are drawn again."""

import numpy as np


def tame(stream, name, shape, sharpness=1.8):
    """One tensor of a state dict: random in every entry, of a size that keeps activations near one."""
    noise = stream.standard_normal(shape)
    if "LayerNorm" in name:
        # A NoNorm divides by nothing: these two keep 24 blocks from growing, and tokens from becoming all alike.
        centre = 1.0 if ".output.bottleneck." in name else 0.7
        return (centre * name.endswith("weight") + 0.02 * noise).astype(np.float32)
    if name.endswith("bias"):
        return (0.02 * noise).astype(np.float32)
    if "embeddings" in name:
        return (0.2 * noise).astype(np.float32)
    gain = sharpness if ".query." in name or ".key." in name else 0.7
    return (gain / np.sqrt(shape[-1]) * noise).astype(np.float32)


def batch(vocab_size, length, padded, seed=1, rows=2):
    """input_ids, attention_mask, token_type_ids [rows, length] int32; `padded`: rows of different lengths."""
    stream = np.random.RandomState(seed)
    lengths = np.array([length - row * (length // 3) if padded else length for row in range(rows)])
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    ids = (stream.randint(1, vocab_size, (rows, length)) * mask).astype(np.int32)
    return ids, mask, (stream.randint(0, 2, (rows, length)) * mask).astype(np.int32)


def tame_state_dict(shapes, seed=0, sharpness=1.8):
    """{name: tensor} of {name: shape}, drawn in the order of the names; `sharpness` is that of attention."""
    stream = np.random.RandomState(seed)
    return {name: tame(stream, name, tuple(shape), sharpness) for name, shape in sorted(shapes.items())}
