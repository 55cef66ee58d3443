"""Import and export between folders: bytes, tokenizer files, warnings with a measured size."""

import json
import warnings

import pytest
import safetensors.numpy

from mobilebert_jax.export.hugging_face import STORED, export_folder, import_folder
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, random_params
from tests.models.model_folders import CFG, assert_same, edit_config, saved


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tensors(folder):
    return {
        name: tensor.tobytes() for name, tensor in safetensors.numpy.load_file(folder / "model.safetensors").items()
    }


@pytest.mark.parametrize(
    ("variant", "head"),
    [("mobilebert", None), ("tiny", "pretraining"), ("mobilebert", "qa"), ("mobilebert", "token_classification")],
)
def test_in_and_out_again_keeps_every_byte(tmp_path, variant, head):
    saved(tmp_path / "theirs", VARIANTS[variant], head)
    report = import_folder(tmp_path / "theirs", tmp_path / "ours")
    export_folder(tmp_path / "ours", tmp_path / "back")
    assert tensors(tmp_path / "back") == tensors(tmp_path / "theirs")
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("theirs", "back")]
    assert configs[0] == configs[1]
    assert report["architecture"] == configs[0]["architectures"][0]
    assert report["parameters"] == sum(len(data) // 4 for data in tensors(tmp_path / "back").values())


def test_another_head_can_be_asked_for(tmp_path):
    _, params = saved(tmp_path / "theirs", CFG, "pretraining")
    import_folder(tmp_path / "theirs", tmp_path / "bare", head=None)
    assert_same(from_pretrained(tmp_path / "bare")[1], params["encoder"])
    with pytest.warns(UserWarning, match="lacks span/bias, span/kernel: initialised from seed 0"):
        import_folder(tmp_path / "theirs", tmp_path / "qa", head="qa")


def test_tokenizer_files_are_carried_byte_by_byte(tmp_path):
    saved(tmp_path / "theirs", CFG, "qa")
    files = {"vocab.txt": b"[PAD]\r\n", "spiece.model": b"\0\1\2", "tokenizer_config.json": b'{"do_lower_case": false}'}
    for name, data in files.items():
        (tmp_path / "theirs" / name).write_bytes(data)
    (tmp_path / "theirs" / "README.md").write_text("not a tokenizer's")
    assert sorted(import_folder(tmp_path / "theirs", tmp_path / "ours")["tokenizer"]) == sorted(files)
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {*files, "config.json", "model.safetensors"}
    assert all((tmp_path / "ours" / name).read_bytes() == data for name, data in files.items())


def test_class_names_travel(tmp_path):
    saved(tmp_path / "theirs", CFG, "token_classification", num_labels=3)
    names = ["O", "B-PER", "I-PER"]
    edit_config(tmp_path / "theirs", id2label={str(number): name for number, name in enumerate(names)})
    import_folder(tmp_path / "theirs", tmp_path / "ours")
    values = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert list(values["id2label"].values()) == names and values["label2id"]["I-PER"] == 2
    assert from_pretrained(tmp_path / "ours", "token_classification")[0].label_names == tuple(names)


def test_the_vocabulary_is_resized_on_the_way(tmp_path):
    saved(tmp_path / "theirs", CFG)
    assert import_folder(tmp_path / "theirs", tmp_path / "ours", vocab_size=72)["vocab_size"] == 72
    model, params = from_pretrained(tmp_path / "ours", "pretraining")
    assert model.cfg.vocab_size == 72 and params["masked_lm"]["extra_embedding"].shape[0] == 72


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_zero_padded_embeddings_warn_with_the_size_of_the_difference(tmp_path, with_tokenizer):
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 3, 60)
    model = build_model(CFG.replace(zero_pad_embeddings=True), "qa")
    save_pretrained(tmp_path / "m", model, random_params(model), tokenizer if with_tokenizer else None)
    with pytest.warns(UserWarning, match="zero_pad_embeddings: it lets the last token see the padding") as caught:
        export_folder(tmp_path / "m", tmp_path / "out")
    (warning,) = caught
    measured = float(str(warning.message).split("changes by ")[1].split()[0])
    assert 1e-4 < measured < 10
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    assert values["zero_pad_embeddings"] is True and len(values["transformers_differs"]) == 1
    assert from_pretrained(tmp_path / "out", "qa")[0].cfg.zero_pad_embeddings


def test_epsilons_warn_with_a_small_difference_and_the_teacher_that_it_cannot_be_loaded(tmp_path):
    saved(tmp_path / "m", VARIANTS["no_opt"], None)
    with pytest.warns(UserWarning, match="torch_norm_eps") as caught:
        export_folder(tmp_path / "m", tmp_path / "out")
    assert float(str(caught[0].message).split("changes by ")[1].split()[0]) < 1e-2
    _, params = saved(tmp_path / "teacher", VARIANTS["teacher"], None)
    with pytest.warns(UserWarning, match="transformers will differ: its query and key are 48 wide") as caught:
        export_folder(tmp_path / "teacher", tmp_path / "teacher-out")
    assert not any("changes by" in str(warning.message) for warning in caught)
    assert_same(from_pretrained(tmp_path / "teacher-out")[1], params)


def test_what_transformers_agrees_with_is_said_to(tmp_path):
    saved(tmp_path / "m", VARIANTS["no_opt"].replace(torch_norm_eps=True), None)
    export_folder(tmp_path / "m", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["transformers_differs"] == []


def test_nothing_is_written_over_what_is_no_model_folder(tmp_path):
    saved(tmp_path / "m", CFG, None)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("precious")
    for function in (import_folder, export_folder):
        with pytest.raises(UserError, match="exists and is not a plain model folder"):
            function(tmp_path / "m", tmp_path / "notes")
    with pytest.raises(UserError, match="not a model folder"):
        import_folder(tmp_path / "notes", tmp_path / "out", head=STORED)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]
