import argparse

from tests.text.stores import ListCorpus, make_stores
from tests.text.stream import compare, global_lines


def test_the_global_batches_do_not_depend_on_processes_and_restarts(tmp_path, documents, tokenizer):
    tokenizer.save(tmp_path / "tokenizer")
    make_stores(tmp_path, ListCorpus(documents), tokenizer, shard_bytes=800)
    options = argparse.Namespace(data=str(tmp_path), steps="0:20", batch_size=8, sequence_length=32)
    said = compare(options)
    assert said.count("steps 0:20") == 4
    lines = global_lines(options, 1, "18:22")
    assert len({word for line in lines for word in line.split()[1:]}) == 4 * 8, "no two examples are alike"
