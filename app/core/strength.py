"""Whether a secret of the settings is one that nobody guesses."""

MINIMUM_KEY_LENGTH = 24
MINIMUM_SECRET_BYTES = 32
"""Of what signs tokens: as long as the digest (RFC 7518, 3.2)."""
KNOWN_DEFAULT_KEYS = frozenset(
    {
        "change-me", "changeme", "changethis", "change-this", "secret", "test", "dev", "default", "password",
        "api-key", "apikey", "your-api-key", "your_api_key", "your-api-key-here", "your-secret-api-key",
        "your-secret-api-key-here", "supersecret", "mysecretkey", "secret-key", "dev-api-key", "test-api-key",
    }
)  # fmt: skip
PLACEHOLDER_PREFIXES = ("your-", "your_", "change", "example", "replace", "<")


def is_strong_key(key: str, minimum: int = MINIMUM_KEY_LENGTH) -> bool:
    lowered = key.lower()
    if len(key.encode()) < minimum or lowered in KNOWN_DEFAULT_KEYS or len(set(key)) < 8:
        return False
    return not lowered.startswith(PLACEHOLDER_PREFIXES)
