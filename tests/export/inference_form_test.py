"""The inference-only form computes what the model computes, and a NoNorm is no operation of its own any more."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.export.inference_form import LEAST, MOST, inference_form
from mobilebert_jax.export.inference_forward import forward
from mobilebert_jax.models.heads import MODELS, WITH_CLASSES, build_model
from mobilebert_jax.utils.trees import map_named, named_leaves
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error
from tests.training.quick import quick_jit

TOLERANCE = 3e-6


def built(variant, head):
    options = {"num_labels": 3} if head in WITH_CLASSES else {}
    return build_model(VARIANTS[variant], head, **options)


@functools.cache
def applied(model):
    return quick_jit(lambda params, inputs: model.apply({"params": params}, *inputs))


def expected(model, params, inputs):
    """The model's own outputs by transformers' names."""
    out = applied(model)(params, inputs)
    if type(model) is MODELS["masked_lm"] or type(model) is MODELS["next_sentence"]:
        return {"logits": out.prediction_logits if hasattr(out, "prediction_logits") else out.seq_relationship_logits}
    names = "start_logits end_logits logits prediction_logits seq_relationship_logits last_hidden_state pooler_output"
    return {name: getattr(out, name) for name in names.split() if hasattr(out, name)}


def check(model, params, inputs, tolerance=TOLERANCE):
    form = inference_form(model, params)
    found = quick_jit(forward)(form, *inputs)
    wanted = expected(model, params, inputs)
    assert found.keys() == wanted.keys()
    seen = np.asarray(inputs[1], bool)
    for name, value in wanted.items():
        mine, theirs = (np.asarray(each) for each in (found[name], value))
        if mine.ndim > 1 and mine.shape[1] == seen.shape[1] and name != "pooler_output":
            mine, theirs = mine[seen], theirs[seen]
        assert relative_error(mine, theirs) < tolerance, name
    return form


HEADS = [("mobilebert", head) for head in MODELS] + [("no_trigram", head) for head in ("classification", None)]


@pytest.mark.parametrize(("variant", "head"), [*HEADS, *((variant, "pretraining") for variant in VARIANTS)])
def test_it_computes_what_the_model_computes(variant, head):
    model = built(variant, head)
    check(model, random_params(model), batch(model.cfg))


@pytest.mark.parametrize("variant", ["mobilebert", "tiny", "qat", "no_trigram"])
def test_no_norm_is_left_as_an_operation(variant):
    model = built(variant, "qa")
    # Gammas that are near one, as after short training: none is too small.
    params = map_named(
        lambda name, leaf: 1 + 0.1 * (leaf - 1) if name.endswith("scale") else leaf, random_params(model)
    )
    form = check(model, params, batch(model.cfg))
    for block in form.blocks:
        joins = [block.attention_output, *(output for _, output in block.ffn), block.output]
        assert all(join.keep is None and join.norm is None for join in joins)
    text = str(jax.make_jaxpr(functools.partial(forward, form))(*batch(model.cfg)))
    # Padding's words, and the mask's bias.
    assert text.count(" mul ") == 1 + model.cfg.zero_pad_embeddings


@settings(max_examples=10, deadline=None)
@given(
    gammas=st.lists(st.sampled_from([0.0, 1e-30, 1e-6, -1e-4, LEAST]), min_size=1, max_size=6),
    seed=st.integers(0, 3),
)
def test_a_channel_whose_gamma_is_tiny_is_scaled_by_an_operation(gammas, seed):
    model = built("mobilebert", "qa")
    rng = np.random.default_rng(seed)
    params = random_params(model, seed)
    norms = {name: leaf.copy() for name, leaf in named_leaves(params).items() if name.endswith("norm/scale")}
    for gamma in gammas:
        rows = norms[rng.choice(list(norms))].reshape(-1, 1)
        rows[rng.integers(len(rows))] = gamma
    params = map_named(lambda name, leaf: norms.get(name, leaf), params)
    check(model, params, batch(model.cfg), tolerance=2e-5)


def test_a_channel_whose_gammas_multiply_to_very_much_is_scaled_by_an_operation():
    model = built("mobilebert", "qa")
    params = random_params(model)
    block = params["encoder"]["layers"]
    for name in ("ffn_0", "ffn_1", "ffn_2"):
        block[name]["output"]["norm"]["scale"][1, 5] = MOST**0.4
    form = check(model, params, batch(model.cfg), tolerance=2e-5)
    assert [[output.keep is not None for _, output in block.ffn] for block in form.blocks] == [
        [False, False, False],
        [False, False, True],
        [False, False, False],
    ]


def test_all_that_reads_the_stream_is_one_product():
    model = built("mobilebert", "qa")
    (block, *_) = inference_form(model, random_params(model)).blocks
    assert [(each.source, each.targets) for each in block.projections] == [("x", ("h", "a", "v")), ("a", ("q", "k"))]
    assert block.projections[0].dense.kernel.shape == (model.cfg.hidden_size, 3 * model.cfg.inner_size)
