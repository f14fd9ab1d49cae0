"""A folder of documents, through the same upload and the same queue as any other."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError, Unavailable
from app.evaluation.errors import BadSet
from app.readers.suffixes import ALLOWED_SUFFIXES
from app.runtime import Runtime
from app.schemas.documents import DocumentFields
from app.services.documents import Upload

BLOCK_BYTES = 1 << 18
POLL_SECONDS = 0.2


def find_files(folder: Path) -> list[Path]:
    """Those with a suffix that we read, hidden ones left out."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ALLOWED_SUFFIXES and path.is_file()]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not found:
        raise BadSet(f"there are no documents in {folder}")
    return found


def files_hash(files: Sequence[Path], *more: str) -> str:
    digest = hashlib.sha256("\n".join(more).encode())
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


async def load_files(
    runtime: Runtime, caller: Caller, files: Sequence[Path], progress: Callable[[int, int], None]
) -> list[str]:
    """Until a worker, which must be running, has ended with each; what it could not take, one line a file."""
    waiting: dict[UUID, Path] = {}
    refused = []
    for path in files:
        upload = Upload(DocumentFields(external_id=path.name), path.name, _blocks(path), {})
        try:
            document, _ = await runtime.documents.create(caller, upload)
            waiting[document.id] = path
        except Unavailable:
            raise
        except RagchatError as exc:
            refused.append(f"{path.name}: {exc.code}")
    while waiting:
        for id_ in [*waiting]:
            document = await runtime.documents.get(caller, id_)
            if document.status in ("ready", "failed"):
                path = waiting.pop(id_)
                if document.error is not None:
                    refused.append(f"{path.name}: {document.error.code}")
        progress(len(files) - len(waiting), len(files))
        await asyncio.sleep(POLL_SECONDS)
    return refused


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block
