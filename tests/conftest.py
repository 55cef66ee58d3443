import pytest

from tests.recipes.tiny_run import make_tiny_run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Text, questions and commands for the whole recipe in seconds."""
    return make_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def finished_run(tiny_run):
    """The folder of a run that went through all phases without a stop."""
    workdir = tiny_run.folder / "finished"
    out, error = tiny_run.finish("run", workdir)
    (tiny_run.folder / "stdout").write_text(out)
    (tiny_run.folder / "stderr").write_text(error)
    return workdir
