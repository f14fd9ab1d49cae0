"""Every setting of the service, read in one place from the environment or `.env` and handed down as an argument.

`.env.example` and the table in README.md are made from this file; a test compares them.
"""

from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.errors import RagchatError

MINIMUM_KEY_LENGTH = 24
KNOWN_DEFAULT_KEYS = frozenset(
    {
        "change-me", "changeme", "changethis", "change-this", "secret", "test", "dev", "default", "password",
        "api-key", "apikey", "your-api-key", "your_api_key", "your-api-key-here", "your-secret-api-key",
        "your-secret-api-key-here", "supersecret", "mysecretkey", "secret-key", "dev-api-key", "test-api-key",
    }
)  # fmt: skip
PLACEHOLDER_PREFIXES = ("your-", "your_", "change", "example", "replace", "<")


class UnsafeSettings(RagchatError):
    """The service must not start like this; `detail` is the one line to show."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", hide_input_in_errors=True, frozen=True
    )

    app_env: Literal["development", "test", "production"] = Field(
        "development",
        description="Outside `development` the service refuses to start without a strong API_KEY.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    data_dir: Path = Field(
        Path(".data"), description="Uploaded files, the embedded database and the development key live here."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql://...` or `postgresql+asyncpg://...`. Empty starts the embedded PostgreSQL.",
    )
    migration_database_url: SecretStr = Field(
        SecretStr(""),
        description="The tables' owner, for migrations and indexes, where DATABASE_URL logs in as a plain member of "
        "the role `ragchat_app`. Empty: DATABASE_URL is the owner.",
    )
    s3_bucket: str = Field(
        "",
        description="Keep uploaded files in this S3 bucket instead of DATA_DIR. Credentials as the AWS CLI finds them.",
    )
    s3_prefix: str = Field("", description="In front of every key, e.g. `ragchat/`.")
    s3_endpoint_url: str = Field("", description="An S3-compatible server instead of AWS.")
    aws_region: str = Field("", description="Empty: as the AWS CLI finds it.")
    api_key: SecretStr = Field(
        SecretStr(""),
        description="The key that clients send as `X-API-Key`. In development an empty one is made on first start.",
    )
    rate_limit_per_minute: int | None = Field(
        None,
        ge=0,
        description="Requests a minute for each API key; 0 switches the limit off. "
        "Unset: 60 in production, off in development.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`auto` is pretty on a terminal and JSON elsewhere."
    )
    allowed_origins: str = Field(
        "",
        description="Comma-separated origins whose pages may open a WebSocket, e.g. `https://shop.example`. "
        "The service's own origin always may.",
    )
    ws_max_sockets: int = Field(2000, ge=1, description="WebSockets open at the same time in one process.")
    ws_max_per_user: int | None = Field(
        None,
        ge=0,
        description="WebSockets open at the same time for one user, as `user_id` of the session names them; "
        "0 switches the limit off. Unset: 10 in production, off in development.",
    )
    ws_idle_seconds: float = Field(
        600, gt=0, description="A WebSocket without a frame of the client and without a turn is closed after so long."
    )
    ws_lifetime_seconds: float = Field(
        43_200, gt=0, description="A WebSocket is closed after so long; clients connect again."
    )
    drain_seconds: float = Field(
        25, ge=0, le=3600, description="How long running answers may take to finish when the service is told to stop."
    )
    worker_in_process: bool = Field(True, description="Run the indexing worker inside the API process.")
    worker_concurrency: int = Field(2, ge=1, le=16, description="Documents indexed at the same time by one worker.")
    database_pool_size: int = Field(10, ge=2, le=100, description="Connections kept open to the database.")
    max_upload_mb: int = Field(50, ge=1, le=1024, description="Largest document that is accepted, in MiB.")
    max_pages: int = Field(2000, ge=1, description="Longest document that is read, in pages.")
    parser_timeout_seconds: int = Field(60, ge=1, description="A document that takes longer to read fails.")
    parser_memory_mb: int = Field(2048, ge=256, description="Memory limit of the process that reads a document.")
    link_allowed_hosts: str = Field(
        "",
        description="Comma-separated hosts that answers may link to, subdomains included, e.g. `docs.shop.example`. "
        "Other links, and all images, are taken out of what a model says; links to the cited documents stay.",
    )
    max_message_chars: int = Field(8000, ge=1, le=65536, description="Longest question, in characters.")
    turn_events_hours: int = Field(
        24,
        ge=1,
        description="The pieces of an answer are kept so long after it has ended; "
        "what is replayed later is put together from the message.",
    )
    webhook_allowed_hosts: str = Field(
        "",
        description="Comma-separated hosts or networks on private addresses that webhooks may call, "
        "e.g. `10.0.8.0/24`. Others on private networks are refused.",
    )
    sentence_transformer_model: str = Field(
        "all-MiniLM-L6-v2",
        description="Embedding model of a new installation; afterwards `ragchat spaces` changes it. "
        "Any other than the default needs `make embeddings`.",
    )
    embedding_precision: Literal["auto", "f32"] = Field(
        "auto", description="`auto` uses bf16 where the processor has it; the shipped model only."
    )
    top_k: int = Field(5, ge=1, le=50, description="Passages retrieved for an answer unless the request says.")
    llm_provider: str = Field(
        "",
        description="Who writes the answers: `bedrock`, `openai`, `extractive`, or several in order, e.g. "
        "`bedrock,openai`. Empty: what is configured below, else `extractive`.",
    )
    bedrock_model_id: str = Field(
        "",
        description="Model id, inference profile or ARN of Amazon Bedrock; several, divided by commas, are asked in "
        "order. Credentials as the AWS CLI finds them.",
    )
    bedrock_endpoint_url: str = Field("", description="Another endpoint than the region's own.")
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        description="OpenAI, or a server that speaks its format: `http://localhost:11434/v1` is Ollama.",
    )
    openai_api_key: SecretStr = Field(SecretStr(""), description="Sent to OPENAI_BASE_URL. Many servers need none.")
    openai_model: str = Field(
        "", description="Model of OPENAI_BASE_URL; several, divided by commas, are asked in order."
    )
    llm_max_tokens: int = Field(1024, ge=1, description="Longest answer of a language model, in tokens.")
    llm_context_tokens: int = Field(
        8192, ge=1024, description="Window of the language model: prompt and answer together, in tokens."
    )
    reranker_model: str = Field(
        "",
        description="A cross-encoder that scores the passages found once more, e.g. "
        "`cross-encoder/ms-marco-MiniLM-L6-v2`; empty is off. Needs `make embeddings`.",
    )
    rerank_candidates: int = Field(
        20, ge=1, le=200, description="Passages that the cross-encoder reads for a question."
    )
    exact_search_limit: int = Field(
        20_000,
        ge=0,
        description="Scopes up to this many chunks are searched exactly, larger ones through HNSW.",
    )

    budget_tokens_per_day: int = Field(
        0, ge=0, description="Tokens of language models that a tenant may use in a day (UTC); 0 is no limit."
    )
    budget_tokens_per_month: int = Field(0, ge=0, description="The same for a month.")
    budget_cost_per_month: Decimal = Field(
        Decimal(0),
        ge=0,
        description="US dollars for a month, by the prices that `ragchat prices` knows; 0 is no limit.",
    )
    budget_user_tokens_per_day: int = Field(0, ge=0, description="Tokens for each user of a tenant in a day.")
    budget_user_tokens_per_month: int = Field(0, ge=0, description="The same for a month.")
    budget_key_tokens_per_day: int = Field(0, ge=0, description="Tokens for each API key in a day.")
    budget_key_tokens_per_month: int = Field(0, ge=0, description="The same for a month.")

    @field_validator("database_url", "migration_database_url", mode="before")
    @classmethod
    def _one_spelling(cls, value: object) -> object:
        """Hosting providers hand out `postgres://`, the seeds wrote both of the others."""
        if isinstance(value, str):
            for prefix in ("postgres://", "postgresql://"):
                if value.startswith(prefix):
                    return "postgresql+asyncpg://" + value.removeprefix(prefix)
        return value

    @model_validator(mode="after")
    def _strong_key_outside_development(self) -> Self:
        key = self.api_key.get_secret_value()
        if self.app_env == "development" and not key:
            return self
        if not key:
            raise UnsafeSettings("api_key_missing", f"API_KEY must be set when APP_ENV={self.app_env}.")
        if self.app_env != "development" and not is_strong_key(key):
            raise UnsafeSettings(
                "api_key_weak",
                f"API_KEY is a known default or shorter than {MINIMUM_KEY_LENGTH} characters; "
                "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return self

    @property
    def requests_per_minute(self) -> int:
        """0 stands for no limit."""
        if self.rate_limit_per_minute is not None:
            return self.rate_limit_per_minute
        return 60 if self.app_env == "production" else 0

    @property
    def sockets_per_user(self) -> int:
        """0 stands for no limit."""
        if self.ws_max_per_user is not None:
            return self.ws_max_per_user
        return 10 if self.app_env == "production" else 0

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 1024 * 1024

    @property
    def link_hosts(self) -> frozenset[str]:
        return frozenset(host.strip().lower() for host in self.link_allowed_hosts.split(",") if host.strip())

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(origin.strip().rstrip("/") for origin in self.allowed_origins.split(",") if origin.strip())


def is_strong_key(key: str) -> bool:
    lowered = key.lower()
    if len(key) < MINIMUM_KEY_LENGTH or lowered in KNOWN_DEFAULT_KEYS or len(set(key)) < 8:
        return False
    return not lowered.startswith(PLACEHOLDER_PREFIXES)


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Settings of ragchat. Copy to .env and change what you need; everything has a default.", ""]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr) or default is None:
            default = ""
        elif isinstance(default, bool):
            default = str(default).lower()
        lines += [f"# {field.description}", f"# {name.upper()}={default}", ""]
    return "\n".join(lines)
