"""Every router. A new noun is a file here and a line below."""

from app.api.routers import (
    chat,
    chat_ws,
    document_events,
    documents,
    feedback,
    files,
    health,
    messages,
    openai,
    reindex,
    search,
    sessions,
    usage,
    webhooks,
)

ROUTERS = (
    health.router,
    sessions.router,
    messages.router,
    feedback.router,
    documents.router,
    files.router,
    document_events.router,
    reindex.router,
    search.router,
    chat.router,
    chat_ws.router,
    usage.router,
    webhooks.router,
    openai.router,
)
