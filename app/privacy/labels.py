"""Words that say what a number is. What no check digit proves is masked only where one of them stands beside it."""

import re

OTHER = "other"
"""The number is something else: an order, an amount."""
NEAR = 48
"""Code points before a number in which its label is looked for."""
_BEHIND = 40
_WORDS = {
    "aadhaar": "aadhaar aadhar adhaar adhar uidai uid ఆధార్ आधार",
    "vid": "vid virtual వర్చువల్ वर्चुअल",
    "account": "account acct a/c acno accno ఖాతా అకౌంట్ खाता खाते अकाउंट एकाउंट",
    "phone": (
        "phone mobile mob cell tel telephone whatsapp call contact ph ఫోన్ మొబైల్ సెల్ కాల్ వాట్సాప్ फोन फ़ोन मोबाइल कॉल व्हाट्सएप"
    ),
    "ifsc": "ifsc bank branch neft rtgs imps బ్యాంక్ బ్యాంకు शाखा बैंक ఐఎఫ్ఎస్సి आईएफएससी",
    "iban": "iban",
    "upi": "upi vpa gpay phonepe paytm bhim యూపీఐ यूपीआई",
    "passport": "passport పాస్పోర్ట్ पासपोर्ट",
    "licence": "licence license dl లైసెన్స్ लाइसेंस लाइसेन्स",
    "voter": "voter epic election elector ఓటర్ ఓటరు मतदाता वोटर",
    "vehicle": (
        "vehicle car bike scooter truck lorry auto van registration regn registered rc plate "
        "వాహన కారు బండి లారీ वाहन गाड़ी कार ट्रक"
    ),
    "tan": "tan tds",
    "vat": "vat ust ustid ustidnr uid tva iva btw moms",
    "ip": "ip ipv4 address host server login",
    "secret": (
        "key apikey accesskey privatekey secret token accesstoken authtoken password passwd pwd bearer credential "
        "credentials authorization auth పాస్వర్డ్ पासवर्ड"
    ),
    OTHER: (
        "order invoice bill ticket reference ref txn transaction utr tracking awb consignment message msg timestamp "
        "product sku item part model batch serial version release section clause chapter amount balance total quantity "
        "qty isbn ఆర్డర్ బిల్లు ऑर्डर बिल రిఫరెన్స్ रेफरेंस"
    ),
}
_GOODS = frozenset({"product", "sku", "item", "part", "model", "batch", "serial", "order", "article"})
_SMALL_WORDS = """
is was are be my the our his her your their a this that bank savings current no number నా మా నీ మీ అనేది ఇది మొత్తం है
यह मेरा मेरी मेरे हमारा का की
"""
_FILLERS = frozenset(_SMALL_WORDS.split())
_LONG = 5
"""Letters from which on a label may go on: accountNumber, registrations, ఖాతాలో."""


def _kinds() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for kind, words in _WORDS.items():
        for word in words.split():
            found[word] = (*found.get(word, ()), kind)
    return found


_KINDS = _kinds()
_STEMS = tuple(word for word in _KINDS if not word.isascii() or len(word) >= _LONG)
_TOKEN = re.compile(r"[A-Za-z]+(?:/[A-Za-z])?[0-9]?|[\u0900-\u0dff]+")
_STOP = re.compile(r"[\n,;.|]")


def kinds(word: str) -> tuple[str, ...]:
    word = word.lower()
    found = _KINDS.get(word)
    if found is None and word.startswith(_STEMS):
        found = _KINDS[max((stem for stem in _STEMS if word.startswith(stem)), key=len)]
    return found or ()


def labelled(text: str, start: int, end: int, kind: str) -> bool:
    """Whether the number text[start:end] is said to be one of these, before it or right behind."""
    return _before(text, start, kind) or _behind(text, end, kind)


def goods_before(text: str, start: int) -> bool:
    """Whether a word for wares stands before it: a product code looks like a branch of a bank."""
    return any(word.lower() in _GOODS for word in _words_before(text, start)[-3:])


def last_word(text: str, start: int) -> str:
    """In small letters; empty when none stands before."""
    words = _words_before(text, start)
    return words[-1].lower() if words else ""


def _before(text: str, start: int, kind: str) -> bool:
    for word in reversed(_words_before(text, start)):
        found = kinds(word)
        if kind in found:
            return True
        if OTHER in found:
            return False
    return False


def _words_before(text: str, start: int) -> list[str]:
    begin = max(0, start - NEAR)
    words = _TOKEN.findall(text[begin:start])
    return words[1:] if begin and text[begin - 1].isalnum() else words


def _behind(text: str, end: int, kind: str) -> bool:
    """ "50100123456789 is my account number"."""
    near = _STOP.split(text[end : end + _BEHIND], maxsplit=1)[0]
    for word in _TOKEN.findall(near):
        if kind in kinds(word):
            return True
        if word.lower() not in _FILLERS:
            return False
    return False
