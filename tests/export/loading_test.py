"""Exported folders are what transformers, transformers.js and onnxruntime look for, and give its numbers there."""

import jax
import numpy as np
import pytest

from mobilebert_jax.export.checks import reference
from mobilebert_jax.export.formats import export_model
from mobilebert_jax.export.hugging_face import export_folder
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.models.model_cases import VARIANTS, random_params

OUTPUTS = {"qa": ("start_logits", "end_logits"), "classification": ("logits",)}
CLASSES = {"qa": "AutoModelForQuestionAnswering", "classification": "AutoModelForSequenceClassification"}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TEXTS = ["who looks", "what jumps over the dog"], ["nobody is looking", "the quick brown fox jumps over the lazy dog"]
BOUND = 1e-5


@pytest.fixture(scope="module", params=OUTPUTS)
def saved(request, tmp_path_factory):
    """(head, model folder, what the model gives for a batch)."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), train_tokenizer([*TEXTS[0], *TEXTS[1]], 90)
    cfg = VARIANTS["mobilebert"].replace(vocab_size=tokenizer.vocab_size)
    model = build_model(cfg, request.param)
    params = jax.tree.map(np.asarray, random_params(model))
    save_pretrained(folder / "model", model, params, tokenizer)
    return request.param, folder / "model", reference(model, params)


@pytest.fixture(scope="module")
def onnx_folder(saved, tmp_path_factory):
    pytest.importorskip("jax2onnx")
    folder = tmp_path_factory.mktemp("onnx") / "out"
    export_model(saved[1], folder, "onnx")
    return folder


def encoded(folder):
    """The texts by transformers' tokenizer of the folder: [2, S] by name."""
    tokenizer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    made = tokenizer(*TEXTS, padding=True, return_tensors="np")
    assert made["attention_mask"].min() == 0 and made["token_type_ids"].max() == 1
    return {name: made[name].astype(np.int64) for name in INPUTS}


def error(found, expected, mask):
    """The largest difference at a token, over the tensor's largest value."""
    worst = 0.0
    for name in found.keys() | expected.keys():
        pair = (np.asarray(each[name]) for each in (found, expected))
        own, other = (each[mask > 0] if each.shape == mask.shape else each for each in pair)
        worst = max(worst, np.abs(own - other).max() / np.abs(other).max())
    return worst


def given(run, inputs):
    return run(*(inputs[name].astype(np.int32) for name in INPUTS))


def answers(path, inputs):
    """A file's names and what it gives, run as clients do."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    assert [(each.name, each.type) for each in session.get_inputs()] == [(name, "tensor(int64)") for name in INPUTS]
    names = tuple(each.name for each in session.get_outputs())
    return names, dict(zip(names, session.run(None, inputs), strict=True))


def test_onnx_files_have_the_names_that_transformers_js_looks_for(saved, onnx_folder):
    head, _, run = saved
    ids = np.random.default_rng(0).integers(5, 40, (2, 7))
    inputs = dict(zip(INPUTS, (ids, np.array([[1] * 7, [1] * 4 + [0] * 3]), np.zeros_like(ids)), strict=True))
    for name, bound in (("model", BOUND), ("model_quantized", 0.3)):
        names, found = answers(onnx_folder / "onnx" / f"{name}.onnx", inputs)
        assert names == OUTPUTS[head]
        assert error(found, given(run, inputs), inputs["attention_mask"]) < bound


def test_transformers_reads_an_onnx_folder_s_tokenizer_and_config(saved, onnx_folder):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(onnx_folder)
    assert config.model_type == "mobilebert" and config.id2label[0] == "LABEL_0"
    inputs = encoded(onnx_folder)
    _, found = answers(onnx_folder / "onnx" / "model.onnx", inputs)
    assert error(found, given(saved[2], inputs), inputs["attention_mask"]) < BOUND


@pytest.fixture(scope="module")
def theirs(saved, tmp_path_factory):
    """What transformers' class gives for the texts in the `hf` export, and the texts."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("theirs") / "hf"
    export_folder(saved[1], folder)
    model = getattr(transformers, CLASSES[saved[0]]).from_pretrained(folder).eval()
    assert type(model).__name__.startswith("MobileBertFor")
    inputs = encoded(folder)
    with torch.no_grad():
        out = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return {name: out[name].numpy() for name in OUTPUTS[saved[0]]}, inputs


def test_a_folder_for_transformers_says_there_what_the_model_says(saved, theirs):
    found, inputs = theirs
    assert error(found, given(saved[2], inputs), inputs["attention_mask"]) < BOUND


def test_onnxruntime_and_transformers_agree(onnx_folder, theirs):
    expected, inputs = theirs
    _, found = answers(onnx_folder / "onnx" / "model.onnx", inputs)
    assert error(found, expected, inputs["attention_mask"]) < BOUND
