"""E-mail: which part is read, how headers and charsets are told, and messages that are not well formed."""

import base64
import quopri
from email.message import EmailMessage

import pytest

from app.readers import eml
from app.readers.errors import UnreadableDocument

TELUGU = "రేపు కార్యాలయానికి సెలవు."


def message(subject: str = "Leave", text: str | None = "See you on Monday.\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Asha <asha@example.com>", "office@example.com"
    made["Date"], made["Subject"] = "Mon, 02 Mar 2026 09:00:00 +0530", subject
    if text is not None:
        made.set_content(text)
    return made


def text(data: EmailMessage | bytes) -> str:
    return eml.read(data if isinstance(data, bytes) else data.as_bytes()).text


def body(data: EmailMessage | bytes) -> str:
    """What follows the header."""
    return text(data).partition("\n\n")[2].strip()


def raw(*lines: str, encoding: str = "utf-8") -> bytes:
    return "\r\n".join(("Subject: x", *lines)).encode(encoding)


def code_of(data: bytes) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        eml.read(data)
    return caught.value.code


def test_header_then_text_with_the_subject_as_title() -> None:
    whole = message("సెలవు రేపు – 😀", TELUGU)
    whole["Cc"] = "ravi@example.com"
    made = eml.read(whole.as_bytes())
    assert made.text.rstrip() == (
        "From: Asha <asha@example.com>\nTo: office@example.com\nCc: ravi@example.com\n"
        f"Date: Mon, 02 Mar 2026 09:00:00 +0530\nSubject: సెలవు రేపు – 😀\n\n{TELUGU}"
    )
    assert (made.kind, made.title) == ("eml", "సెలవు రేపు – 😀")
    assert [page.number for page in made.pages] == [None]


def test_text_in_utf16_inside_base64() -> None:
    head = b"Subject: x\nContent-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n"
    assert body(head + base64.encodebytes(TELUGU.encode("utf-16"))) == TELUGU


@pytest.mark.parametrize("transfer", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "shift_jis"])
def test_each_transfer_encoding_and_charset(transfer: str, charset: str) -> None:
    words = {"utf-8": TELUGU, "cp1252": "L’été à 3,50 €", "shift_jis": "日本の首都"}[charset]
    data = words.encode(charset)
    packed = {"base64": base64.encodebytes(data), "quoted-printable": quopri.encodestring(data), "8bit": data}
    head = f"Subject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {transfer}\n\n"
    assert body(head.encode() + packed[transfer]) == words


def test_text_is_preferred_to_html_unless_it_is_blank() -> None:
    both = message()
    both.add_alternative("<p>See <b>you</b></p>", subtype="html")
    assert body(both) == "See you on Monday."
    blank = message(text=" \n")
    blank.add_alternative("<p>See <b>you</b></p><table><tr><td>a<td>b</table>", subtype="html")
    assert body(blank) == "See you\n\na | b"


def test_html_alone_is_laid_out_and_its_charset_is_that_of_the_mail() -> None:
    whole = message(text=None)
    whole.set_content("<style>p{}</style><p>été<br>next</p><script>x()</script>", subtype="html", charset="cp1252")
    assert body(whole) == "été\nnext"
    said = b'Subject: x\nContent-Type: text/html\n\n<meta charset="windows-1251"><p>' + "Привет".encode("cp1251")
    assert body(said) == "Привет"


def test_readable_attachments_are_read_and_others_named() -> None:
    whole = message()
    whole.add_attachment("Line of notes", filename="notes.txt")
    whole.add_attachment("<h1>Page</h1>", subtype="html", filename="page.html")
    whole.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="సెలవు ఫారం.pdf")
    whole.add_attachment("BEGIN:VCALENDAR", subtype="calendar", filename="a.ics")
    assert body(whole).replace("\n\n\n", "\n\n").split("\n\n") == [
        *("See you on Monday.", "Attachment: notes.txt", "Line of notes", "Attachment: page.html", "# Page"),
        *("Attachment: సెలవు ఫారం.pdf", "Attachment: a.ics"),
    ]


def test_pictures_inside_the_text_are_not_attachments() -> None:
    whole = message(text=None)
    whole.set_content("<p>Look <img src='cid:logo'></p>", subtype="html")
    whole.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png")
    whole.add_attachment(b"\xff\xd8", maintype="image", subtype="jpeg", filename="photo.jpg")
    assert body(whole) == "Look\n\nAttachment: photo.jpg"


def test_files_that_only_the_html_alternative_brings_are_named() -> None:
    mixed = (
        *("MIME-Version: 1.0", 'Content-Type: multipart/alternative; boundary="a"', "", "--a", "", "plain", "--a"),
        *(
            'Content-Type: multipart/mixed; boundary="b"',
            "",
            "--b",
            "Content-Type: text/html",
            "",
            "<p>rich</p>",
            "--b",
        ),
        *('Content-Type: application/pdf; name="=?utf-8?b?4LC44LGG4LCy4LC14LGBLnBkZg==?="', "", "x", "--b--", "--a--"),
    )
    assert body(raw(*mixed)) == "plain\n\nAttachment: సెలవు.pdf"


def test_forwarded_messages_are_read_down_to_a_depth() -> None:
    inner = message("Level 0", "Innermost")
    for level in range(1, 8):
        outer = message(f"Level {level}", f"Text {level}")
        outer.add_attachment(inner)
        inner = outer
    found = text(inner)
    assert [level for level in range(8) if f"Subject: Level {level}\n" in found] == [2, 3, 4, 5, 6, 7]


def test_digests_and_reports_show_the_messages_inside() -> None:
    digest = (
        *('Content-Type: multipart/digest; boundary="d"', "", "--d", "", "Subject: first", "", "one"),
        *("--d", "", "Subject: second", "", "two", "--d--"),
    )
    assert body(raw(*digest)).replace("\n", "") == "Subject: firstoneSubject: secondtwo"
    report = (
        *('Content-Type: multipart/report; boundary="r"', "", "--r", "", "Not delivered.", "--r"),
        *("Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx", "", "Action: failed", "", "--r--"),
    )
    assert body(raw(*report)) == "Not delivered."


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Subject: =?utf-8?b?4LC44LGG4LCy4LC14LGB?=", "సెలవు"),
        ("Subject: =?iso-8859-1?q?caf=E9_au?= =?utf-8?q?_lait?=", "café au lait"),
        ("Subject: one\r\n  two\r\n\tthree", "one two three"),
        ("Subject: raw తెలుగు", "raw తెలుగు"),
        ("Subject: =?no-such?q?word?=", "word"),
        ("Subject: =?utf-8?b?x?=", "=?utf-8?b?x?="),
        ("Subject: =?hex?q?41?=", "41"),
        ("Subject: =?utf-8?q?=E0=B0?=", "\ufffd"),
        ("Subject: " + "=?" * 5000, "=?" * 2000),
    ],
)
def test_subjects_however_they_are_written(header: str, shown: str) -> None:
    made = eml.read(header.encode() + b"\r\n\r\ntext")
    assert f"Subject: {shown}\n" in made.text


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (b"Content-Type: text/plain; charset=no-such\n\ncaf\xc3\xa9", "café"),
        (b"Content-Type: text/plain; charset=hex\n\ncaf\xc3\xa9", "café"),
        (b'Content-Type: text/plain; charset="\n\ncaf\xc3\xa9', "café"),
        (b"Content-Type: text/plain; charset=iso-8859-1\n\ncaf\xc3\xa9", "café"),
        (b"Content-Type: text/plain; charset=iso-8859-1\n\ncaf\xe9", "café"),
        (b"Content-Type: text/plain; charset=us-ascii\n\ncaf\xe9", "café"),
        (b"Content-Type: text/plain; charset=utf-8\n\ncaf\xe9 x", "caf\ufffd x"),
        (b"Content-Type: nonsense\n\ntext", "text"),
        (b"Content-Type: ;;;\n\ntext", "text"),
        (b"Content-Type: multipart/mixed\n\nno boundary", ""),
        (b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nnever closed', "never closed"),
        (b'Content-Type: multipart/mixed; boundary="b"\n\nno part at all', ""),
        (b"Content-Transfer-Encoding: base64\n\n!!! not base64 !!!", None),
        (b"Content-Transfer-Encoding: base64\n\ndGV4dA", "text"),
        (b"Content-Transfer-Encoding: quoted-printable\n\na=3Db =ZZ =", "a=b =ZZ"),
        (b"Content-Transfer-Encoding: x-uuencode\n\nbegin 600 f\n$=&5X=```\n", "text"),
        (b"Content-Transfer-Encoding: nonsense\n\ntext", "text"),
        (b"Content-Type: message/rfc822\n\nno header here", "no header here"),
        (b"Content-Disposition: attachment; filename*=utf-16'x'%ff; filename*0*=\n\ntext", "text"),
        (b"Content-Type: text/plain; charset*=utf-8'x'%ff; charset*0*=x\n\ntext", "text"),
    ],
)
def test_what_is_not_well_formed_is_read_as_far_as_it_goes(part: bytes, shown: str | None) -> None:
    found = body(b"Subject: x\nMIME-Version: 1.0\n" + part)
    assert shown is None or found == shown


@pytest.mark.parametrize("name", ["From", "To", "Content-Type", "Content-Disposition", "Message-ID", "Date"])
@pytest.mark.parametrize(
    "value", ["(" * 100_000, "<" * 9000, '"' * 100_001, ";" * 100_000, "a," * 50_000, "[", "=?", ""]
)
def test_odd_and_endless_headers_do_no_harm(name: str, value: str) -> None:
    assert text(raw(f"{name}: {value}", "", "text")).startswith(("From", "To", "Date", "Subject"))


@pytest.mark.parametrize("depth", [300, 20_000])
@pytest.mark.parametrize("kind", ["mixed", "alternative"])
def test_deep_nesting_ends(depth: int, kind: str) -> None:
    parts = [f'Content-Type: multipart/{kind}; boundary="b{level}"\n\n--b{level}\n' for level in range(depth)]
    data = ("Subject: x\n" + "".join(parts) + "\ndeep\n").encode()
    if depth == 300:
        assert body(data) == "deep"
    else:
        assert code_of(data) == "bad_file"


def test_utf16_and_a_byte_order_mark() -> None:
    whole = b"Subject: x\r\n\r\ntext of it"
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        assert text(whole.decode().encode(encoding)) == "Subject: x\n\ntext of it"
    assert text(b"From asha Mon Mar  2 09:00:00 2026\n" + whole) == "Subject: x\n\ntext of it"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\n\n\n", "bad_file"),
        (b"no header at all\nand more", "bad_file"),
        (b"X-Other: 1\n\ntext", "bad_file"),
        (b"\xff\xfe\x00", "bad_file"),
        (b"Subject: x\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--", "encrypted"),
        (b"Subject: x\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx", "encrypted"),
        (b"Received: x\n\n \n", "no_text"),
    ],
)
def test_no_message_protected_or_without_text(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_a_large_attachment_is_not_text() -> None:
    packed = base64.encodebytes(bytes(8_000_000)).decode()
    part = f"Content-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\n{packed}"
    assert body(b"Subject: x\nMIME-Version: 1.0\n" + part.encode()) == "Attachment: a.zip"
