from mobilebert_jax.text.tokenizer_files import TokenizerFiles


def test_what_is_a_tokenizers_is_copied_byte_by_byte(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    files = {"vocab.txt": b"a\r\nb", "sentencepiece.bpe.model": bytes(range(256)), "added_tokens.json": b"{}"}
    for name, data in (files | {"config.json": b"{}", "pytorch_model.bin": b"x"}).items():
        (tmp_path / "from" / name).write_bytes(data)
    found = TokenizerFiles(tmp_path / "from")
    assert sorted(found.names) == sorted(files)
    found.save(tmp_path / "to")
    assert {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir()} == files


def test_no_tokenizer_is_no_error(tmp_path):
    found = TokenizerFiles(tmp_path / "gone")
    found.save(tmp_path)
    assert found.names == [] and not list(tmp_path.iterdir())
