"""Activation ranges: real extremes of real tensors, without padding, and what 16 and 8 bits make of them."""

import jax
import numpy as np
import pytest

from mobilebert_jax.inspection.ranges import BATCH, Range, activation_ranges, ranges_of
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, batch, random_params

CFG = VARIANTS["mobilebert"].replace(num_hidden_layers=1)


def by_name(ranges):
    return {(found.layer, found.name): found for found in ranges}


@pytest.mark.parametrize("variant", ["teacher", "bert"])
def test_low_and_high_are_those_of_the_tokens(variant):
    cfg = VARIANTS[variant]
    model = build_model(cfg)
    params = random_params(model)
    ids, mask, _ = batch(cfg)
    found = by_name(ranges_of(cfg, params, ids, mask))
    out = jax.jit(lambda params: model.apply({"params": params}, ids, mask, output_hidden_states=True))(params)
    for layer, states in enumerate(np.asarray(out.hidden_states), start=-1):
        own = found[layer, "embeddings" if layer < 0 else "block"]
        seen = states[mask > 0]
        np.testing.assert_allclose([own.low, own.high], [seen.min(), seen.max()], rtol=1e-4)
    assert {layer for layer, _ in found} == set(range(-1, cfg.num_hidden_layers))
    assert {"attention/scores", "attention/query", "ffn_0/intermediate"} < {name for _, name in found}


def test_batches_do_not_change_them():
    params = random_params(build_model(CFG))
    ids, mask, _ = batch(CFG)
    many = BATCH + 1
    ids, mask = np.resize(ids, (many, ids.shape[1])), np.resize(mask, (many, ids.shape[1]))
    one, all_rows = ranges_of(CFG, params, ids[:3], mask[:3]), ranges_of(CFG, params, ids, mask)
    for few, more in zip(one, all_rows, strict=True):
        np.testing.assert_allclose([few.low, few.high], [more.low, more.high], rtol=1e-4)
        assert few.lost == pytest.approx(more.lost, abs=0.01)


def test_int8_loses_what_lies_under_half_a_step():
    params = random_params(build_model(CFG))
    ids, mask, _ = batch(CFG)
    assert not any(found.saturates_int8 for found in ranges_of(CFG, params, ids, mask))
    # One feature a million times the others: with a scale that holds it the rest is gone.
    bias = params["layers"]["bottleneck_output"]["norm"]["bias"]
    params["layers"]["bottleneck_output"]["norm"]["bias"] = bias.copy()
    params["layers"]["bottleneck_output"]["norm"]["bias"][0, 0] = 1e6
    found = by_name(ranges_of(CFG, params, ids, mask))
    assert found[0, "block"].overflows_fp16 and found[0, "block"].saturates_int8 and found[0, "block"].lost > 0.9
    assert not found[-1, "embeddings"].overflows_fp16 and not found[-1, "embeddings"].saturates_int8


@pytest.mark.parametrize(("high", "overflows"), [(65504.0, False), (65505.0, True)])
def test_fp16_ends_at_65504(high, overflows):
    assert Range(0, "block", -1.0, high, 0.0).overflows_fp16 is overflows
    assert Range(0, "block", -high, 1.0, 0.0).overflows_fp16 is overflows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with a tokenizer, and a text of nine paragraphs."""
    path = tmp_path_factory.mktemp("ranges")
    numbers = "one two three four five six seven eight nine".split()
    text = "\n\n".join(f"the cat number {number} sat on a mat" for number in numbers)
    (path / "text.txt").write_text(text)
    tokenizer = train_tokenizer([text], 60)
    model = build_model(CFG.replace(vocab_size=tokenizer.vocab_size))
    save_pretrained(path / "m", model, random_params(model), tokenizer)
    return path


def test_a_folder_is_measured_on_a_text(folder):
    found = activation_ranges(folder / "m", folder / "text.txt", 24)
    assert all(np.isfinite([each.low, each.high]).all() for each in found) and len(found) > 20
    assert found[0].to_dict().keys() == {"layer", "name", "low", "high", "lost", "overflows_fp16", "saturates_int8"}


@pytest.mark.parametrize(
    ("text", "length", "message"),
    [
        ("text.txt", 25, "--sequence_length=25: from 3 to the model's 24 positions"),
        ("nothing.txt", 24, "nothing.txt: No such file or directory"),
        ("blank.txt", 24, "blank.txt: no words in it"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, text, length, message):
    (folder / "blank.txt").write_text(" \n\n")
    with pytest.raises(UserError) as error:
        activation_ranges(folder / "m", folder / text, length)
    assert message in str(error.value)
