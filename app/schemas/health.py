from typing import Literal

from app.schemas.common import Response


class Root(Response):
    message: str
    docs: str
    status: Literal["running"]


class Health(Response):
    status: Literal["healthy", "unhealthy"]
    database: Literal["connected", "disconnected"]
    service: str
    version: str
    components: dict[str, str]


class Live(Response):
    status: Literal["live"]


class Ready(Response):
    status: Literal["ready", "not_ready", "draining"]
    checks: dict[str, str]
    degraded: list[str]
