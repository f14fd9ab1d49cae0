"""docs/realtime.md says what the code does."""

import ast
import re
from typing import get_args

import pytest

from app.api import http_protocol, outbox, sockets, streams, ws_protocol
from app.api.routers.chat_ws import MAX_FRAME_BYTES
from app.core.settings import Settings
from app.schemas.events import Done
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "realtime.md").read_text()
LIMITS = {
    "Bytes of a frame": MAX_FRAME_BYTES,
    "Fragments of a message": ws_protocol.MOST_FRAGMENTS,
    "Frames a minute": sockets.FRAMES_A_MINUTE,
    "WebSocket pings and pongs a minute": ws_protocol.CONTROL_FRAMES_A_MINUTE,
    "Bad frames a minute": sockets.BAD_FRAMES,
    "Turns followed by one socket": sockets.MOST_FOLLOWED,
    "Frames that wait for one client": outbox.MOST_FRAMES,
    "Bytes that wait for one client": outbox.MOST_BYTES,
    "Seconds in which a waiting frame must be taken": sockets.SEND_SECONDS,
    "Seconds without a byte taken": http_protocol.STALL_SECONDS,
    "Seconds of a stream's life": streams.LIFE_SECONDS,
    "Seconds until a revoked key is noticed": sockets.CHECK_SECONDS,
}


def rows(title: str) -> list[list[str]]:
    """The first table under the heading."""
    section = re.split(r"^## ", PAGE.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines is not None, title
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in lines[0].splitlines()[2:]]


def test_limits() -> None:
    found = rows("Limits")
    assert len(found) == len(LIMITS)
    for (what, value), (name, limit) in zip(found, LIMITS.items(), strict=True):
        assert what.startswith(name)
        assert float(value) == limit, what


@pytest.mark.parametrize(
    "name", [name for name in Settings.model_fields if name.startswith("ws_") or name == "drain_seconds"]
)
def test_settings(name: str) -> None:
    row = re.search(rf"^\| `{name.upper()}` \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert row is not None
    default = Settings.model_fields[name].default
    assert row[1] == ("10 in production, none in development" if default is None else f"{default:g}")


def test_close_codes() -> None:
    modules = [ROOT / "app" / "api" / f"{name}.py" for name in ("sockets", "outbox", "ws_protocol")]
    used = {
        node.value
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int)
        and 1000 < node.value < 1016  # 1000 turns seconds into milliseconds
    }
    by_uvicorn = {1007, 1009}
    assert {int(code) for code, *_ in rows("Close codes")} == used | by_uvicorn


def test_how_a_turn_ends() -> None:
    assert {row[0].strip("`") for row in rows("Order of a turn")} == {*get_args(Done.model_fields["status"].annotation)}


def test_system_events() -> None:
    sent = set()
    for path in (ROOT / "app" / "api").rglob("*.py"):
        sent |= {*re.findall(r'"system",[^)]*?code="(\w+)"', path.read_text())}
        sent |= {*re.findall(r'"system", \{[^}]*"code": "(\w+)"', path.read_text())}
    assert {row[0].strip("`") for row in rows("Events with `type` `system`")} == sent
