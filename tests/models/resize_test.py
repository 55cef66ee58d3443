"""Another size of the vocabulary moves every table that has a row a word, and nothing else."""

import jax
import numpy as np
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.resize import resize_vocabulary
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import VARIANTS, batch, random_params

CFG = VARIANTS["mobilebert"]
OF_WORDS = {
    "encoder/embeddings/word_embeddings/embedding",
    "masked_lm/extra_embedding",
    "masked_lm/output_bias",
}


@pytest.mark.parametrize("size", [80, 50])
def test_both_halves_of_the_table_and_the_bias_follow(size):
    model = build_model(CFG, "pretraining")
    params = random_params(model)
    resized, changed = resize_vocabulary(model, params, size)
    assert resized == build_model(CFG.replace(vocab_size=size), "pretraining")
    kept = min(size, CFG.vocab_size)
    for name, leaf in named_leaves(params).items():
        new = named_leaves(changed)[name]
        if name in OF_WORDS:
            np.testing.assert_array_equal(new[:kept], leaf[:kept])
            assert new.shape[0] == size and np.abs(new[kept:]).max(initial=0) <= 2 * CFG.initializer_range
            assert np.any(new[kept:]) == (size > kept and not name.endswith("bias"))
        else:
            assert new is leaf


def test_known_words_keep_their_logits():
    model = build_model(CFG, "pretraining")
    params = random_params(model)
    resized, changed = resize_vocabulary(model, params, CFG.vocab_size + 9)
    before, after = (
        jax.jit(lambda params, model=each: model.apply({"params": params}, *batch(CFG)).prediction_logits)(own)
        for each, own in ((model, params), (resized, changed))
    )
    np.testing.assert_allclose(after[..., : CFG.vocab_size], before, rtol=1e-5, atol=1e-5)
    assert after.shape[-1] == CFG.vocab_size + 9


@pytest.mark.parametrize(("variant", "head"), [("mobilebert", None), ("mobilebert", "qa"), ("bert", "pretraining")])
def test_tables_that_are_not_there_are_not_missed(variant, head):
    model = build_model(VARIANTS[variant], head)
    resized, changed = resize_vocabulary(model, random_params(model), 70)
    shapes = {name: leaf.shape for name, leaf in named_leaves(changed).items()}
    assert shapes == {name: leaf.shape for name, leaf in named_leaves(abstract_params(resized)).items()}


def test_no_words_and_other_models_are_refused():
    model = build_model(CFG, "qa")
    with pytest.raises(UserError, match="vocab_size=0: must be at least 1"):
        resize_vocabulary(model, random_params(model), 0)
    with pytest.raises(UserError, match="the parameters are not those of MobileBertForQuestionAnswering"):
        resize_vocabulary(model, random_params(build_model(CFG)), 70)
