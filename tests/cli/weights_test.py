"""`mobilebert import`, `export` and `inspect --ranges`; bad folders end with exit code 2 and one line."""

import json
import warnings

import jax
import numpy as np
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.models.model_cases import random_params
from tests.models.model_folders import CFG, edit_config, edit_tensors, saved

KEY = "mobilebert.encoder.layer.0.attention.self.key.weight"


def test_import_and_export_print_what_they_wrote(command, tmp_path):
    saved(tmp_path / "theirs", CFG, "qa")
    (tmp_path / "theirs" / "vocab.txt").write_text("[PAD]\n")
    code, out, error = command("import", "theirs", "--output=ours")
    assert (code, error) == (0, "")
    count = f"{sum(leaf.size for leaf in _leaves(tmp_path / 'ours')):,}"
    assert out.splitlines()[0] == f"MobileBertForQuestionAnswering: {count} parameters, {CFG.vocab_size} words"
    assert out.splitlines()[1:] == ["tokenizer: vocab.txt", "finished: ours"]
    code, out, _ = command("export", "--model=ours", "--format=hf", "--output=back", "--json")
    assert code == 0 and out.count("\n") == 1
    assert json.loads(out)["architecture"] == "MobileBertForQuestionAnswering" and json.loads(out)["output"] == "back"
    data = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("theirs", "back")]
    assert data[0] == data[1]


def test_another_runtime_s_files_are_listed(command, tmp_path):
    saved(tmp_path / "ours", CFG, "qa")
    given = "export", "--model=ours", "--format=stablehlo", "--output=out"
    code, out, _ = command(*given, "--lengths=8,12")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[2:4]] == ["model-8.stablehlo", "model-12.stablehlo"]
    assert "outputs within" in out and (tmp_path / "out" / "model-8.stablehlo").is_file()
    for word, message in (("--lengths=8,x", "--lengths=x: numbers"), ("--precision=int4", "must be float32 or int8")):
        code, out, error = command(*given, word)
        assert (code, out) == (2, "") and message in error and error.count("\n") == 1


def _leaves(folder):
    return jax.tree.leaves(from_pretrained(folder, "qa")[1])


def test_head_and_vocabulary_can_be_chosen(command, tmp_path):
    saved(tmp_path / "theirs", CFG)
    code, out, _ = command("import", "theirs", "--output=ours", "--head=none", "--vocab_size=70")
    assert code == 0 and out.startswith("MobileBertModel: ") and "70 words" in out


def test_export_warns_in_one_line(command, tmp_path):
    saved(tmp_path / "m", CFG.replace(zero_pad_embeddings=True), "qa")
    code, _, error = command("export", "--model=m", "--output=out")
    assert code == 0 and error.startswith("mobilebert: warning: transformers will differ: zero_pad_embeddings")
    assert error.count("\n") == 1


def spoil_nan(folder):
    def change(tensors):
        tensors[KEY][0, 0] = np.nan

    edit_tensors(folder, change)


def to_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


BAD = {
    "without weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors missing"),
    "a pickle alone": (to_pickle, "pytorch_model.bin: a pickle can run any code when it is read and is not opened"),
    "truncated": (truncate, "not a readable safetensors file"),
    "another type": (lambda folder: edit_config(folder, model_type="albert"), "model_type is 'albert'"),
    "misshapen": (lambda f: edit_tensors(f, lambda t: t.update({KEY: np.ones((2, 2), np.float32)})), f"{KEY} (2, 2)"),
    "whole numbers": (lambda f: edit_tensors(f, lambda t: t.update({KEY: np.ones((16, 16), int)})), f"{KEY} int64"),
    "not finite": (spoil_nan, f"1 with values that are not finite: {KEY}"),
}


@pytest.mark.parametrize("words", [("import", "m", "--output=out"), ("export", "--model=m", "--output=out")])
@pytest.mark.parametrize("what", BAD)
def test_bad_folders_are_refused_in_one_line(refusal, tmp_path, what, words):
    saved(tmp_path / "m", CFG, "qa")
    spoil, message = BAD[what]
    spoil(tmp_path / "m")
    assert message in refusal(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "m"], "required: --output"),
        (["import", "nowhere", "--output=o"], "nowhere: not a model folder"),
        (["import", "m", "--output=o", "--vocab_size=-1"], "--vocab_size=-1: must be at least 1"),
        (["import", "m", "--output=o", "--head=ner"], "invalid choice: 'ner'"),
        (["import", "m", "--output=o", "--teacher"], "no TensorFlow 1 checkpoint there"),
        (["import", "tf", "--output=o", "--head=qa"], "--head: a TensorFlow 1 checkpoint gives the head that it has"),
        (["import", "tf", "--output=o"], "tf/m.ckpt: 0 model configs"),
        (["export", "--model=m", "--output=o", "--format=torch"], "invalid choice: 'torch'"),
        (["export", "--model=m", "--output=m/config.json"], "exists and is not a plain model folder"),
        (["inspect", "m", "m", "--ranges=text.txt"], "--ranges reads one model folder, not two"),
        (["inspect", "m", "--ranges=text.txt"], "holds neither tokenizer.json nor vocab.txt"),
    ],
)
def test_bad_words_are_refused(refusal, tmp_path, words, message):
    saved(tmp_path / "m", CFG, "qa")
    (tmp_path / "tf").mkdir()
    (tmp_path / "tf" / "m.ckpt.index").write_bytes(b"")
    assert message in refusal(*words)


def test_ranges_are_a_table_or_json(command, tmp_path):
    tokenizer = train_tokenizer(["a cat sat on the mat"] * 3, 40)
    model = build_model(CFG.replace(vocab_size=tokenizer.vocab_size), "qa")
    save_pretrained(tmp_path / "m", model, random_params(model), tokenizer)
    (tmp_path / "text.txt").write_text("the cat sat\n")
    words = ("inspect", "m", "--ranges=text.txt", "--sequence_length=12")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, out, error = command(*words)
    assert (code, error) == (0, "")
    assert out.splitlines()[0].split()[:3] == ["layer", "smallest", "largest"]
    assert "would overflow fp16 (65504): none" in out
    code, out, _ = command(*words, "--json")
    found = json.loads(out)
    assert code == 0 and {each["layer"] for each in found["ranges"]} == {-1, 0, 1, 2}
