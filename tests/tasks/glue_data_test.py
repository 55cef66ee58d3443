import numpy as np
import pytest

from mobilebert_jax.tasks.glue_data import glue_parts, load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS, glue_task
from mobilebert_jax.utils.errors import UserError
from tests.tasks.glue_files import LABELS, write_glue


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.mark.parametrize("name", TASKS)
def test_every_part_of_every_task_is_read(glue, name):
    task = TASKS[name]
    assert glue_parts(task, str(glue)) == list(task.parts)
    for spec in (str(glue), str(glue / task.folder)):
        for part in task.parts:
            examples = load_glue(task, part, spec)
            assert len(examples) == 6 and examples.indices == tuple("012345")
            assert examples.texts[2] == f'{part} "{task.columns[0]} 2'
            if task.pairs:
                assert examples.text_pairs[5] == f'{part} "{task.columns[1]} 5'
            else:
                assert examples.text_pairs is None
            if part in task.submissions:
                assert examples.labels is None
                continue
            written = [LABELS[task.folder][row % len(LABELS[task.folder])] for row in range(6)]
            if task.labels:
                assert examples.labels.dtype == np.int32
                assert [task.labels[number] for number in examples.labels] == written
            else:
                assert examples.labels.dtype == np.float32 and examples.labels.tolist() == list(map(float, written))


def spoil(glue, tmp_path, old, new):
    """RTE's folder with its dev set changed."""
    text = (glue / "RTE" / "dev.tsv").read_text()
    assert old in text
    (tmp_path / "dev.tsv").write_text(text.replace(old, new, 1))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tnot_entailment", "\tno", r"dev\.tsv:3: the label 'no' is none of 'entailment', 'not_entailment'"),
        ("\tentailment", "\t", r"dev\.tsv:2: the label '' is none of"),
        ("\tentailment", "", r"dev\.tsv:2: 3 columns, 4 are needed"),
        ("sentence2\t", "second\t", r"dev\.tsv:2: no column 'sentence2', rte needs it; there are index, sentence1, se"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_line(glue, tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        load_glue(TASKS["rte"], "dev", spoil(glue, tmp_path, old, new))


@pytest.mark.parametrize("score", ["high", "nan", "inf", ""])
def test_a_score_that_is_no_number_is_refused(glue, tmp_path, score):
    text = (glue / "STS-B" / "dev.tsv").read_text()
    (tmp_path / "dev.tsv").write_text(text.replace("4.75", score, 1))
    with pytest.raises(UserError, match=rf"dev\.tsv:3: the label '{score}' is no number"):
        load_glue(TASKS["stsb"], "dev", str(tmp_path))


def test_missing_parts_folders_and_tasks_are_one_line(glue, tmp_path):
    with pytest.raises(UserError, match=r"dev\.tsv: no such file; rte needs it \(or RTE/dev\.tsv in --dataset\)"):
        load_glue(TASKS["rte"], "dev", str(tmp_path))
    with pytest.raises(UserError, match="no such folder; GLUE's folder of tsv files"):
        load_glue(TASKS["rte"], "dev", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="rte has no part 'dev_matched'; there are train, dev, test"):
        load_glue(TASKS["rte"], "dev_matched", str(glue))
    (tmp_path / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n")
    with pytest.raises(UserError, match=r"dev\.tsv: no examples in it"):
        load_glue(TASKS["rte"], "dev", str(tmp_path))
    with pytest.raises(UserError, match="task 'sst': must be one of cola, sst2"):
        glue_task("sst")


def test_the_hub_s_columns_and_classes_are_those_of_the_files(tmp_path):
    datasets = pytest.importorskip("datasets")
    kinds = {
        "rte": (("sentence1", "sentence2"), ["entailment", "not_entailment"]),
        "cola": (("sentence",), ["unacceptable", "acceptable"]),
        "mnli": (("premise", "hypothesis"), ["entailment", "neutral", "contradiction"]),
    }
    for name, (columns, classes) in kinds.items():
        features = {column: datasets.Value("string") for column in columns} | {"idx": datasets.Value("int32")}
        features["label"] = datasets.ClassLabel(names=classes)
        rows = {column: [f"{column} {row}" for row in range(3)] for column in columns}
        rows |= {"idx": [7, 8, 9], "label": [1, 0, 1]}
        made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
        unknown = datasets.Dataset.from_dict(rows | {"label": [-1] * 3}, features=datasets.Features(features))
        ends = ("_matched", "_mismatched") if name == "mnli" else ("",)
        parts = {"train": made} | {f"validation{end}": made for end in ends} | {f"test{end}": unknown for end in ends}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / name)
        task = TASKS[name]
        for part in task.parts:
            examples = load_glue(task, part, f"hf:{tmp_path}")
            assert examples.texts[1] == f"{columns[0]} 1" and examples.indices == ("7", "8", "9")
            assert examples.labels is None if part in task.submissions else examples.labels.tolist() == [1, 0, 1]
