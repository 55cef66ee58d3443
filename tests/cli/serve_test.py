"""What `serve` refuses."""

import json

import pytest

MODEL_OR_WEB = "serve: give either --model=DIR, a model folder, or --web=DIR, what `export --format=web` made"


@pytest.mark.parametrize("words", [(), ("--model=a", "--web=b")])
def test_a_model_or_a_page(refusal, words):
    assert MODEL_OR_WEB in refusal("serve", *words)


def test_what_is_not_there(refusal, tmp_path):
    assert "nowhere: no page there; `mobilebert export --format=web" in refusal("serve", "--web=nowhere")
    (tmp_path / "export.json").write_text(json.dumps({"format": "web"}))
    assert "--port=70000: must be 0 to 65535" in refusal("serve", f"--web={tmp_path}", "--port=70000")
