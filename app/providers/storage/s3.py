"""Files in an S3 bucket, of AWS or of a server that speaks its protocol. Credentials as the AWS CLI finds them.

Needed on the bucket: s3:ListBucket, s3:ListBucketVersions; on its objects: s3:GetObject, s3:PutObject,
s3:DeleteObject, s3:DeleteObjectVersion, s3:AbortMultipartUpload.
"""

import asyncio
import base64
import contextlib
import hashlib
import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aioboto3  # type: ignore[import-untyped]
import aiohttp
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # type: ignore[import-untyped]

from app.core.background import run_together
from app.core.errors import Invalid, NotFound, RagchatError, Unavailable
from app.core.logging import get_logger
from app.providers.ports import ListedFile, StoredFile
from app.providers.storage.incoming import IncomingFile, check_room, in_thread, prepare

PART_BYTES = 5 << 20
"""The least that S3 takes for a part: keeps memory, and the pauses for signing, small."""
PARTS_AT_ONCE = 2
BLOCK_BYTES = 4 << 20
CONNECT_SECONDS = 5
READ_SECONDS = 30
REQUEST_SECONDS = 120
"""Of one request with its retries, the bytes included."""
CHECK_SECONDS = 3
CLEAN_UP_SECONDS = 5
ATTEMPTS = 3
CONNECTIONS = 50
NOT_IMPLEMENTED = {405, 501}
BROKEN = (BotoCoreError, ClientError, aiohttp.ClientError, OSError)
"""A body that ends early comes as aiohttp's own error."""
log = get_logger(__name__)


class S3Storage:
    """`folder` holds files on their way up or down, and needs room for them only."""

    def __init__(
        self, bucket: str, folder: Path, *, prefix: str = "", endpoint_url: str = "", region: str = ""
    ) -> None:
        self._bucket = bucket
        self._folder = folder
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._region = region
        self._exit = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._opened: Any = None

    async def open(self) -> None:
        await in_thread(prepare, self._folder)
        try:
            await self.check()
        except RagchatError as exc:
            log.warning("storage.not_ready", code=exc.code)

    async def close(self) -> None:
        self._opened = None
        await self._exit.aclose()

    @contextlib.asynccontextmanager
    async def receive(self) -> AsyncIterator["S3Incoming"]:
        await in_thread(check_room, self._folder)
        incoming = await in_thread(S3Incoming, self, self._folder)
        try:
            yield incoming
        finally:
            await asyncio.to_thread(incoming.discard)

    @contextlib.asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        copy = await in_thread(IncomingFile, self._folder)
        try:
            async for block in self.stream(key):
                await copy.write(block)
            yield await in_thread(copy.flush)
        finally:
            await asyncio.to_thread(copy.discard)

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """One request for each block: a client that reads slowly holds no connection to S3."""
        object_ = self._object(key)
        while end is None or start < end:
            stop = start + BLOCK_BYTES if end is None else min(start + BLOCK_BYTES, end)
            block, size = await self._read(object_, start, stop)
            if not block:
                return
            end = size if end is None else min(end, size)
            start += len(block)
            yield block

    async def _read(self, object_: dict[str, str], start: int, end: int) -> tuple[bytes, int]:
        """The bytes, and the size of the whole; nothing when the object ends before them."""
        s3 = await self._client()
        try:
            with _s3_errors("read"):
                async with asyncio.timeout(REQUEST_SECONDS):
                    answer = await s3.get_object(**object_, Range=f"bytes={start}-{end - 1}")
                    async with answer["Body"]:
                        data: bytes = await answer["Body"].read()
        except _EndsBefore:
            return b"", 0
        return data, int(answer["ContentRange"].rpartition("/")[2])

    async def delete(self, key: str) -> None:
        s3, object_ = await self._client(), self._object(key)
        with _s3_errors("delete"):
            async for version in _versions(s3, object_):
                async with asyncio.timeout(REQUEST_SECONDS):
                    await s3.delete_object(**object_, **version)

    async def check(self) -> None:
        await in_thread(check_room, self._folder)
        with _s3_errors("check"):
            async with asyncio.timeout(CHECK_SECONDS):
                s3 = await self._client()
                await s3.head_bucket(Bucket=self._bucket)

    async def list_files(self, prefix: str = "") -> AsyncIterator[ListedFile]:
        s3 = await self._client()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
        with _s3_errors("list"):
            async for page in pages:
                for item in page.get("Contents", ()):
                    yield ListedFile(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])

    async def link(self, key: str, *, filename: str, media_type: str, seconds: int) -> str | None:
        s3 = await self._client()
        answer = {
            "ResponseContentType": media_type,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
            "ResponseCacheControl": "private, no-cache",
        }
        with _s3_errors("link"):
            url: str = await s3.generate_presigned_url(
                "get_object", Params=self._object(key) | answer, ExpiresIn=seconds
            )
        return url

    async def put(self, key: str, file: int, size: int) -> None:
        """The first `size` bytes of an open file, `file` being its descriptor."""
        s3, object_ = await self._client(), self._object(key)
        try:
            with _s3_errors("write"):
                if size <= PART_BYTES:
                    async with asyncio.timeout(REQUEST_SECONDS):
                        await s3.put_object(**object_, **await in_thread(_part, file, 0))
                else:
                    await _put_in_parts(s3, object_, file, size)
        except BaseException:
            with contextlib.suppress(RagchatError, TimeoutError):
                async with asyncio.timeout(CLEAN_UP_SECONDS):
                    await self.delete(key)  # it may be there: perhaps only the answer was lost
            raise

    def _object(self, key: str) -> dict[str, str]:
        """Keys are ours; one with empty parts or dots is a mistake of ours, caught here all the same."""
        if {"", ".", ".."} & {*key.split("/")}:
            raise Invalid("invalid_key", "The storage key is not valid.")
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _client(self) -> Any:
        """Opened when it is first needed: credentials that cannot be found now may be there in a minute."""
        async with self._opening:
            if self._opened is None:
                with _s3_errors("open", (*BROKEN, ValueError)):  # the endpoint may be no URL
                    session = aioboto3.Session(region_name=self._region or None)
                    if await session.get_credentials() is None:
                        raise NoCredentialsError
                    client = session.client("s3", endpoint_url=self._endpoint_url or None, config=self._config())
                    self._opened = await self._exit.enter_async_context(client)
            return self._opened

    def _config(self) -> AioConfig:
        return AioConfig(
            signature_version="s3v4",
            # By default links would have the global address, which newer regions do not answer to.
            s3={"addressing_style": "path" if self._endpoint_url else "virtual"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            # Content-MD5 is sent instead, which every server knows.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )


class S3Incoming(IncomingFile):
    def __init__(self, storage: S3Storage, folder: Path) -> None:
        super().__init__(folder)
        self._storage = storage

    async def commit(self, key: str) -> StoredFile:
        await in_thread(self.flush)
        await self._storage.put(key, self._file.fileno(), self.size)
        await in_thread(self.discard)
        return StoredFile(key=key, size=self.size, sha256=self.digest())


async def _put_in_parts(s3: Any, object_: dict[str, str], file: int, size: int) -> None:
    upload = object_ | {"UploadId": (await s3.create_multipart_upload(**object_))["UploadId"]}
    count = -(-size // PART_BYTES)
    numbers = iter(range(1, count + 1))
    tags: dict[int, str] = {}

    async def send() -> None:
        for number in numbers:
            part = await in_thread(_part, file, (number - 1) * PART_BYTES)
            async with asyncio.timeout(REQUEST_SECONDS):
                tags[number] = (await s3.upload_part(**upload, PartNumber=number, **part))["ETag"]

    try:
        await run_together(*(send() for _ in range(PARTS_AT_ONCE)))
        parts = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
        async with asyncio.timeout(REQUEST_SECONDS):
            await s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(CLEAN_UP_SECONDS):
                await s3.abort_multipart_upload(**upload)
        raise


def _part(file: int, start: int) -> dict[str, Any]:
    data = os.pread(file, PART_BYTES, start)
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Body": io.BytesIO(data), "ContentMD5": base64.b64encode(digest).decode()}


async def _versions(s3: Any, object_: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    """Versions and delete markers of this very key, as arguments for `delete_object`."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=object_["Bucket"], Prefix=object_["Key"])
    try:
        async for page in pages:
            for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if item["Key"] == object_["Key"]:
                    yield {"VersionId": item["VersionId"]}
    except ClientError as exc:
        if exc.response["ResponseMetadata"]["HTTPStatusCode"] not in NOT_IMPLEMENTED:
            raise
        yield {}  # a server that knows no versions


class _EndsBefore(RagchatError):
    """Status 416."""


@contextlib.contextmanager
def _s3_errors(operation: str, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
    """Neither the bucket nor the key is told to clients or to the log."""
    try:
        yield
    except broken as exc:
        reason = exc.response["Error"].get("Code", "") if isinstance(exc, ClientError) else type(exc).__name__
        if reason == "NoSuchKey":
            raise NotFound("file_missing", "The original file is not in the storage.") from exc
        if reason == "InvalidRange":
            raise _EndsBefore from exc
        log.warning("storage.failed", operation=operation, reason=reason)
        raise Unavailable("storage_unavailable", "The file storage cannot be reached or written.") from exc
