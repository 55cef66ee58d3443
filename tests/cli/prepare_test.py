import json
import shutil

import pytest

from mobilebert_jax.text.store import TokenStore

SMALL = "--config.data.shard_bytes=2000"


@pytest.fixture
def latin(tiny_run, tmp_path):
    """A corpus with a byte that is not UTF-8."""
    text = (tiny_run.folder / "corpus.txt").read_bytes()
    (tmp_path / "latin.txt").write_bytes(text + b"\n\nThe caf\xe9 was open. It was late.\n")
    return "--config.data.corpus=latin.txt"


def test_shares_of_machines_make_the_store_of_one(command, tiny_run, tmp_path):
    assert command("prepare", "--workdir=one", SMALL, *tiny_run.words)[0] == 0
    code, out, error = command("prepare", "--workdir=many", "--shard=1/2", SMALL, *tiny_run.words)
    assert (code, error) == (0, "") and "share 1/2 is finished; the store is, once the other shares are" in out
    assert not (tmp_path / "many" / "data" / "manifest.json").exists()
    code, out, _ = command("prepare", "--workdir=many", "--shard=0/2", SMALL, *tiny_run.words)
    assert code == 0 and "finished: many/data" in out
    one, many = ((tmp_path / name / "data" / "manifest.json").read_bytes() for name in ("one", "many"))
    assert one == many and len(json.loads(one)["shards"]) > 2
    assert not list((tmp_path / "many").glob(".lock-*"))


def test_a_share_of_another_config_is_refused(command, refusal, tiny_run):
    assert command("prepare", "--workdir=w", "--shard=0/2", SMALL, *tiny_run.words)[0] == 0
    line = refusal("prepare", "--workdir=w", "--shard=1/2", *tiny_run.words)
    assert "config.data.shard_bytes=64000000: w was started with 2000" in line


def test_a_rehearsal_says_what_it_takes_and_writes_nothing(command, tiny_run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, error = command("prepare", "--workdir=w", "--dry_run", *tiny_run.words)
    assert (code, error) == (0, "")
    assert sorted(tmp_path.rglob("*")) == before
    assert "MB of text, all of it" in out and "MB needed" in out and "bytes a token" in out


def test_bytes_that_are_not_utf_8_are_refused_or_replaced(command, refusal, tiny_run, latin, tmp_path):
    line = refusal("prepare", "--workdir=w", *tiny_run.words, latin)
    assert "latin.txt: not UTF-8 text (line " in line and "go on with --errors=replace" in line
    code, _, error = command("prepare", "--workdir=w", "--errors=replace", *tiny_run.words, latin)
    assert (code, error) == (0, "")
    assert TokenStore.open(tmp_path / "w" / "data", "train").manifest["errors"] == "replace"


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_damaged_shard_stops_a_run_before_training_and_prepare_mends_it(command, refusal, tiny_run, tmp_path, damage):
    words = ("--workdir=w", SMALL, *tiny_run.words)
    assert command("prepare", *words)[0] == 0
    manifest = (tmp_path / "w" / "data" / "manifest.json").read_bytes()
    path = tmp_path / "w" / "data" / "shards" / "00001" / "train" / "tokens.npy"
    whole = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(whole[:-3])
    line = refusal("run", *words)
    assert f"00001/train/tokens.npy: {damage}" in line and "`mobilebert prepare`, as it was called before" in line
    assert not (tmp_path / "w" / "teacher").exists()
    code, out, error = command("prepare", *words)
    assert code == 0 and "00001/train/tokens.npy" in error and "finished: w/data" in out
    assert path.read_bytes() == whole and (tmp_path / "w" / "data" / "manifest.json").read_bytes() == manifest


def test_a_store_elsewhere_stands_for_a_corpus(command, refusal, tiny_run, tmp_path):
    assert command("prepare", "--workdir=made", SMALL, *tiny_run.words)[0] == 0
    store = ["--config.data.corpus=", "--config.data.store=made/data"]
    code, out, error = command("prepare", "--workdir=w", *tiny_run.words, *store)
    assert (code, error) == (0, "") and "finished: w/data" in out
    made, used = ((tmp_path / name / "data" / "manifest.json").read_bytes() for name in ("made", "w"))
    assert made == used
    shutil.rmtree(tmp_path / "made")
    code, _, error = command("prepare", "--workdir=w", *tiny_run.words, *store)
    assert code == 0 and "going on with its copy in w/data" in error
    assert "data.store='made/data': no manifest.json there" in refusal(
        "prepare", "--workdir=v", *tiny_run.words, *store
    )
    line = refusal("prepare", "--workdir=v", *tiny_run.words, store[1])
    assert "data.store='made/data': holds its text already; leave data.corpus empty" in line


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--shard=2/2", "--shard=2/2: i/n is needed"),
        ("--errors=ignore", "--errors: invalid choice: 'ignore'"),
        ("--config.data.errors=ignore", "data.errors='ignore': must be one of strict, replace"),
        ("--config.data.shard_bytes=0", "data.shard_bytes=0: "),
        ("--workers=-1", "data.workers=-1: must not be negative"),
        ("--config.data.store=nowhere", "leave data.corpus empty"),
    ],
)
def test_what_cannot_be_is_refused(refusal, tiny_run, word, message):
    assert message in refusal("prepare", "--workdir=w", *tiny_run.words, word)
