from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """`code` is ISO 639-1, `text_search` the PostgreSQL text search configuration for words of Latin script: documents
    in Indic languages are full of them. Indic words have been stemmed before (app/rag/search_words.py)."""

    code: str
    name: str
    text_search: str
    welcome: str
    no_answer: str
    """Said when the documents do not hold an answer."""
    declined: str
    """Said when a language model refuses and says nothing."""
    plain_no_model: str
    """Said when a question is asked without the documents and no language model is set up."""
    stop_words: frozenset[str]
    """Lower case; words that say nothing about what a question is about."""
