import time

from app.core.ids import new_id


def test_ids_are_version_7_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert all((i.version, i.variant) == (7, "specified in RFC 4122") for i in ids)
    assert ids == sorted(ids)
    assert before <= ids[0].int >> 80 <= time.time_ns() // 1_000_000


def test_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
