"""`mobilebert report`, and the page that a run leaves."""

import shutil


def test_a_finished_run_leaves_its_page_and_the_command_writes_it_again(command, finished_run, tiny_run, tmp_path):
    assert f"report: {finished_run / 'report.html'}" in (tiny_run.folder / "stdout").read_text()
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    assert "4 of 4" in page and "cannot be shown" not in page and page.count("<svg") == 5
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / "report.html").unlink()
    assert command("report", copy) == (0, f"report: {copy / 'report.html'}\n", "")
    assert (copy / "report.html").is_file()


def test_a_folder_without_config_is_refused_by_name(refusal, tmp_path):
    assert f"{tmp_path}: no config.json there" in refusal("report", tmp_path)


def test_a_page_that_cannot_be_written_does_not_cost_the_results(command, finished_run, tiny_run, tmp_path):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / "report.html").unlink()
    (copy / "report.html").mkdir()
    code, out, error = command("run", f"--workdir={copy}", *tiny_run.words)
    assert code == 0 and "4 held-out questions" in out and f"finished: {copy / 'model'}" in out
    assert "warning: " in error and "report.html could not be written" in error and error.count("\n") == 1
