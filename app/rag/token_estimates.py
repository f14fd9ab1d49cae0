"""How many tokens a text has, where only the provider could count them."""

CHARACTERS_A_TOKEN = 4
"""Of Latin text; tokenizers spend about a token on a character of any other script."""


def estimate_tokens(text: str) -> int:
    latin = len(text.encode("latin-1", "ignore"))
    return -(-latin // CHARACTERS_A_TOKEN) + len(text) - latin
