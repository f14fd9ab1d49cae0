"""E-mail (RFC 5322, MIME): who, when and about what, the text, forwarded messages; other attachments by name.

The plain text of a message is preferred to its HTML. Headers are cut and decoded here: the header parser behind
`email.policy.default` raises errors, and takes minutes, on headers that are not well formed.
"""

from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32

from app.readers.clean import cleaned_document
from app.readers.code_pages import READ_AS_ANSI, decode_named
from app.readers.document import Document, Page
from app.readers.encoding import decode
from app.readers.errors import UnreadableDocument
from app.readers.html import decode_html, text_and_title
from app.readers.limits import DEFAULT_LIMITS, Limits

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_TYPICAL = (*_SHOWN, "Received", "Return-Path", "Message-ID", "MIME-Version")
_LONGEST_HEADER = 4000
_DEEPEST_FORWARD = 5
_ENCRYPTED = frozenset({"multipart/encrypted", "application/pgp-encrypted"})
_SMIME = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_ZEROS_WITHIN = 64
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
"""What the standard library lets out of odd parameters of a header."""


class _Headers(Compat32):
    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_LONGEST_HEADER]

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002
        return _decoded_header(value)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:  # noqa: ARG001 (the text is no longer than the file)
    if not data:
        raise UnreadableDocument("empty_file")
    try:
        message = message_from_bytes(_narrow(data), policy=_Headers())
        if not any(name in message for name in _TYPICAL):
            raise UnreadableDocument("bad_file")
        blocks = [block for block in _message(message, 0) if block]
    except (RecursionError, *_MALFORMED) as exc:  # parts nested some hundred levels deep
        raise UnreadableDocument("bad_file") from exc
    return cleaned_document("eml", [Page(None, "\n\n".join(blocks))], title=message["Subject"])


def _narrow(data: bytes) -> bytes:
    """Some programs save messages as UTF-16; the parser wants ASCII and what it says itself."""
    if b"\0" in data[:_ZEROS_WITHIN] or data.startswith(b"\xef\xbb\xbf"):
        return decode(data).encode(errors="replace")
    return data


def _decoded_header(raw: str) -> str:
    """Encoded words (RFC 2047) and bytes that are not ASCII as text, on one line."""
    line = " ".join(decode(raw.encode("utf-8", "surrogateescape")).split())
    try:
        words = decode_header(line)
    except HeaderParseError:  # its base64 is not
        return line
    return "".join(_decoded(word, charset) if isinstance(word, bytes) else word for word, charset in words).strip()


def _decoded(data: bytes, charset: str | None) -> str:
    """Programs that forward label UTF-8 as Latin-1; the bytes say which it is."""
    named = None if charset is None or charset.lower() in READ_AS_ANSI else decode_named(data, charset)
    return decode(data) if named is None else named


def _message(message: Message, depth: int) -> Iterator[str]:
    """Blocks of text: the header, then what the message holds."""
    yield "\n".join(f"{name}: {message[name]}" for name in _SHOWN if message[name])
    yield from _part(message, depth)


def _part(part: Message, depth: int) -> Iterator[str]:
    kind = part.get_content_type()
    if kind in _ENCRYPTED or (kind in _SMIME and part.get_param("smime-type") == "enveloped-data"):
        raise UnreadableDocument("encrypted")
    if not part.is_multipart():
        yield _leaf(part, kind)
    elif kind == "message/rfc822":
        if depth < _DEEPEST_FORWARD:
            for forwarded in _parts_of(part):
                yield from _message(forwarded, depth + 1)
    elif kind == "multipart/alternative":
        yield from _alternatives(_parts_of(part), depth)
    elif part.get_content_maintype() == "multipart":
        for child in _parts_of(part):
            yield from _part(child, depth)


def _parts_of(part: Message) -> list[Message]:
    return [child for child in part.get_payload() if isinstance(child, Message)]


def _alternatives(parts: list[Message], depth: int) -> Iterator[str]:
    """One of them, and the names of files that another one brings."""
    ranks = {"text/plain": 0, "text/html": 1}
    found = False
    for part in sorted(parts, key=lambda part: ranks.get(part.get_content_type(), 2 if part.is_multipart() else 3)):
        if not found:
            blocks = list(_part(part, depth))
            found = any(block.strip() for block in blocks)
            yield from blocks
        elif part.is_multipart():
            yield from (_leaf(leaf, leaf.get_content_type()) for leaf in part.walk() if _is_file(leaf))


def _leaf(part: Message, kind: str) -> str:
    name = _filename(part)
    label = f"Attachment: {name}" if name else ""
    if kind not in ("text/plain", "text/html"):
        return label if _is_file(part) else ""
    return f"{label}\n\n{_text(part, kind)}".strip("\n")


def _filename(part: Message) -> str:
    try:
        return _decoded_header(part.get_filename() or "")
    except _MALFORMED:
        return ""


def _is_file(part: Message) -> bool:
    """Pictures that the text itself shows are not."""
    return bool(_filename(part)) and not (part.get_content_maintype() == "image" and part["Content-ID"])


def _text(part: Message, kind: str) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        charset = part.get_content_charset()
    except _MALFORMED:
        charset = None
    if kind == "text/html":
        return text_and_title(_decoded(data, charset) if charset else decode_html(data))[0]
    return _decoded(data, charset)
