"""Texts and tokenizers that the tests of this folder share."""

import re

from hypothesis import strategies as st

TELUGU = "ఉద్యోగులకు సంవత్సరానికి ఇరవై రోజుల సెలవు ఉంటుంది. దరఖాస్తు మేనేజరుకు పంపాలి. అత్యవసర సెలవు వేరు."
HINDI = "कर्मचारियों को साल में बीस दिन की छुट्टी मिलती है। आवेदन प्रबंधक को भेजें। आपात छुट्टी अलग है।"
ENGLISH = "Staff get 20 days of leave a year. Dr. Rao signs, e.g. by mail. It costs Rs. 500 or $1,000.50 in all!"
NASTY = [
    TELUGU,
    HINDI,
    ENGLISH,
    "👨‍👩‍👧‍👦👍🏽🇮🇳🇮🇳🇮🇳",
    "a\u0301\u0302\u0303 Z\u0350\u0351\u0352 \u0301b",
    "שלום עולם. مرحبا بالعالم؟",
    "\u0600 1\u0600\u0301x",
    "한국어 조합 각각",
    "क्ष्म्य श्री",
    "12345678901234567890",
    "我们今天去公园玩。天气很好。",
    "1. First\n2. Second\n• third",
    "LEAVE POLICY\nAll staff have leave.",
    "What is leave?\nIt is time off:",
    "\r\n",
    "\n\n",
    "\u2028",
    "\t \u00a0",
    "| a | b |\n|---|---|",
    "## Heading\n",
]

texts = st.lists(
    st.one_of(st.sampled_from(NASTY), st.text(max_size=30), st.sampled_from([" ", "\n", ". ", " word "])),
    max_size=25,
).map("".join)


def words(text: str) -> list[tuple[int, int]]:
    """A token a word, and one a mark: like WordPiece, unchanged by a cut between words."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def pieces(text: str) -> list[tuple[int, int]]:
    """Words in pieces of three: a cut inside a word changes their number."""
    return [(i, min(i + 3, end)) for start, end in words(text) for i in range(start, end, 3)]


def characters(text: str) -> list[tuple[int, int]]:
    return [(i, i + 1) for i, char in enumerate(text) if not char.isspace()]


def doubled(text: str) -> list[tuple[int, int]]:
    """Two tokens a character, as byte-level tokenizers do."""
    return [span for span in characters(text) for _ in range(2)]
