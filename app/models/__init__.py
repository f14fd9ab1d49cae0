"""All tables, so that metadata is complete wherever one is imported."""

from app.models.api_keys import ApiKey
from app.models.audit import AuditEntry
from app.models.base import Base
from app.models.budgets import Budget, BudgetReservation
from app.models.chunks import Chunk, ChunkEmbedding
from app.models.completions import CompletionHead
from app.models.documents import Document, DocumentVersion
from app.models.erasures import Erasure
from app.models.feedback import Feedback
from app.models.idempotency import IdempotencyKey
from app.models.jobs import Job
from app.models.masking_maps import SealedMap
from app.models.messages import Message, MessageSource
from app.models.prices import ModelPrice
from app.models.refresh_tokens import RefreshToken
from app.models.sessions import ChatSession
from app.models.spaces import EmbeddingSpace
from app.models.statistics import CorpusStatistics, TermStatistics
from app.models.tenants import Tenant
from app.models.turns import Turn, TurnEvent
from app.models.usage import UsageRecord
from app.models.users import User
from app.models.webhooks import Webhook

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "Budget",
    "BudgetReservation",
    "ChatSession",
    "Chunk",
    "ChunkEmbedding",
    "CompletionHead",
    "CorpusStatistics",
    "Document",
    "DocumentVersion",
    "EmbeddingSpace",
    "Erasure",
    "Feedback",
    "IdempotencyKey",
    "Job",
    "Message",
    "MessageSource",
    "ModelPrice",
    "RefreshToken",
    "SealedMap",
    "Tenant",
    "TermStatistics",
    "Turn",
    "TurnEvent",
    "UsageRecord",
    "User",
    "Webhook",
]
