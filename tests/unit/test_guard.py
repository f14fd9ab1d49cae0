"""JSON as strict as RFC 8259, before anything is built from it."""

import pytest

from app.api.guard import parse_json
from app.core.errors import Invalid


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, "\\u0c24", null, true]}', {"a": [1, 2.5, "త", None, True]}),
        ('"తెలుగు"'.encode(), "తెలుగు"),
        (b"[" * 64 + b"]" * 64, None),
        (b'"' + b"[" * 1000 + b'"', "[" * 1000),
    ],
)
def test_valid(body: bytes, value: object) -> None:
    parsed = parse_json(body)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b'{"a":', b"{'a':1}", b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), "é".encode("latin-1"),
        b"NaN", b"[Infinity]", b"[1e400]", b"[-1e400]", b"1" * 5000, b'{"a":1,"a":2}', b"[" * 100_000,
        b'{"a":' * 100_000, b"[" * 65 + b"]" * 65,
        b"{" + b",".join(b'"%d":1' % i for i in range(100_000)) + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_refused(body: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        parse_json(body)
    assert refused.value.code == "malformed_json"
