"""`Idempotency-Key`: what a route creates is created once, however often the request is sent.

    return await once.answer(caller, partial(runtime.sessions.create, request=body), _created)

`_created` makes the response of what the service returns; the same one is stored and repeated.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from app.api.forms import Items
from app.core.caller import Caller
from app.core.errors import Invalid, NotFound
from app.core.idempotency import Claim, Reply
from app.repositories.idempotency import Stored
from app.services.idempotency import AlreadyDone, IdempotencyService

Made = TypeVar("Made")
Said = Callable[[], Awaitable[bytes]]
"""The body in one spelling: two that say the same give the same bytes."""
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY = re.compile(r"[!-~]{1,255}")
BLOCK_BYTES = 1 << 18
DESCRIPTION = (
    "Up to 255 visible ASCII characters of yours. The same key with the same body is carried out once within 24 hours "
    "and answered alike; send it again when no answer came."
)


class Once:
    """Without a key the request is carried out as often as it comes."""

    def __init__(self, request: Request, key: str | None) -> None:
        self._request = request
        self._key = key

    @property
    def key(self) -> str:
        """Empty when none was sent."""
        return self._key or ""

    async def answer(
        self,
        caller: Caller,
        act: Callable[[Caller], Awaitable[Made]],
        present: Callable[[Made], Response],
        *,
        again: Callable[[UUID], Awaitable[Made]] | None = None,
        said: Said | None = None,
        early: bool = False,
    ) -> Response:
        """`again` reads what was made, for services that keep no answer; `said` reads a body that is not JSON; `early`
        looks for the key before the service begins, for one that does something before its transaction."""
        if self._key is None:
            return present(await act(caller))
        claim = Claim(
            route=f"{self._request.method} {self._request.scope['route'].path}",
            key=self._key,
            fingerprint=await self._fingerprint(said or self._said),
            present=lambda made: _reply(present(made)),
        )
        claiming = replace(caller, claim=claim)
        service: IdempotencyService = self._request.app.state.runtime.idempotency
        try:
            if early:
                await service.check(claiming)
            return present(await act(claiming))
        except AlreadyDone as exc:
            response = await _repeated(exc.stored, present, again)
            response.headers[REPLAYED] = "true"
            return response

    async def _fingerprint(self, said: Said) -> bytes:
        path: str = self._request.scope["path"]
        return hashlib.sha256(path.encode() + b"\n" + await said()).digest()

    async def _said(self) -> bytes:
        body = await self._request.body()
        try:
            return canonical(await self._request.json()) if body else b""
        except Invalid:
            return body  # of a route that takes none


async def get_once(
    request: Request,
    _key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description=DESCRIPTION,
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": f"^{KEY.pattern}$"},
        ),
    ] = None,
) -> Once:
    """The parameter is for OpenAPI: FastAPI would take the last of several."""
    keys = request.headers.getlist(HEADER)
    if len(keys) > 1 or not all(KEY.fullmatch(key) for key in keys):
        raise Invalid("invalid_idempotency_key", f"{DESCRIPTION.partition('.')[0]}, once.", pointer=f"/{HEADER}")
    return Once(request, keys[0] if keys else None)


OnceDep = Annotated[Once, Depends(get_once)]


def answer_with(model: BaseModel, status: int, **headers: str) -> Response:
    """Header names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(model.model_dump_json(by_alias=True), status, named, "application/json")


def _reply(response: Response) -> Reply:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Reply(response.status_code, headers, bytes(response.body))


async def _repeated(
    stored: Stored, present: Callable[[Made], Response], again: Callable[[UUID], Awaitable[Made]] | None
) -> Response:
    if stored.reply is not None:
        return Response(stored.reply.body, stored.reply.status, stored.reply.headers)
    if again is None or stored.subject_id is None:
        raise NotFound("gone", "What this request made has been deleted.")
    return present(await again(stored.subject_id))


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


async def said_in_form(items: Items) -> bytes:
    """Fields in the order of their names, a file as its name and its digest; the boundary says nothing."""
    said = []
    for name, value in sorted(items, key=lambda item: item[0]):
        if isinstance(value, UploadFile):
            said.append([name, value.filename, await _digest(value)])
        else:
            said.append([name, value])
    return canonical(said)


async def _digest(file: UploadFile) -> str:
    digest = hashlib.sha256()
    while block := await file.read(BLOCK_BYTES):
        digest.update(block)
    await file.seek(0)
    return digest.hexdigest()


async def said_in_text(data: dict[str, Any], text: str) -> bytes:
    """Of JSON with a long `text`."""
    digest = await asyncio.to_thread(lambda: hashlib.sha256(text.encode()).hexdigest())
    return canonical(data | {"text": digest})
