"""All tables, so that metadata is complete wherever one is imported."""

from app.models.api_keys import ApiKey
from app.models.base import Base
from app.models.chunks import Chunk, ChunkEmbedding
from app.models.completions import CompletionHead
from app.models.documents import Document, DocumentVersion
from app.models.feedback import Feedback
from app.models.jobs import Job
from app.models.messages import Message, MessageSource
from app.models.sessions import ChatSession
from app.models.spaces import EmbeddingSpace
from app.models.statistics import CorpusStatistics, TermStatistics
from app.models.tenants import Tenant
from app.models.turns import Turn, TurnEvent
from app.models.webhooks import Webhook

__all__ = [
    "ApiKey",
    "Base",
    "ChatSession",
    "Chunk",
    "ChunkEmbedding",
    "CompletionHead",
    "CorpusStatistics",
    "Document",
    "DocumentVersion",
    "EmbeddingSpace",
    "Feedback",
    "Job",
    "Message",
    "MessageSource",
    "Tenant",
    "TermStatistics",
    "Turn",
    "TurnEvent",
    "Webhook",
]
