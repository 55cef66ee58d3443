import pytest

from tests.buckets import bucket_server
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


@pytest.fixture(scope="session")
def bucket_environment():
    """Sends this process, and those that it starts, to an empty bucket on this machine; returns its address."""
    with bucket_server() as (address, variables), pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield address


@pytest.fixture
def bucket(bucket_environment, tmp_path, monkeypatch):
    """The address of a folder in a bucket that no other test uses; what stands for it here lies in tmp_path/cache."""
    monkeypatch.setenv("MOBILEBERT_CACHE", str(tmp_path / "cache"))
    return f"{bucket_environment}/{tmp_path.name}"
