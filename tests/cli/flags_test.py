import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from mobilebert_jax.cli.config_values import NOTHING, format_config, leaves_of, parse_value
from mobilebert_jax.cli.flags import apply_override, default_workdir, load_config, nearest
from mobilebert_jax.recipes.workdir import claim, flat
from mobilebert_jax.utils.errors import UserError

SPECS = ["demo", "mobilebert", *(f"mobilebert:{name}" for name in "tiny no_opt multilingual soft laptop".split())]
SPECS += ["mobilebert:tiny,laptop", "mobilebert:no_opt,multilingual,soft,laptop", "glue:rte"]


def other(value):
    """A word for the command line, and the value it must become."""
    if isinstance(value, bool):
        return str(not value), not value
    if isinstance(value, int):
        return f"{value + 1000}", value + 1000
    if isinstance(value, float):
        return "3e-7", 3e-7
    if isinstance(value, tuple):
        return "5,7", (5, 7)
    return "some=text", "some=text"


@pytest.mark.parametrize("spec", SPECS)
def test_every_leaf_of_every_config_can_be_set_from_the_command_line(spec):
    config = load_config(spec, [])
    leaves = leaves_of(config)
    assert len(leaves) > 100 and leaves.keys() == flat(config.to_dict()).keys()
    words, expected = {}, {}
    for name, value in leaves.items():
        assert type(value) in (bool, int, float, str, tuple), name
        words[name], expected[name] = other(value)
    config = load_config(spec, [f"{name}={word}" for name, word in words.items()])
    assert leaves_of(config) == expected


@pytest.mark.parametrize("spec", SPECS)
def test_every_leaf_set_to_what_it_prints_as_stays_what_it_is(spec):
    config = load_config(spec, [])
    for name, value in leaves_of(config).items():
        parsed = parse_value(name, str(value), value)
        assert parsed == value and type(parsed) is type(value), name


@pytest.mark.parametrize("spec", SPECS)
def test_a_printed_config_is_the_overrides_that_make_it(spec):
    changed = load_config(spec, ["data.corpus=my texts/*.zst", "transfer.copy=", "transfer.layer_map=1,2"])
    lines = format_config(changed).splitlines()
    words = [word for line in lines for word in shlex.split(line)]
    assert len(words) == len(lines) == len(leaves_of(changed))
    overrides = [word.removeprefix("--config.") for word in words]
    assert load_config("demo", overrides).to_dict() == changed.to_dict()


@pytest.mark.parametrize("text", ["None", "none", "NULL", "1,None"])
def test_none_is_no_value(text):
    assert parse_value("x", "none", "full") == "none"  # which is a choice of some settings
    for current in ((1, 2), ("embeddings",), *(["text"] if text in ("None", "NULL") else [])):
        with pytest.raises(UserError, match=f"--config.a.b={text}: "):
            parse_value("a.b", text, current)


@pytest.mark.parametrize("spec", SPECS)
def test_a_run_s_config_json_can_be_read_again(spec, tmp_path):
    config = load_config(spec, ["seed=3", "transfer.layer_map=1,2", "transfer.copy="])
    claim(tmp_path, config)
    again = load_config(str(tmp_path / "config.json"), [])
    assert again.to_dict() == config.to_dict()
    claim(tmp_path / "again", again)
    runs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path, tmp_path / "again")]
    assert runs[0]["identity"] == runs[1]["identity"]
    assert load_config(str(tmp_path / "config.json"), ["seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("text", "current", "value"),
    [
        ("1e3", 5, 1000),
        ("12345678901234567890", 5, 12345678901234567890),
        ("-2", 5, -2),
        ("1", 0.5, 1.0),
        ("TRUE", False, True),
        ("false", True, False),
        ("", (1, 2), ()),
        ("()", (), ()),
        ("(1, 2)", (), (1, 2)),
        ("[1,2]", (), (1, 2)),
        ("embeddings", ("embeddings", "heads"), ("embeddings",)),
        ("'a', \"b\"", (), ("a", "b")),
        ("none", "text", "none"),
        ("", "text", ""),
        ("a=b", "text", "a=b"),
    ],
)
def test_a_word_takes_the_type_that_is_there(text, current, value):
    parsed = parse_value("x", text, current)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "current", "kind"),
    [
        ("1.5", 5, "a whole number"),
        ("inf", 5, "a whole number"),
        ("None", 5, "a whole number"),
        ("nan", 0.5, "a finite number"),
        ("-inf", 0.5, "a finite number"),
        ("fast", 0.5, "a finite number"),
        ("yes", True, "true or false"),
        ("1", True, "true or false"),
        ("1x,2", (1,), "values like 1,2,3"),
    ],
)
def test_a_word_of_another_type_is_refused(text, current, kind):
    with pytest.raises(UserError, match=f"--config.a.b={text}: {kind} is needed"):
        parse_value("a.b", text, current)


WORDS = st.text().filter(lambda text: text.lower() not in NOTHING)


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORDS))
def test_what_a_value_prints_as_is_read_as_that_value(value):
    assert parse_value("x", str(value), value) == value


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("teacher.stps", "teacher.steps"),
        ("techer.steps", "teacher.steps"),
        ("learning_rate", "teacher.optimizer.learning_rate"),
        ("distill.learning_rate", "distill.optimizer.learning_rate"),
        ("vocab_size", "data.vocab_size"),
        ("corpus", "data.corpus"),
        ("hidden_size", "model.student.hidden_size"),
        ("transfer.layermap", "transfer.layer_map"),
        ("model.student.layers", "model.student.num_hidden_layers"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(name, suggestion):
    with pytest.raises(UserError, match=rf"no such setting; the nearest are .*--config\.{suggestion}\b"):
        load_config("demo", [f"{name}=1"])


def test_likeness_of_the_last_part_counts_as_much_as_of_the_whole():
    names = ["teacher.optimizer.learning_rate", "teacher.steps", "learning.ratio"]
    assert nearest("teacher.learning_rate", names)[0] == "teacher.optimizer.learning_rate"


def test_a_group_of_settings_is_no_setting():
    config = ConfigDict({"a": {"b": 1, "c": 2}})
    with pytest.raises(UserError, match=r"--config\.a: a group of settings, not one: b, c"):
        apply_override(config, "a=1")
    with pytest.raises(UserError, match=r"write --config\.a\.b=value"):
        apply_override(config, "a.b")
    with pytest.raises(UserError, match="no such setting"):
        apply_override(config, "a.b.c=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function get_config"),
        ("def get_config(): return {}", "get_config returns dict"),
        ("def get_config(): return 1 / 0", "fails with ZeroDivisionError"),
        ("def get_config(:", "fails with SyntaxError"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(str(path), [])


def test_an_argument_is_refused_where_there_is_none(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def get_config(): return 1")
    with pytest.raises(UserError, match=r"mine\.py takes no arguments"):
        load_config(f"{path}:fast", [])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere/demo.py", "no such file; configs that come with the project: demo.py, glue.py, mobilebert.py"),
        ("demo:fast", "no argument 'fast'; there is local"),
        ("small:fast", "no argument 'fast'; there are deep and bare"),
        ("mobilebert:teeny", "no argument 'teeny'; there are tiny, no_opt"),
        ("mobilebert:tiny,no_opt", "two models, choose one"),
    ],
)
def test_an_unknown_config_is_refused(spec, message):
    with pytest.raises(UserError, match=message):
        load_config(spec, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("teacher", "steps", None), r"teacher\.steps=None: a whole number is needed, such as 500000"),
        (("teacher", "steps", 1.5), r"teacher\.steps=1\.5: a whole number"),
        (("data", "lowercase", 1), r"data\.lowercase=1: true or false"),
        (("data", "corpus", 1), r"data\.corpus=1: a text is needed"),
        (("data", "mask_probability", float("nan")), r"data\.mask_probability=nan: a finite number"),
        (("teacher", "stepz", 3), r"teacher\.stepz: no such setting; the nearest are teacher\.steps"),
        (("seed", {"a": 1}), r"the setting seed is missing"),
    ],
)
def test_a_config_with_other_settings_than_a_run_s_is_refused(tmp_path, change, message):
    claim(tmp_path, load_config("demo", []))
    run = json.loads((tmp_path / "config.json").read_text())
    *parents, name, value = change
    node = run["config"]
    for parent in parents:
        node = node[parent]
    node[name] = value
    (tmp_path / "config.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match=message):
        load_config(str(tmp_path / "config.json"), [])


def test_what_came_after_a_run_was_written_is_its_default_and_said(tmp_path):
    claim(tmp_path, load_config("demo", ["seed=3"]))
    (tmp_path / "data").mkdir()
    path = tmp_path / "config.json"
    run = json.loads(path.read_text())
    del run["config"]["finetune"]["quantize"], run["config"]["mesh"]["preset"], run["config"]["glue"]
    path.write_text(json.dumps(run))
    with pytest.warns(UserWarning, match=r"config\.json: written before there was ") as said:
        old = load_config(str(path), ["teacher.log_every=7"])
    (line,) = (str(warning.message) for warning in said)
    for words in ("finetune.quantize=''", "mesh.preset='dp'", "glue.rte=(16, 5e-05, 10.0)"):
        assert words in line
    assert old.to_dict() == load_config("demo", ["seed=3", "teacher.log_every=7"]).to_dict()
    claim(tmp_path, old)  # and the run goes on


def test_a_file_of_one_s_own_must_have_every_setting(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mobilebert_jax.recipes.defaults import default_config\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    del config.teacher.accumulation\n"
        "    return config\n"
    )
    with pytest.raises(UserError, match=r"the setting teacher\.accumulation is missing"):
        load_config(str(tmp_path / "mine.py"), [])


def test_a_whole_number_is_a_number_too(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mobilebert_jax.recipes.defaults import default_config\n"
        "def get_config():\n"
        "    values = default_config().to_dict()\n"
        "    values['teacher']['next_sentence'] = 2\n"
        "    from ml_collections import ConfigDict\n"
        "    return ConfigDict(values)\n"
    )
    found = load_config(str(tmp_path / "mine.py"), []).teacher.next_sentence
    assert found == 2 and type(found) is float


@pytest.mark.parametrize("content", ["[]", "{}", "nonsense", json.dumps({"config": 3})])
def test_a_json_file_that_is_no_run_s_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"not the config\.json of a run"):
        load_config(str(tmp_path / "config.json"), [])


def test_a_loaded_config_takes_no_new_names():
    config = load_config("configs/demo.py", [])
    with pytest.raises(AttributeError):
        config.teacher.stepz = 3


@pytest.mark.parametrize(
    ("spec", "suffix", "workdir"),
    [
        ("configs/demo.py", "", "runs/demo"),
        ("demo", "-squad2", "runs/demo-squad2"),
        ("/some/where/mine.py:tiny,laptop", "", "runs/mine-tiny-laptop"),
        ("runs/demo/config.json", "", "runs/demo"),
        ("runs/demo/config.json", "-squad1", "runs/demo-squad1"),
    ],
)
def test_a_run_lives_in_a_folder_named_after_its_config(spec, suffix, workdir):
    assert default_workdir(spec, suffix) == Path(workdir)
