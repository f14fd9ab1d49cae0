"""What the search has found, as sources of answers and as lines of a trace."""

from collections.abc import Sequence
from typing import Any

from app.rag.diversity import Place
from app.schemas.search import Source

TRACED = 20
"""Candidates of which a trace tells."""
Row = dict[str, Any]
"""A passage that the search found, with its scores and ranks; `fused` beside `score` once it was reranked."""


def place(row: Row) -> Place:
    return Place(row["score"], row["content"], row["document_id"], row["chunk_index"], row["page"])


def fused(row: Row) -> float:
    """The score of the search, whatever a reranker made of it."""
    return float(row["fused"] if "fused" in row else row["score"])


def sources(rows: Sequence[Row]) -> list[Source]:
    return [
        Source(
            n=n,
            document_id=row["document_id"],
            document_version=row["document_version"],
            chunk_id=row["id"],
            chunk_index=row["chunk_index"],
            title=row["title"],
            page=row["page"],
            char_start=row["char_start"],
            char_end=row["char_end"],
            text=row["content"],
            score=round(row["score"], 6),
            lang=row["lang"],
            url=_url(row),
        )
        for n, row in enumerate(rows, start=1)
    ]


def _url(row: Row) -> str:
    """Of the version that was found: it opens the same text when a newer one has taken its place."""
    page = f"#page={row['page']}" if row["page"] else ""
    return f"/api/v1/documents/{row['document_id']}/content?version={row['document_version']}{page}"


def explained(rows: Sequence[Row], used: Sequence[Row]) -> list[dict[str, Any]]:
    """The sources, then the best of the candidates that were left out."""
    shown = {row["id"] for row in used}
    others = [row for row in rows if row["id"] not in shown][: max(0, TRACED - len(used))]
    return [
        {
            "n": n,
            "used": row["id"] in shown,
            "chunk_id": str(row["id"]),
            "document_id": str(row["document_id"]),
            "document_version": row["document_version"],
            "page": row["page"],
            "score": round(row["score"], 6),
            "cosine": None if row["cosine"] is None else round(row["cosine"], 6),
            "vector_rank": row["vector_rank"],
            "lexical": round(row["lexical"], 6),
            "text_rank": row["text_rank"],
        }
        for n, row in enumerate([*used, *others], start=1)
    ]
