"""What writes the answer. One adapter so far: the extractive one, which needs no key and no network."""

from app.providers.llm.extractive import ExtractiveModel

__all__ = ["ExtractiveModel"]
