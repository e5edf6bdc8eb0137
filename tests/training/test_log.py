from megalabel.cli.jobs import best_validation
from megalabel.training.log import truncate_log

WHOLE = '{"step": 1, "epoch": 0.5, "validation": {"P@1": 40.0}}\n'
DAMAGED = (b"\xff\xfe\n", b'{"step": "x"}\n', b"[" * 100_000 + b"\n", b"7\n", b'{"step": 2\n', b'{"step": null}\n')


def test_a_damaged_log_is_cut_and_summed_up_without_its_damage(tmp_path):
    log = tmp_path / "log.jsonl"
    for damage in DAMAGED:
        log.write_bytes(WHOLE.encode() + damage)
        assert best_validation(tmp_path, "P@1") == "best validation P@1 40.00 after epoch 0.5"
        truncate_log(log, 5)
        assert log.read_text() == WHOLE
