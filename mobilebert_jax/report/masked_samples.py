"""Masked held-out text with the teacher's and the student's guesses, made from their model folders."""

from pathlib import Path

import jax
import numpy as np

from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.report.markup import Markup, join, note, percent, tag
from mobilebert_jax.report.run_folder import RunFolder
from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.packed_examples import PackedExamples
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer

SHOWN, LONGEST, MOST_MASKS, CANDIDATES = 4, 64, 10, 2
FIELDS = ("input_ids", "attention_mask", "token_type_ids", "segment_ids", "masked_positions")

Guesses = list[list[tuple[str, float]]]
"""For each mask, the likeliest pieces with their probabilities."""


def masked_samples(run: RunFolder) -> Markup:
    """The first examples of the held-out stream, masked as in training."""
    folders = {"teacher": run.teacher_model(), "student": run.student_model()}
    folders = {name: folder for name, folder in folders.items() if folder.is_dir()}
    if not folders or not (run.path / "data" / "manifest.json").is_file():
        return note("No phase has finished a model yet.")
    tokenizer = load_tokenizer(run.path / "data" / "tokenizer")
    batch = _examples(run, tokenizer)
    guesses = {name: _guess(folder, batch, tokenizer) for name, folder in folders.items()}
    cards = [_card(row, batch, {name: all_[row] for name, all_ in guesses.items()}, tokenizer) for row in range(SHOWN)]
    remark = "The first examples of the held-out stream; what is boxed was hidden from the models or replaced."
    return join(note(remark), tag("div", *cards, cls="cards"))


def _examples(run: RunFolder, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    phase, data = run.config["distill"], run.config["data"]
    kind = PackedExamples if data.get("packing") else PretrainingExamples
    examples = kind(
        TokenStore.open(run.path / "data", "heldout"),
        tokenizer,
        seed=run.config["seed"],
        batch_size=SHOWN,
        sequence_length=min(phase["sequence_length"], LONGEST),
        max_predictions=min(phase["max_predictions"], MOST_MASKS),
        mask_probability=data["mask_probability"],
        whole_word=data["whole_word"],
        short_sequence_probability=0.0,
    )
    return examples.batch(0)


def _guess(folder: Path, batch: dict[str, np.ndarray], tokenizer: Tokenizer) -> list[Guesses]:
    """The model's likeliest pieces at every masked position, example by example."""
    model, params = from_pretrained(folder, head="pretraining")

    @jax.jit
    def forward(params, batch):
        fields = {name: batch[name] for name in FIELDS if name in batch}
        logits = model.apply({"params": params}, **fields).prediction_logits
        return jax.lax.top_k(jax.nn.softmax(logits), CANDIDATES)

    shares, ids = (np.asarray(part) for part in forward(params, batch))
    return [
        [[(tokenizer.pieces[i], float(s)) for i, s in zip(*slot, strict=True)] for slot in zip(*row, strict=True)]
        for row in zip(ids, shares, strict=True)
    ]


def _card(row: int, batch: dict[str, np.ndarray], guesses: dict[str, Guesses], tokenizer: Tokenizer) -> Markup:
    used = batch["masked_weights"][row] > 0
    truth = {
        int(position): int(true)
        for position, true in zip(batch["masked_positions"][row][used], batch["masked_ids"][row][used], strict=True)
    }
    head = tag("tr", *(tag("th", name) for name in ("hidden", *guesses)))
    rows = [
        tag("tr", tag("td", tag("b", true)), *(tag("td", _candidates(own[slot], true)) for own in guesses.values()))
        for slot, true in enumerate(tokenizer.pieces[index] for index in truth.values())
    ]
    body = tag("table", tag("thead", head), tag("tbody", *rows), cls="guesses")
    return tag("article", tag("div", _sentence(row, batch, truth, tokenizer), cls="passage"), body)


def _candidates(candidates: list[tuple[str, float]], true: str) -> Markup:
    written = [
        tag("span", piece, " ", tag("small", percent(share)), cls="guess right" if piece == true else "guess")
        for piece, share in candidates
    ]
    return join(*written)


def _sentence(row: int, batch: dict[str, np.ndarray], truth: dict[int, int], tokenizer: Tokenizer) -> Markup:
    """The pieces as words; masked ones boxed with what stood there, a line between two segments or packed texts."""
    pieces: list[Markup | str] = []
    length = int(batch["attention_mask"][row].sum())
    for position in range(1, length - 1):
        index = truth.get(position, int(batch["input_ids"][row][position]))
        if index in (tokenizer.sep_id, tokenizer.cls_id) and position not in truth:
            pieces += [Markup("<hr>")] if index == tokenizer.sep_id else []
            continue
        text = tokenizer.text_of(index)
        pieces += [] if tokenizer.continuation[index] or not pieces else [" "]
        pieces.append(tag("mark", text, cls="hidden") if position in truth else text)
    return join(*pieces)
