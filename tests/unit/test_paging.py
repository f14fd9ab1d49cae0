import base64
import json
from datetime import UTC, datetime

import pytest

from app.core.caller import DEFAULT_TENANT
from app.core.errors import Invalid
from app.core.ids import new_id
from app.repositories.paging import decode_position, decode_seq, encode_cursor


def test_cursors_come_back() -> None:
    moment, id_ = datetime(2027, 1, 2, 3, 4, 5, 678901, UTC), new_id()
    assert decode_position(encode_cursor(moment, id_)) == (moment, id_)
    assert decode_seq(encode_cursor(17)) == 17


def made(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "%00", "a" * 400, "é", encode_cursor("2027-01-02", "no-id"),
        encode_cursor("2027-01-02T00:00:00", DEFAULT_TENANT),
        made({"a": 1}), made([1, 2]), made(["-5"]), made(["1e3"]), made(["١"]), made(["9" * 30]), made([["1"]]),
    ],
)  # fmt: skip
def test_forged_cursors_are_refused(cursor: str) -> None:
    for decode in (decode_position, decode_seq):
        with pytest.raises(Invalid) as refused:
            decode(cursor)
        assert refused.value.code == "invalid_cursor"
