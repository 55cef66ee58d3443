"""Every kind of bad file, made once."""

import gzip
import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import zstandard
from safetensors.numpy import load_file, save_file

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.special_tokens import SPECIAL_TOKENS
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.models.model_cases import random_params
from tests.recipes.tiny_run import TinyRun
from tests.text.given_models import T5, given_model

SQUAD = {"id": "1", "question": "who?", "answers": [{"text": "A cat", "answer_start": 0}], "is_impossible": False}


def make_bad_files(folder: Path, tiny: TinyRun) -> None:
    """Fills `folder`; what is whole is called good."""
    shutil.copy(tiny.folder / "corpus.txt", folder / "good.txt")
    shutil.copy(tiny.folder / "questions.json", folder / "good.json")
    (folder / "good-passage.txt").write_text("A cat sat on the mat.")
    (folder / "blank.txt").write_text(" \n")
    _corpora(folder, (folder / "good.txt").read_bytes())
    _vocabularies(folder)
    _models(folder)
    _questions(folder)
    (folder / "other-ids.json").write_text('{"someone": "else"}')
    (folder / "other-format.pdf").write_text("text")
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text('{"config": {"seed": 1}, "identity"')


def _corpora(folder: Path, text: bytes) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "single.txt").write_bytes(b"One sentence. Another sentence.")
    (folder / "short.txt").write_bytes(b"one\n\ntwo\n\nthree\n\nfour")
    (folder / "latin.txt").write_bytes("caf\xe9\n\n".encode("latin-1") * 20)
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 8)
    for suffix, compress in ((".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)):
        whole = compress(text)
        (folder / f"cut.txt{suffix}").write_bytes(whole[: len(whole) // 2])
        (folder / f"fake.txt{suffix}").write_bytes(text)
    (folder / "field.jsonl").write_text('{"body": "text"}\n')
    (folder / "number.jsonl").write_text('{"text": 3}\n')
    (folder / "broken.jsonl").write_text('{"text": "a"\n')


def _vocabularies(folder: Path) -> None:
    pieces = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz"]
    for name, lines in (
        ("no-mask", [piece for piece in pieces if piece != "[MASK]"]),
        ("twice", [*pieces, "a"]),
        ("empty", []),
    ):
        (folder / f"{name}.vocab").write_text("".join(f"{line}\n" for line in lines))
    (folder / "latin.vocab").write_bytes("caf\xe9\n".encode("latin-1"))
    (folder / "broken-tokenizer.json").write_text('{"version": "1.0", "model":')
    (folder / "no-tokenizer").mkdir()
    (folder / "broken.model").write_bytes(b"[PAD]\n[UNK]\n")
    (folder / "t5.model").write_bytes(given_model(T5))


def _models(folder: Path) -> None:
    """model: a whole student with a span head and a tokenizer; the others lack or damage something."""
    tokenizer = train_tokenizer(["a cat sat on the mat " * 9], 64)
    for name, cfg, head in (
        ("model", ModelConfig.test_student(vocab_size=tokenizer.vocab_size, max_position_embeddings=48), "qa"),
        ("teacher", ModelConfig.test_teacher(vocab_size=tokenizer.vocab_size), "pretraining"),
    ):
        model = build_model(cfg, head)
        save_pretrained(folder / name, model, random_params(model), tokenizer)
    copies = "no-config bad-config no-weights cut-weights text-weights lacking misshapen no-pieces heads act"
    for name in copies.split():
        shutil.copytree(folder / "model", folder / name)
    (folder / "no-config" / "config.json").unlink()
    (folder / "bad-config" / "config.json").write_text("{")
    (folder / "no-weights" / "model.safetensors").unlink()
    whole = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "cut-weights" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "text-weights" / "model.safetensors").write_bytes(b"weights")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / "no-pieces" / name).unlink()
    tensors = load_file(folder / "model" / "model.safetensors")
    table = "mobilebert.embeddings.word_embeddings.weight"
    save_file({name: leaf for name, leaf in tensors.items() if name != table}, folder / "lacking" / "model.safetensors")
    save_file(tensors | {table: np.zeros((3, 16), np.float32)}, folder / "misshapen" / "model.safetensors")
    for name, change in (("heads", {"num_attention_heads": 3}), ("act", {"hidden_act": "tanh"})):
        path = folder / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))


def _questions(folder: Path) -> None:
    def squad(*questions: dict, contexts: tuple = ("A cat sat.", "A dog ran.")) -> str:
        paragraphs = [{"context": context, "qas": list(questions)} for context in contexts]
        return json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]})

    for name, text in (
        ("no-json", "{nonsense"),
        ("other-form", '{"version": "v2.0"}'),
        ("no-questions", squad()),
        ("same-ids", squad(SQUAD)),
        ("no-context", squad(SQUAD, contexts=(None,))),
        ("no-answers", squad({**SQUAD, "answers": []})),
        ("one-passage", squad(SQUAD, contexts=("A cat sat.",))),
        ("impossible", squad({**SQUAD, "is_impossible": True}, contexts=("A cat sat.",))),
        ("text-start", squad({**SQUAD, "answers": [{"text": "A", "answer_start": "0"}]})),
    ):
        (folder / f"{name}.json").write_text(text)
