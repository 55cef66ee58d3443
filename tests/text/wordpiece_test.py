import json
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.special_tokens import SPECIAL_TOKENS
from mobilebert_jax.text.tokenizer import load_tokenizer, train_tokenizer
from mobilebert_jax.utils.errors import UserError

VOCABULARY = [*SPECIAL_TOKENS, "un", "##want", "##ed", "running", ",", "want", "e", "##e", "é", "Run"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return load_tokenizer(path)


def test_vocab_txt_splits_longest_match_first(small):
    (encoding,) = small.encode_batch(["UNwantéd, running"])
    assert encoding.tokens == ["un", "##want", "##ed", ",", "running"]
    assert encoding.ids == [5, 6, 7, 9, 8]


def test_special_ids_are_the_lines_of_the_vocabulary(small):
    assert small.special_ids == (0, 1, 2, 3, 4)
    assert (small.pad_id, small.unk_id, small.cls_id, small.sep_id, small.mask_id) == small.special_ids
    assert small.vocab_size == len(VOCABULARY)


def test_unknown_words_become_unk_and_special_tokens_in_text_are_recognised(small):
    assert small.encode_batch(["zebra [MASK] want"])[0].ids == [small.unk_id, small.mask_id, 10]


def test_offsets_point_into_the_untouched_text(small):
    text = "  É  Wanted\u200b unwanted"
    (encoding,) = small.encode_batch([text])
    assert [text[a:b] for a, b in encoding.offsets] == ["É", "Want", "ed", "un", "want", "ed"]


def test_nothing_is_added_truncated_or_padded(small):
    encodings = small.encode_batch(["want " * 3000, "want", ""])
    assert [len(encoding.ids) for encoding in encodings] == [3000, 1, 0]


def test_lone_surrogates_are_survived(small):
    text = "want\ud800 want"
    assert [text[a:b] for a, b in small.encode_batch([text])[0].offsets] == ["want", "want"]


def test_continuation_marks_the_pieces_inside_words(small):
    assert [VOCABULARY[i] for i in small.continuation.nonzero()[0]] == ["##want", "##ed", "##e"]


def test_decode_joins_pieces_and_leaves_special_tokens_out(small):
    assert small.decode([2, 5, 6, 7, 9, 8, 3]) == "unwanted, running"


def test_cased_vocabulary_by_tokenizer_config(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    cased = load_tokenizer(tmp_path)
    assert not cased.lowercase
    assert cased.encode_batch(["Run é"])[0].tokens == ["Run", "é"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_saved_tokenizer_loads_as_itself(tmp_path, documents, lowercase):
    trained = train_tokenizer(documents, 150, lowercase=lowercase)
    trained.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json", tmp_path / "vocab.txt"):
        loaded = load_tokenizer(path)
        assert loaded.fingerprint() == trained.fingerprint()
        assert loaded.lowercase == lowercase
        assert loaded.encode_batch(documents)[3].ids == trained.encode_batch(documents)[3].ids


def test_saved_folder_has_the_hugging_face_layout(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    complete = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pair = complete.encode("the cat", "a mat")
    assert pair.tokens == ["[CLS]", "the", "cat", "[SEP]", "a", "mat", "[SEP]"]
    assert pair.type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["do_lower_case"] is True
    assert json.loads((tmp_path / "special_tokens_map.json").read_text())["mask_token"] == "[MASK]"
    lines = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert [complete.token_to_id(piece) for piece in lines] == list(range(tokenizer.vocab_size))


def test_saving_adds_nothing_to_the_backend(tmp_path, tokenizer):
    before = tokenizer.fingerprint()
    tokenizer.save(tmp_path)
    assert tokenizer.fingerprint() == before
    assert tokenizer.encode_batch(["the cat"])[0].tokens == ["the", "cat"]


def test_fingerprint_tells_case_and_vocabulary_apart(documents, tokenizer):
    others = [train_tokenizer(documents, 120), train_tokenizer(documents, 200, lowercase=False)]
    assert len({tokenizer.fingerprint(), *(other.fingerprint() for other in others)}) == 3


def test_training_puts_special_tokens_first_and_keeps_the_size(tokenizer):
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert 100 < tokenizer.vocab_size <= 200


def test_training_gives_the_same_ids_in_every_process():
    program = (
        "from mobilebert_jax.text.tokenizer import train_tokenizer\n"
        "words = [f'{a}{b}{c}' for a in 'abcde' for b in 'fghij' for c in 'klmno']\n"
        "print(train_tokenizer([' '.join(words)] * 3, 90).fingerprint())"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != "", runs[0].stderr


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_encoded_with_ordered_offsets_inside_it(tokenizer, text):
    (encoding,) = tokenizer.encode_batch([text])
    assert all(0 <= index < tokenizer.vocab_size for index in encoding.ids)
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
    assert [start for start, _ in encoding.offsets] == sorted(start for start, _ in encoding.offsets)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", "[PAD]\n[UNK]\nthe\n", r"no \[CLS\] \[SEP\] \[MASK\]"),
        ("vocab.txt", "\n".join([*VOCABULARY, "want"]), "'want' stands there twice"),
        ("tokenizer.json", "{}", "not a tokenizer.json"),
    ],
)
def test_bad_vocabularies_are_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_other_models_than_wordpiece_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(path))
    with pytest.raises(UserError, match="BPE, not SentencePiece"):
        load_tokenizer(path)


def test_missing_tokenizers_are_named(tmp_path):
    with pytest.raises(UserError, match=r"neither tokenizer.json nor vocab.txt"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"gone.txt: no such tokenizer file"):
        load_tokenizer(tmp_path / "gone.txt")


OTHERS = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
ROLES = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]


def folder_with(path, pieces, **settings):
    (path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def test_the_folder_says_which_tokens_are_special(tmp_path):
    map_file = {role: {"content": token} for role, token in zip(ROLES, OTHERS, strict=True)}
    folder_with(tmp_path, [*OTHERS, "want", "##ed"])
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(map_file))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_ids == (0, 1, 2, 3, 4) and tokenizer.special_tokens == tuple(OTHERS)
    assert tokenizer.encode_batch(["zebra <mask> wanted"])[0].ids == [1, 4, 5, 6]

    tokenizer.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert again.fingerprint() == tokenizer.fingerprint() and again.special_tokens == tuple(OTHERS)
    complete = tokenizers.Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json"))
    assert complete.encode("want", "want").tokens == ["<s>", "want", "</s>", "want", "</s>"]


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({}, ["run", "e", "e"]),
        ({"do_lower_case": False}, ["Run", "é", "e"]),
        ({"do_lower_case": False, "strip_accents": True}, ["Run", "e", "e"]),
        ({"strip_accents": False}, ["run", "é", "e"]),
    ],
)
def test_the_folder_says_how_text_is_prepared(tmp_path, file, settings, tokens):
    pieces = [*SPECIAL_TOKENS, "run", "Run", "é", "e"] if settings else [*SPECIAL_TOKENS, "run", "Run", "e"]
    load_tokenizer(folder_with(tmp_path, pieces)).save(tmp_path)
    folder_with(tmp_path, pieces, **settings)
    if file == "vocab.txt":
        (tmp_path / "tokenizer.json").unlink()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode_batch(["Run é e"])[0].tokens == tokens
    tokenizer.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").encode_batch(["Run é e"])[0].tokens == tokens


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", "{", "tokenizer_config.json: not JSON"),
        ("special_tokens_map.json", "[]", "special_tokens_map.json: a JSON object is needed"),
        ("tokenizer_config.json", '{"unk_token": 3}', "unk_token=3; a token is needed"),
        ("tokenizer_config.json", '{"unk_token": "<oov>"}', "no <oov> in the vocabulary"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path, name, content, message):
    folder_with(tmp_path, VOCABULARY)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)
