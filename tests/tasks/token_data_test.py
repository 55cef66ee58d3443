import json
import logging

import pytest

from mobilebert_jax.tasks.own_data import Columns
from mobilebert_jax.tasks.token_data import make_tagged, read_sentences, split_sentences, tag_set
from mobilebert_jax.utils.errors import UserError

CONLL = """-DOCSTART- -X- -X- O

Ann NNP I-NP B-PER
saw VBD I-VP O
Bath NNP I-NP B-LOC

# NN I-NP O
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def plain(sentences):
    return [(sentence.words, sentence.tags) for sentence in sentences]


def test_conll_files_have_a_word_first_and_its_tag_last(write):
    expected = [(("Ann", "saw", "Bath"), ("B-PER", "O", "B-LOC")), (("#",), ("O",))]
    path = write("a.conll", CONLL)
    found = read_sentences(path)
    assert plain(found) == expected and [each.place for each in found] == [f"{path}:3", f"{path}:7"]
    assert plain(read_sentences(write("b.txt", CONLL.replace("\n", "\r\n")))) == expected
    spaced = "New York\tB-LOC\nsleeps\tO\n \t \nit\tO"  # a word with a space, a line of white space, no last line end
    assert plain(read_sentences(write("c.bio", spaced))) == [
        (("New York", "sleeps"), ("B-LOC", "O")),
        (("it",), ("O",)),
    ]


def test_jsonl_has_lists(write):
    rows = [{"tokens": ["a", "b"], "tags": ["X", "Y"]}, {"tokens": [], "tags": []}, {"tokens": ["c"], "tags": [3]}]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert plain(read_sentences(path)) == [(("a", "b"), ("X", "Y")), (("c",), ("3",))]
    renamed = write("b.jsonl", json.dumps({"w": ["a"], "t": ["X"]}))
    assert plain(read_sentences(renamed, Columns("w", "", "t"))) == [(("a",), ("X",))]


def test_data_sets_name_the_classes_of_sequences(tmp_path):
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features(
        {"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": datasets.Sequence(names)}
    )
    rows = {"tokens": [["Ann", "saw"], ["it"]], "ner_tags": [[1, 0], [0]]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    found = read_sentences(f"hf:{tmp_path / 'set'}", Columns("tokens", "", "ner_tags"))
    assert plain(found) == [(("Ann", "saw"), ("B-PER", "O")), (("it",), ("O",))]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.conll", "Ann B-PER\nsaw\n", "a.conll:2: 1 columns, 2, as in the first line, are needed; put it"),
        ("a.conll", "Ann\nsaw\n", "a.conll:1: 1 columns, a word and its tag are needed"),
        ("a.conll", "\n\n", "a.conll: no sentences in it"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["X", "Y"]}', "a.jsonl:1: 1 words and 2 tags; every word needs one"),
        ("a.jsonl", '{"tokens": "a b", "tags": ["X", "Y"]}', "a.jsonl:1: tokens and tags must be lists, of words"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [null]}', "a.jsonl:1: tokens and tags must be lists"),
        ("a.jsonl", '{"words": ["a"]}', "a.jsonl:1: no column 'tokens'; there are words; --text names it"),
        ("a.jsonl", '{"tokens": ["a"]}', "a.jsonl:1: no column 'tags'; there are tokens; --label names it"),
    ],
)
def test_what_cannot_be_read_is_named_by_line(write, name, text, message):
    with pytest.raises(UserError) as refused:
        read_sentences(write(name, text))
    assert message in str(refused.value)
    with pytest.raises(UserError, match=r"gone: no such file; a .jsonl, a CoNLL file"):
        read_sentences("gone")


def test_bad_lines_can_be_left_out_and_are_counted(write, caplog):
    path = write("a.conll", "Ann B-PER\nsaw\nBath B-LOC\n\nx y z O\nit O\n")
    with caplog.at_level(logging.WARNING):
        found = read_sentences(path, bad_rows="drop")
    assert plain(found) == [(("Ann", "Bath"), ("B-PER", "B-LOC")), (("it",), ("O",))]
    assert caplog.messages == [f"{path}: 2 lines left out, their number of columns is wrong (first 2)"]


def test_a_tenth_is_held_out_whatever_the_order(write):
    text = "\n\n".join(f"word{number} X\nend Y" for number in range(40))
    sentences = read_sentences(write("a.conll", text))
    train, dev = split_sentences(sentences)
    assert (len(train), len(dev)) == (36, 4)
    turned = split_sentences(sentences[::-1])
    assert {each.words for each in turned[1]} == {each.words for each in dev}
    with pytest.raises(UserError, match="1 sentences are too few"):
        split_sentences(sentences[:1])


def test_tags_become_places_and_unknown_ones_are_refused(write):
    sentences = read_sentences(write("a.conll", CONLL))
    names = tag_set(sentences, "a.conll")
    assert names == ("B-LOC", "B-PER", "O")
    tagged = make_tagged(sentences, names, "a.conll")
    assert tagged.labels.tolist() == [1, 2, 0, 2] and tagged.lengths.tolist() == [3, 1] and len(tagged) == 2
    with pytest.raises(UserError, match=r"a.conll:3: the tag 'B-LOC' is none of 'B-PER', 'O'"):
        make_tagged(sentences, ("B-PER", "O"), "a.conll")
    with pytest.raises(UserError, match="every tag is 'O'; two are needed"):
        tag_set(sentences[1:], "a.conll")
