"""Every router. A new noun is a file here and a line below."""

from app.api.routers import chat, chat_ws, documents, health, messages, search, sessions

ROUTERS = (
    health.router,
    sessions.router,
    messages.router,
    documents.router,
    search.router,
    chat.router,
    chat_ws.router,
)
