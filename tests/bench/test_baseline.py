"""What pgbench's log says (bench/workloads/baseline.py)."""

from bench.workloads.baseline import durations_of


def test_the_third_column_is_the_duration_with_its_delay() -> None:
    log = "0 1 4521 0 1790000000 123456 310\n1 1 987 0 1790000000 123999 0\n"
    assert durations_of(log) == [0.004521, 0.000987]
