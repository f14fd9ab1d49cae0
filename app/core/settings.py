"""Every setting of the service, read in one place from the environment or `.env` and handed down as an argument.

`.env.example` and the table in README.md are made from this file; a test compares them.
"""

from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsConfigDict

from app.core.errors import UnsafeSettings
from app.core.limit_settings import LimitSettings
from app.core.retention_settings import RetentionSettings
from app.core.strength import MINIMUM_KEY_LENGTH, MINIMUM_SECRET_BYTES, is_strong_key


class Settings(LimitSettings, RetentionSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", hide_input_in_errors=True, frozen=True
    )

    app_env: Literal["development", "test", "production"] = Field(
        "development",
        description="Outside `development` the service refuses to start without strong API_KEY and JWT_SECRET.",
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
    jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs the access tokens of users, with 32 bytes at least. In development an empty one is made on "
        "first start. Another value ends every token.",
    )
    access_token_minutes: int = Field(15, ge=1, le=1440, description="How long an access token works.")
    refresh_token_days: int = Field(30, ge=1, le=365, description="After so long without a refresh users log in anew.")
    registration_open: bool | None = Field(
        None,
        description="Whether anybody may register; they read what is shared. Closed, `ragchat create-user` makes "
        "users. Unset: open in development, closed elsewhere.",
    )
    password_min_length: int = Field(8, ge=8, le=64, description="Shortest password, in characters.")
    password_max_length: int = Field(128, ge=64, le=200, description="Longest password, in characters.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`auto` is pretty on a terminal and JSON elsewhere."
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
    masking: Literal["on", "off"] = Field(
        "on",
        description="Personal data is replaced by placeholders before a text goes to a language model; "
        "`off` sends it as it is.",
    )
    masking_key: SecretStr = Field(
        SecretStr(""),
        description="Seals what was masked, 32 characters or more; several, divided by commas: the first seals, "
        "the others open. In development an empty one is made on first start; elsewhere a language model needs one.",
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

    @model_validator(mode="after")
    def _strong_secret_outside_development(self) -> Self:
        if self.app_env == "development":
            return self
        secret = self.jwt_secret.get_secret_value()
        if not secret:
            raise UnsafeSettings("jwt_secret_missing", f"JWT_SECRET must be set when APP_ENV={self.app_env}.")
        if not is_strong_key(secret, MINIMUM_SECRET_BYTES) or secret == self.api_key.get_secret_value():
            raise UnsafeSettings(
                "jwt_secret_weak",
                f"JWT_SECRET is a known default, the API_KEY, or shorter than {MINIMUM_SECRET_BYTES} bytes; "
                "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
            )
        return self

    @model_validator(mode="after")
    def _strong_masking_keys(self) -> Self:
        if not all(is_strong_key(key, MINIMUM_SECRET_BYTES) for key in self.masking_keys):
            raise UnsafeSettings(
                "masking_key_weak",
                f"MASKING_KEY is a known default or shorter than {MINIMUM_SECRET_BYTES} characters; "
                "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return self

    @model_validator(mode="after")
    def _masking_key_outside_development(self) -> Self:
        if self.app_env != "development" and self.asks_models and self.masking == "on" and not self.masking_keys:
            raise UnsafeSettings(
                "masking_key_missing",
                f"MASKING_KEY must be set when APP_ENV={self.app_env} and a language model is configured.",
            )
        return self

    @property
    def asks_models(self) -> bool:
        """Whether questions leave the service."""
        named = [name.strip().lower() for name in self.llm_provider.split(",") if name.strip()]
        return (
            any(name != "extractive" for name in named) if named else bool(self.bedrock_model_id or self.openai_model)
        )

    @property
    def anybody_may_register(self) -> bool:
        return self.app_env == "development" if self.registration_open is None else self.registration_open

    @property
    def masking_keys(self) -> tuple[str, ...]:
        return tuple(key.strip() for key in self.masking_key.get_secret_value().split(",") if key.strip())

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


def fields() -> dict[str, FieldInfo]:
    """Every setting by its name, in the order in which people look for them."""
    own = [name for name in Settings.__annotations__ if name in Settings.model_fields]
    inherited = [name for name in Settings.model_fields if name not in own]
    at = own.index("log_level")
    return {name: Settings.model_fields[name] for name in [*own[:at], *inherited, *own[at:]]}


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Settings of ragchat. Copy to .env and change what you need; everything has a default.", ""]
    for name, field in fields().items():
        default = field.default
        if isinstance(default, SecretStr) or default is None:
            default = ""
        elif isinstance(default, bool):
            default = str(default).lower()
        lines += [f"# {field.description}", f"# {name.upper()}={default}", ""]
    return "\n".join(lines)
