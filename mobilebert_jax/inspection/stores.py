"""What a token store holds: counts, lengths, unknown tokens, padding, examples as a model would see them."""

from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.recipes.settings import PHASES
from mobilebert_jax.recipes.workdir import read_run
from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.packed_examples import PackedExamples
from mobilebert_jax.text.store import COUNTS, SPLITS, TokenStore, is_intact, read_manifest, shard_folder
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError

EDGES = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Where the bins of the histograms end."""
LENGTHS = (128, 512)
"""Sequence lengths of a store that belongs to no run."""
TRIED, SHOWN = 512, 2
"""Examples that padding is measured on, and that are shown."""


def store_facts(folder: Path) -> dict[str, Any]:
    """The manifest without its list of shards, and whether each shard still has the bytes that it names."""
    manifest = read_manifest(folder)
    damaged = [entry["name"] for entry in manifest["shards"] if not is_intact(folder, entry)]
    facts = {name: value for name, value in manifest.items() if name not in ("splits", "shards", "versions")}
    sides = {split: _bare(counts) for split, counts in manifest["splits"].items()}
    return {
        **facts,
        "shards": len(manifest["shards"]),
        "bytes_per_token": _bytes(folder, manifest) / sum(side["tokens"] for side in sides.values()),
        **sides,
        "sha256": {split: counts["sha256"] for split, counts in manifest["splits"].items()},
        "versions": manifest["versions"],
        "intact": not damaged,
        **({"damaged": damaged} if damaged else {}),
    }


def _bare(counts: dict[str, Any]) -> dict[str, int]:
    return {name.removeprefix("num_"): counts[name] for name in COUNTS}


def _bytes(folder: Path, manifest: dict[str, Any]) -> int:
    places = [shard_folder(folder, entry["name"]) / split for entry in manifest["shards"] for split in SPLITS]
    return sum(path.stat().st_size for place in places for path in place.glob("*.npy"))


def store_arrays(folder: Path) -> dict[str, np.ndarray]:
    """`train/tokens` [n], `train/sentence_offsets`, `train/document_offsets`, and those of heldout; shards joined."""
    arrays = {}
    for split in SPLITS:
        store = TokenStore.open(folder, split)
        arrays[f"{split}/tokens"] = np.concatenate(store.tokens)
        arrays[f"{split}/sentence_offsets"] = store.sentence_offsets
        arrays[f"{split}/document_offsets"] = store.document_offsets
    return arrays


def store_statistics(folder: str | Path) -> dict[str, Any]:
    """What the training side of the store in `folder` is like.

    `tokens_a_sentence`, `tokens_a_document`: histograms as `{"up to 8": count, ..., "more": count}`. With the tokenizer
    beside the store also `unknown_share` (of all tokens), and `examples`: for every sequence length of the run that the
    store belongs to (128 and 512 where there is none) the share of padding and a few examples, decoded, with the masked
    words in brackets and what stands in their place.

    Raises:
        UserError: no store there, or a damaged one.
    """
    folder = Path(folder)
    store = TokenStore.open(folder, "train")
    found: dict[str, Any] = {
        "tokens_a_sentence": _histogram(np.diff(store.sentence_offsets)),
        "tokens_a_document": _histogram(np.diff(store.sentence_offsets[store.document_offsets])),
    }
    if not (folder / "tokenizer").is_dir():
        return found
    tokenizer = load_tokenizer(folder / "tokenizer")
    unknown = sum(int(np.count_nonzero(tokens == tokenizer.unk_id)) for tokens in store.tokens)
    found["unknown_share"] = unknown / store.num_tokens
    found["examples"] = [_examples(store, tokenizer, **sizes) for sizes in _sizes(folder)]
    return found


def _histogram(lengths: np.ndarray) -> dict[str, int]:
    bins = np.bincount(np.searchsorted(EDGES, lengths), minlength=len(EDGES) + 1)
    names = [*(f"up to {edge}" for edge in EDGES), "more"]
    return dict(zip(names, bins.tolist(), strict=True))


def _sizes(folder: Path) -> list[dict[str, Any]]:
    """The examples' settings in each phase of the run around the store, each once; the paper's without a run."""
    try:
        config = read_run(folder.resolve().parent / "config.json")["config"]
        data = {name: config["data"][name] for name in ("mask_probability", "whole_word", "short_sequence_probability")}
        data["packing"] = config["data"].get("packing", False)  # runs from before there was any have none
        own = ("sequence_length", "max_predictions")
        sizes = [{name: config[phase][name] for name in own} | data for phase in PHASES if phase != "finetune"]
    except (OSError, KeyError, TypeError, UserError):
        sizes = [{"sequence_length": length, "max_predictions": round(0.15 * length)} for length in LENGTHS]
    return [size for place, size in enumerate(sizes) if size not in sizes[:place]]


def _examples(store: TokenStore, tokenizer: Tokenizer, packing: bool = False, **sizes: Any) -> dict[str, Any]:
    kind = PackedExamples if packing else PretrainingExamples
    batch = kind(store, tokenizer, seed=0, batch_size=TRIED, **sizes).batch(0)
    return {
        "sequence_length": sizes["sequence_length"],
        "padding_share": 1 - float(batch["attention_mask"].mean()),
        "masked_share": float(batch["masked_weights"].sum() / batch["attention_mask"].sum()),
        "samples": [_decoded(batch, row, tokenizer) for row in range(SHOWN)],
    }


def _decoded(batch: dict[str, np.ndarray], row: int, tokenizer: Tokenizer) -> str:
    """An example as text; `{cat>[MASK]}` where a model sees the mask and must guess cat."""
    pieces = [tokenizer.pieces[index] for index in batch["input_ids"][row][: batch["attention_mask"][row].sum()]]
    used = batch["masked_weights"][row] > 0
    for place, original in zip(batch["masked_positions"][row][used], batch["masked_ids"][row][used], strict=True):
        pieces[place] = f"{{{tokenizer.pieces[original]}>{pieces[place]}}}"
    return " ".join(pieces)
