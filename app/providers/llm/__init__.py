"""What writes the answer: language models by name, and the extractive answer, which needs no key and no network.

An adapter, and what it needs, is imported only when it is chosen. Nothing connects before the first question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.core.errors import Invalid
from app.providers.llm.budgets import Budgets
from app.providers.llm.chain import ModelChain
from app.providers.llm.errors import ModelsUnavailable, ProviderInterrupted
from app.providers.llm.extractive import ExtractiveModel
from app.providers.ports import ChatModel

__all__ = ["ExtractiveModel", "ModelChain", "ModelSettings", "ModelsUnavailable", "ProviderInterrupted", "open_models"]
EXTRACTIVE = "extractive"
OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """`bedrock_model_id` and `openai_model` may be several, divided by commas, in the order they are asked."""

    provider: str = ""
    bedrock_model_id: str = ""
    bedrock_endpoint_url: str = ""
    region: str = ""
    openai_base_url: str = OPENAI_URL
    openai_api_key: str = ""
    openai_model: str = ""
    window: int = 8192


def open_models(settings: ModelSettings, budgets: Budgets | None = None) -> ModelChain | None:
    """The models in the order of LLM_PROVIDER; by default those that are configured, Bedrock first.

    None when answers are to be put together from the passages. Invalid(llm_not_configured)
    """
    budgets = budgets or Budgets()
    models: list[ChatModel] = []
    for name in _chosen(settings):
        models += PROVIDERS[name](settings, budgets)
    return ModelChain(models, budgets=budgets) if models else None


def _chosen(settings: ModelSettings) -> Sequence[str]:
    named = _list(settings.provider.lower())
    for name in named:
        if name not in (*PROVIDERS, EXTRACTIVE):
            raise _not_configured(f"LLM_PROVIDER names {name}; there are: {', '.join(PROVIDERS)}, {EXTRACTIVE}.")
    if EXTRACTIVE in named[:-1] or len(set(named)) < len(named):
        raise _not_configured(f"LLM_PROVIDER names each provider once, and {EXTRACTIVE} last: it always has an answer.")
    configured = {"bedrock": settings.bedrock_model_id, "openai": settings.openai_model}
    return [name for name in named if name != EXTRACTIVE] if named else [n for n in PROVIDERS if configured[n]]


def _bedrock(settings: ModelSettings, budgets: Budgets) -> list[ChatModel]:
    if not _list(settings.bedrock_model_id):
        raise _not_configured("LLM_PROVIDER names bedrock, and BEDROCK_MODEL_ID is empty.")
    if settings.bedrock_endpoint_url:
        _check_url("BEDROCK_ENDPOINT_URL", settings.bedrock_endpoint_url)
    from app.providers.llm.bedrock import BedrockModel

    return [
        BedrockModel(
            model,
            endpoint_url=settings.bedrock_endpoint_url,
            region=settings.region,
            window=settings.window,
            connect_seconds=budgets.connect,
        )
        for model in _list(settings.bedrock_model_id)
    ]


def _openai(settings: ModelSettings, budgets: Budgets) -> list[ChatModel]:
    if not _list(settings.openai_model):
        raise _not_configured("LLM_PROVIDER names openai, and OPENAI_MODEL is empty.")
    if settings.openai_base_url.rstrip("/") == OPENAI_URL and not settings.openai_api_key:
        raise _not_configured("OPENAI_API_KEY is empty; for a server that needs none set OPENAI_BASE_URL.")
    _check_url("OPENAI_BASE_URL", settings.openai_base_url)
    from app.providers.llm.openai import OpenAIModel

    return [
        OpenAIModel(
            model,
            base_url=settings.openai_base_url,
            api_key=settings.openai_api_key,
            window=settings.window,
            connect_seconds=budgets.connect,
        )
        for model in _list(settings.openai_model)
    ]


PROVIDERS: dict[str, Callable[[ModelSettings, Budgets], list[ChatModel]]] = {"bedrock": _bedrock, "openai": _openai}


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _not_configured(f"{name} must be an address that begins with http:// or https://.")


def _not_configured(detail: str) -> Invalid:
    return Invalid("llm_not_configured", detail)
