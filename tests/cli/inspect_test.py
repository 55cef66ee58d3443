import json
import shlex

import pytest

from mobilebert_jax.cli.config_values import leaves_of
from mobilebert_jax.cli.flags import load_config
from tests.models.model_folders import CFG, edit_tensors, saved


@pytest.fixture
def folders(tmp_path):
    """Two model folders that differ in one entry."""
    for name in ("one", "two"):
        saved(tmp_path / name)

    def change(tensors):
        tensors["mobilebert.embeddings.LayerNorm.bias"][0] += 1

    edit_tensors(tmp_path / "two", change)
    return "one", "two"


def test_inspect_prints_a_tree_with_counts(command, folders):
    code, out, error = command("inspect", "one")
    assert (code, error) == (0, "")
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert out.startswith("model one\n")
    assert lines["word_embeddings"][1] == f"{CFG.vocab_size * CFG.embedding_size:,}"
    assert lines["parameters"][1] == lines["tree"][1]
    assert "float32" in lines["weight"]


def test_inspect_says_what_differs(command, folders):
    code, out, error = command("inspect", *folders)
    assert (code, error) == (0, "")
    assert "largest absolute difference 1 in mobilebert.embeddings.LayerNorm.bias" in out
    assert "sha256.model.safetensors" in out
    code, out, error = command("inspect", "one", "one")
    assert (code, out.splitlines()[-1], error) == (0, "no difference", "")


def test_inspect_as_json(command, folders):
    code, out, _ = command("inspect", "one", "--json")
    assert code == 0 and out.count("\n") == 1
    report = json.loads(out)
    assert report["kind"] == "model" and report["tree"]["mobilebert.embeddings.LayerNorm.bias"]["dtype"] == "float32"
    code, out, _ = command("inspect", *folders, "--json")
    report = json.loads(out)
    assert code == 0 and report["values"]["mobilebert.embeddings.LayerNorm.bias"]["differing"] == 1


@pytest.mark.parametrize("name", ["run", "prepare", "pretrain", "distill", "finetune"])
def test_print_config_touches_nothing_and_can_be_given_again(command, tmp_path, name):
    more = ("--model=m", "--dataset=my questions.json") if name == "finetune" else ()
    code, out, error = command(name, "--workdir=w", "--print_config", "--config.data.corpus=a b.txt", *more)
    assert (code, error) == (0, "") and not list(tmp_path.iterdir())
    words = [shlex.split(line) for line in out.splitlines()]
    assert all(len(line) == 1 and line[0].startswith("--config.") for line in words)
    assert len(words) == len(leaves_of(load_config("demo", [])))
    assert ["--config.data.corpus=a b.txt"] in words
    if name == "finetune":
        assert ["--config.finetune.questions=my questions.json"] in words
    again = command("run", "--print_config", "--config=mobilebert", *(line[0] for line in words))
    assert again[:2] == (0, out)
