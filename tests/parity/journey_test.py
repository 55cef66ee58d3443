"""There and back: a folder of transformers is fine-tuned here and answers the same there; a BERT teaches a student."""

import json

import jax
import numpy as np
import pytest
import torch
import transformers

import mobilebert_jax as mb
from mobilebert_jax.cli.main import main
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.parity.their_models import their_model
from tests.recipes.labels_model import TINY
from tests.recipes.tiny_run import WORDS

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 48,
}


@pytest.fixture(scope="module")
def tokenizer(tiny_run):
    return train_tokenizer([(tiny_run.folder / "corpus.txt").read_text()], 120)


def test_a_fine_tuned_import_answers_the_same_in_transformers(tiny_run, tokenizer, tmp_path):
    sizes = SMALL | {"embedding_size": 16, "intra_bottleneck_size": 16, "vocab_size": tokenizer.vocab_size}
    their_model("mobilebert", "pretraining", **sizes).save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs")
    assert main(["import", str(tmp_path / "theirs"), f"--output={tmp_path / 'ours'}"]) == 0
    tiny_run.finish("finetune", tmp_path / "run", f"--model={tmp_path / 'ours'}")
    assert main(["export", f"--model={tmp_path / 'run' / 'model'}", f"--output={tmp_path / 'out'}"]) == 0

    theirs = transformers.MobileBertForQuestionAnswering.from_pretrained(tmp_path / "out").eval()
    pieces = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    questions = json.loads((tiny_run.folder / "questions.json").read_text())["data"]
    passages = [article["paragraphs"][0]["context"] for article in questions]
    inputs = pieces(
        ["what was first?"] * len(passages), passages, truncation="only_second", max_length=40, padding=True,
        return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        expected = theirs(**inputs)
    model, params = from_pretrained(tmp_path / "run" / "model", "qa")
    names = ("input_ids", "attention_mask", "token_type_ids")
    batch = [inputs[name].numpy().astype(np.int32) for name in names]
    found = jax.jit(lambda params: model.apply({"params": params}, *batch))(params)
    learnt = from_pretrained(tmp_path / "ours")[1]["layers"]["ffn_0"]["intermediate"]["kernel"]
    assert np.any(learnt != params["encoder"]["layers"]["ffn_0"]["intermediate"]["kernel"])
    seen = batch[1] > 0
    for ours, own in ((found.start_logits, expected.start_logits), (found.end_logits, expected.end_logits)):
        ours, own = np.asarray(ours), own.numpy()
        error = np.abs(ours - own)[seen].max() / np.abs(own[seen]).max()
        print(f"logits of {len(passages)} questions: largest difference {error:.1e}")
        assert error < 1e-5
        np.testing.assert_array_equal(np.where(seen, ours, -1e9).argmax(1), np.where(seen, own, -1e9).argmax(1))


def test_a_bert_of_transformers_teaches_a_student(tiny_run, tokenizer, tmp_path):
    changes = {"embedding_size": 32, "intra_bottleneck_size": 32, "vocab_size": tokenizer.vocab_size}
    teacher = their_model("bert_base", "pretraining", **SMALL, **changes, num_attention_heads=4)
    teacher.save_pretrained(tmp_path / "bert")
    tokenizer.save(tmp_path / "bert")
    given = (f"--config.teacher.path={tmp_path / 'bert'}", f"--config.data.tokenizer={tmp_path / 'bert'}")
    tiny_run.finish("distill", tmp_path / "run", *given)
    model, _ = from_pretrained(tmp_path / "run" / "distill" / "model", "pretraining")
    assert model.cfg.use_bottleneck and model.cfg.hidden_size == 32
    words = [f"--workdir={tmp_path / 'wide'}", *tiny_run.words, *given, "--config.model.student.hidden_size=36"]
    assert main(["distill", *words]) == 2


def test_tags_learnt_here_are_the_same_in_transformers(tiny_run, tokenizer, tmp_path):
    sizes = SMALL | {"embedding_size": 16, "intra_bottleneck_size": 16, "vocab_size": tokenizer.vocab_size}
    their_model("mobilebert", None, **sizes).save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs")
    sentences = [[WORDS[(start + step) % len(WORDS)] for step in range(8)] for start in range(30)]
    lines = ["\n".join(f"{word} {'B-X' if word in ('cat', 'dogs') else 'O'}" for word in own) for own in sentences]
    (tmp_path / "tags.conll").write_text("\n\n".join(lines))
    given = [f"--model={tmp_path / 'theirs'}", f"--dataset={tmp_path / 'tags.conll'}", f"--workdir={tmp_path / 'run'}"]
    quick = [*map("--config.{}".format, TINY), "--config.finetune.epochs=1", "--config.finetune.bucketing=false"]
    assert main(["finetune", "--task=tokens", *given, *quick]) == 0
    assert main(["export", f"--model={tmp_path / 'run' / 'model'}", f"--output={tmp_path / 'out'}"]) == 0

    theirs = transformers.MobileBertForTokenClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label == {0: "B-X", 1: "O"}
    pieces = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    # The last token sees what stands behind it: padding, on both sides, also behind the longest.
    padded = {"padding": "max_length", "max_length": 40}
    inputs = pieces(sentences, is_split_into_words=True, return_tensors="pt", **padded)
    with torch.no_grad():
        logits = theirs(**inputs).logits.numpy()
    words = map(inputs.word_ids, range(len(sentences)))
    firsts = [[own.index(word) for word in range(8)] for own in words]
    expected = np.concatenate([own[columns] for own, columns in zip(logits, firsts, strict=True)])
    found = mb.TokenClassifier.from_pretrained(tmp_path / "run" / "model", sequence_length=40).logits(sentences)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"logits of {len(found)} words: largest difference {error:.1e}")
    assert error < 1e-5
