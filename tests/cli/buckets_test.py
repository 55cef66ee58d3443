"""Commands on a bucket: what they say, and what they leave."""

import pytest

from mobilebert_jax.utils.addresses import RemoteFolder
from tests.recipes.tiny_run import overrides


@pytest.fixture
def words(tiny_run):
    return overrides(tiny_run.folder / "corpus.txt", tiny_run.folder / "questions.json")


def test_a_text_is_prepared_in_a_bucket_and_looked_at_there(command, bucket, words):
    code, out, error = command("prepare", f"--workdir={bucket}/run", *words)
    assert (code, error) == (0, "") and out.endswith(f"\nfinished: {bucket}/run/data\n")
    assert {"config.json", "data/manifest.json"} < set(RemoteFolder(f"{bucket}/run", "").list())
    code, out, error = command("inspect", f"{bucket}/run/data")
    assert (code, error) == (0, "") and out.startswith("store ")


def test_another_config_is_refused_by_the_bucket_s_name(command, refusal, bucket, words):
    assert command("prepare", f"--workdir={bucket}/run", *words)[0] == 0
    before = RemoteFolder(f"{bucket}/run", "").list()
    said = refusal("prepare", f"--workdir={bucket}/run", *words, "--config.seed=5")
    assert f"config.seed=5: {bucket}/run was started with 0" in said
    after = RemoteFolder(f"{bucket}/run", "").list()
    assert {name: after[name].size for name in after} == {name: before[name].size for name in before}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prepare --workdir=gs://nobody-made-this/run", "--workdir=gs://nobody-made-this/run: no such bucket"),
        ("prepare --workdir=BUCKET/run --shard=0/2", "--shard=0/2: shares are prepared in a folder"),
        ("prepare --workdir=BUCKET/run --config.data.corpus=nowhere.txt", "corpus 'nowhere.txt': no such file"),
        ("report BUCKET/run", "no config.json there"),
        ("inspect BUCKET/run", "inspect PATH=BUCKET/run: nothing there"),
        ("evaluate --dataset=builtin:python-docs-qa --model=BUCKET/model", "--model=BUCKET/model: nothing there"),
        ("export --output=there --model=BUCKET/model", "--model=BUCKET/model: nothing there"),
    ],
)
def test_what_is_not_there_is_one_line_and_leaves_nothing(refusal, bucket, words, line, message):
    name, *rest = line.replace("BUCKET", bucket).split()
    said = refusal(name, *(words if name == "prepare" else ()), *rest)
    assert message.replace("BUCKET", bucket) in said
    assert RemoteFolder(f"{bucket}/run", "").list() == {}
