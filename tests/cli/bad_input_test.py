"""Bad input of every kind: exit code 2, one line that names it, nothing half-written."""

import pytest

from tests.cli.bad_files import make_bad_files

CONFIG = [  # a setting, what the line must say
    ("seed=1.5", "config.seed=1.5: a whole number"),
    ("seed=-1", "seed=-1: must not be negative"),
    ("seed=None", "config.seed=None: a whole number"),
    ("data.corpus=None", "config.data.corpus=None: no setting is ever None"),
    ("data.lowercase=maybe", "config.data.lowercase=maybe: true or false"),
    ("transfer.layer_map=None", "config.transfer.layer_map=None: values like 1,2,3"),
    ("teacher.optimizer.learning_rate=nan", "config.teacher.optimizer.learning_rate=nan: a finite number"),
    ("teacher.optimizer.learning_rate=-1", "teacher.optimizer.learning_rate=-1.0"),
    ("teacher.optimizer.eps=0", "teacher.optimizer.eps=0.0"),
    ("teacher.optimizer.b2=1", "teacher.optimizer.b2=1.0"),
    ("teacher.optimizer.name=sgd", "teacher.optimizer.name='sgd'"),
    ("teacher.steps=0", "teacher.steps=0"),
    ("teacher.steps=-5", "teacher.steps=-5"),
    ("teacher.stpes=5", "config.teacher.stpes: no such setting; the nearest are --config.teacher.steps"),
    ("teacher=5", "config.teacher: a group of settings"),
    ("teacher.accumulation=3", "teacher.accumulation=3: does not divide"),
    ("teacher.sequence_length=4", "teacher.sequence_length=4: "),
    ("teacher.sequence_length=49", "teacher.sequence_length=49: model.teacher.max_position_embeddings is 48"),
    ("distill.max_predictions=0", "distill.max_predictions=0: "),
    ("distill.max_predictions=33", "distill.max_predictions=33: "),
    ("distill.keep_checkpoints=0", "distill.keep_checkpoints=0"),
    ("distill.ground_truth_ratio=2", "distill.ground_truth_ratio=2.0"),
    ("data.mask_probability=0", "data.mask_probability=0.0"),
    ("data.heldout_fraction=1", "data.heldout_fraction=1.0"),
    ("data.min_characters=-1", "data.min_characters=-1: must not be negative"),
    ("data.max_documents=-1", "data.max_documents=-1: must not be negative"),
    ("data.min_characters=9999", "every document has under 9999 characters"),
    ("data.sentences=pysbd", "data.sentences='pysbd': must be rules, or sentencex:LANGUAGE"),
    ("data.short_sequence_probability=-0.1", "data.short_sequence_probability=-0.1"),
    ("data.vocab_size=6", "vocab_size=6 is too small"),
    (
        "data.tokenizer_kind=sentencepiece",
        "tokenizer_kind='sentencepiece': must be one of wordpiece, unigram",
    ),
    ("data.tokenizer_sample=-1", "data.tokenizer_sample=-1: must not be negative"),
    ("data.tokenizer_coverage=0.5", "data.tokenizer_coverage=0.5: must be from 0.98 to 1"),
    ("model.student.num_attention_heads=5", "model.student.num_attention_heads=5: does not divide"),
    ("model.student.dtype=float16", "model.student.dtype=float16"),
    ("model.student.hidden_act=tanh", "model.student.hidden_act='tanh'"),
    ("model.student.remat=all", "model.student.remat='all'"),
    ("model.student.normalization_type=batch", "model.student.normalization_type='batch'"),
    ("model.teacher.hidden_dropout_prob=1", "model.teacher.hidden_dropout_prob=1.0"),
    ("model.teacher.hidden_size=64", "hidden_size=32: must equal the teacher's 64"),
    ("model.teacher.num_hidden_layers=0", "model.teacher.num_hidden_layers=0"),
    ("model.student.num_hidden_layers=5", "5"),
    ("transfer.strategy=magic", "transfer.strategy='magic'"),
    ("transfer.copy=pooler", "transfer.copy: 'pooler'"),
    ("transfer.layer_map=9,3", "transfer.layer_map=(9, 3)"),
    ("transfer.steps=1", "transfer.steps=1"),
    ("finetune.max_query_length=30", "finetune.max_query_length=30"),
    ("finetune.doc_stride=0", "finetune.doc_stride=0"),
    ("mesh.preset=zero", "mesh.preset='zero': must be one of dp, fsdp, tensor, fsdp_tensor"),
    ("mesh.teacher_preset=zero", "mesh.teacher_preset='zero': must be one of dp"),
    ("mesh.fsdp=1000", "fsdp 1000 x tensor 1 = 1000 does not divide the number of devices"),
    ("mesh.data=0", "mesh.data=0: must be at least 1, or -1"),
    ("mesh.replicate_below=-1", "mesh.replicate_below=-1: must not be negative"),
]
CORPORA = [
    ("nowhere.txt", "nowhere.txt"),
    ("empty.txt", "empty.txt"),
    ("blank.txt", "blank.txt"),
    ("single.txt", "fewer than 2 documents"),
    ("short.txt", "two sentences"),
    ("latin.txt", "latin.txt: not UTF-8"),
    ("binary.txt", "binary.txt: not UTF-8"),
    ("cut.txt.gz", "cut.txt.gz: cannot be read"),
    ("cut.txt.xz", "cut.txt.xz: cannot be read"),
    ("cut.txt.zst", "cut.txt.zst: cannot be read"),
    ("fake.txt.gz", "fake.txt.gz: cannot be read"),
    ("fake.txt.xz", "fake.txt.xz: cannot be read"),
    ("fake.txt.zst", "fake.txt.zst: cannot be read"),
    ("field.jsonl", "field.jsonl, line 1"),
    ("number.jsonl", "number.jsonl, line 1"),
    ("broken.jsonl", "broken.jsonl, line 1"),
    ("other-format.pdf", "other-format.pdf is neither"),
    ("model", "this is a folder"),
]
OTHER_CORPORA = [
    ("builtin:novels", "builtin:novels"),
    ("s3://bucket/a.txt", "s3"),
    ("", "data.corpus is empty"),
    ("0*text:a.txt", "the weight 0 must be a number above 0"),
    ("0.5*text:{bad}/good.txt+0.5*text:{bad}/empty.txt", "empty.txt': no text in it"),
    ("{bad}/good.txt#body", "good.txt has no fields"),
]
LIBRARY_CORPORA = [  # needs datasets or tensorflow-datasets
    ("hf:{bad}/nowhere", "no such folder or file: {bad}/nowhere"),
    ("hf:{bad}/field.jsonl", 'no field "text"; the fields are body'),
    ("hf:{bad}/number.jsonl", '"text" is int; a string is needed'),
    ("hf:{bad}/other-format.pdf", "files of one kind are needed"),
    ("tfds:no_such_set", "no such data set below TFDS_DATA_DIR"),
    ("tfds:{bad}/model", "model holds no dataset_info.json"),
]
TOKENIZERS = [
    ("nowhere.vocab", "nowhere.vocab: no such tokenizer"),
    ("no-mask.vocab", "no-mask.vocab: no [MASK]"),
    ("twice.vocab", "twice.vocab: 'a' stands there twice"),
    ("empty.vocab", "empty.vocab: "),
    ("latin.vocab", "latin.vocab: "),
    ("broken-tokenizer.json", "broken-tokenizer.json: not a tokenizer.json"),
    ("no-tokenizer", "no-tokenizer: this folder holds neither"),
    ("broken.model", "broken.model: not a SentencePiece model"),
    ("t5.model", "t5.model: no [CLS] [SEP] [MASK] in the vocabulary"),
]
MODELS = [
    ("nowhere", "nowhere: not a model folder"),
    ("no-config", "no-config: not a model folder, config.json missing"),
    ("bad-config", "bad-config/config.json: not JSON"),
    ("no-weights", "model.safetensors missing"),
    ("cut-weights", "cut-weights/model.safetensors: not a readable"),
    ("text-weights", "text-weights/model.safetensors: not a readable"),
    ("lacking", "1 missing: mobilebert.embeddings.word_embeddings.weight"),
    ("misshapen", "1 of the wrong shape: mobilebert.embeddings.word_embeddings.weight"),
    ("no-pieces", "no-pieces: this folder holds neither"),
    ("heads", "heads/config.json"),
    ("act", "act/config.json"),
]
TEACHERS = [
    ("nowhere", "nowhere: no such file"),
    ("cut-weights", "cut-weights/model.safetensors: not a readable"),
    ("misshapen", "1 of the wrong shape"),
    ("teacher", "teacher: the teacher has 26 words, the tokenizer in w/data has 120"),
]
QUESTIONS = [
    ("nowhere.json", "nowhere.json"),
    ("no-json.json", "no-json.json: not valid JSON"),
    ("other-form.json", "other-form.json: data: missing"),
    ("no-questions.json", "no-questions.json: no questions"),
    ("same-ids.json", "same-ids.json: two different questions have the id '1'"),
    ("no-context.json", "paragraphs[0].context"),
    ("no-answers.json", "answers: empty"),
    ("text-start.json", "answer_start: str"),
    ("latin.txt", "latin.txt: not valid JSON"),
]
FILES = {
    "data.corpus": CORPORA,
    "data.tokenizer": TOKENIZERS,
    "teacher.path": TEACHERS,
    "finetune.questions": [*QUESTIONS, ("one-passage.json", "single passage")],
}
WORDS = [
    (["run", "--config={bad}/run/config.json"], "run/config.json: not the config.json of a run"),
    (["run", "--config={bad}/model/config.json"], "model/config.json: not the config.json of a run"),
    (["run", "--config={bad}/good.txt"], "good.txt: a .py file"),
    (["run", "--max_minutes=-1"], "--max_minutes=-1"),
    (["run", "--max_minutes=nan"], "--max_minutes=nan"),
    (["prepare", "--workdir={bad}/model"], "model/config.json: not the config.json of a run"),
    (["prepare", "--workdir={bad}/run"], "run/config.json: not the config.json of a run"),
    (["prepare", "--workdir={bad}/good.txt"], "good.txt"),
    (["evaluate", "--dataset={bad}/good.json", "--predictions={bad}/other-ids.json"], "have no prediction"),
    (["evaluate", "--dataset={bad}/good.json", "--predictions={bad}/model"], "predictions={bad}/model: "),
    (["evaluate", "--dataset={bad}/good.json", "--model={bad}/model", "--batch_size=-1"], "--batch_size=-1"),
    (["evaluate", "--task=rte", "--dataset={bad}", "--model={bad}/model", "--doc_stride=8"], "--doc_stride=8: is for"),
    (
        ["evaluate", "--dataset={bad}/good.json", "--model={bad}/model", "--sequence_length=-1"],
        "--sequence_length=-1",
    ),
    (["evaluate", "--dataset={bad}/impossible.json", "--model={bad}/model", "--task=squad1"], "impossible.json"),
    (["answer", " ", "--model={bad}/model", "--passage={bad}/good-passage.txt"], "the question is empty"),
    (["answer", "who?", "--model={bad}/model", "--passage={bad}/model"], "--passage={bad}/model: "),
    (["answer", "who?", "--model={bad}/model", "--passage={bad}/latin.txt"], "latin.txt: not UTF-8"),
    (["answer", "who?", "--model={bad}/model", "--passage={bad}/good-passage.txt", "--top_k=0"], "top_k"),
    (["answer", "cat " * 99, "--model={bad}/teacher", "--passage={bad}/good-passage.txt"], "teacher: "),
    (["bench", "transfer", "--batch_size=0"], "--batch_size=0"),
    (["bench", "transfer", "--sequence_length=-1"], "--sequence_length=-1"),
    (["bench", "transfer", "--sequence_length=513"], "model.teacher.max_position_embeddings is 512"),
    (["bench", "transfer", "--repeats=0"], "--repeats=0"),
    (["inspect", "{bad}/nowhere"], "nowhere: no such file"),
    (["inspect", "{bad}/no-tokenizer"], "no-tokenizer: nothing to inspect"),
    (["inspect", "{bad}/cut-weights"], "cut-weights/model.safetensors: not a readable"),
    (["inspect", "{bad}/bad-config"], "bad-config/config.json: not JSON"),
    (["inspect", "{bad}/run"], "run/config.json: not the config.json of a run"),
]


@pytest.fixture(scope="session")
def bad(tiny_run, tmp_path_factory):
    """A folder of bad files."""
    folder = tmp_path_factory.mktemp("bad")
    make_bad_files(folder, tiny_run)
    return folder


@pytest.fixture
def refused(refusal, bad, tiny_run, tmp_path):
    """Runs a command that must be refused and leave every file as it was: words -> the one line on stderr."""

    def state():
        entries = [path for folder in (bad, tmp_path) for path in folder.rglob("*")]
        return {path: path.read_bytes() if path.is_file() else None for path in entries}

    def call(command, *words):
        before = state()
        tiny = tiny_run.words if command in ("run", "prepare", "finetune") else []
        given = any(word.startswith("--config=") for word in words)
        line = refusal(command, *([] if given else tiny), *(word.replace("{bad}", str(bad)) for word in words))
        after = state()
        assert after == before
        return line.replace(str(bad), "{bad}")

    return call


@pytest.mark.parametrize(("change", "message"), CONFIG)
def test_settings(refused, change, message):
    assert message in refused("run", "--workdir=w", f"--config.{change}")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_vocabularies_that_a_text_cannot_give(refused, kind):
    for size, message in (
        ("6", "vocab_size=6 is too small"),
        ("9999", "vocab_size=9999 is too large: this text gives"),
    ):
        change = f"--config.data.vocab_size={size}"
        assert message in refused("prepare", "--workdir=w", f"--config.data.tokenizer_kind={kind}", change)


@pytest.mark.parametrize(
    ("setting", "name", "message"), [(setting, *row) for setting in FILES for row in FILES[setting]]
)
def test_files(refused, setting, name, message):
    assert message in refused("run", "--workdir=w", f"--config.{setting}={{bad}}/{name}")


@pytest.mark.parametrize(("spec", "message"), OTHER_CORPORA)
def test_names_of_corpora(refused, spec, message):
    assert message in refused("run", "--workdir=w", f"--config.data.corpus={spec}")


@pytest.mark.parametrize(("spec", "message"), LIBRARY_CORPORA)
def test_corpora_of_libraries(refused, spec, message):
    pytest.importorskip("datasets" if spec.startswith("hf:") else "tensorflow_datasets")
    assert message in refused("run", "--workdir=w", f"--config.data.corpus={spec}")


@pytest.mark.parametrize(("name", "message"), MODELS)
def test_models(refused, name, message):
    model, passage = f"--model={{bad}}/{name}", "--passage={bad}/good-passage.txt"
    assert message in refused("answer", "who sat?", model, passage)
    if name in ("nowhere", "cut-weights", "no-pieces"):
        assert message in refused("evaluate", model, "--dataset={bad}/good.json", "--output=scored")
        assert message in refused("finetune", "--workdir=w", model, "--dataset={bad}/good.json")


@pytest.mark.parametrize(("name", "message"), QUESTIONS)
def test_questions_to_be_scored(refused, name, message):
    assert message in refused("evaluate", "--predictions={bad}/other-ids.json", f"--dataset={{bad}}/{name}")


@pytest.mark.parametrize(("words", "message"), WORDS)
def test_words(refused, words, message):
    assert message in refused(*words)


def test_a_workdir_of_another_config(refused, command, tiny_run, tmp_path):
    assert command("prepare", "--workdir=w", *tiny_run.words)[0] == 0
    for change in ("seed=7", "data.vocab_size=100", "teacher.steps=7"):
        name, _, value = change.partition("=")
        assert f"config.{name}={value}: w was started with " in refused("run", "--workdir=w", f"--config.{change}")


def test_a_damaged_config_json_of_a_run_that_has_data(refused, command, tiny_run, tmp_path):
    assert command("prepare", "--workdir=w", *tiny_run.words)[0] == 0
    path = tmp_path / "w" / "config.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert "w/config.json: not the config.json of a run" in refused("run", "--workdir=w")


def test_at_least_40_kinds():
    assert sum(map(len, (CONFIG, *FILES.values(), OTHER_CORPORA, MODELS, WORDS))) >= 100
