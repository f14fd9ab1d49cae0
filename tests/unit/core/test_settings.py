import stat
from pathlib import Path

import pytest

from app.core.errors import UnsafeSettings
from app.core.security import development_key, development_secret, key_digest, new_key
from app.core.settings import Settings, env_example
from app.core.strength import MINIMUM_SECRET_BYTES, is_strong_key

SECRET = "rgc_tXpwLgatd6SyLhr1_1kjA_2HlxVbN8s0Qe3Zu"


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **{"jwt_secret": SECRET} | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("", ""),
    ],
)
def test_database_url_in_either_spelling(given: str, kept: str) -> None:
    assert settings(database_url=given).database_url.get_secret_value() == kept


@pytest.mark.parametrize(
    "key", ["", "change-me", "secret", "x" * 40, "short-but-random-7Hq", "your-api-key-goes-here-1234567"]
)
@pytest.mark.parametrize("environment", ["production", "test"])
def test_no_start_without_a_strong_key_outside_development(key: str, environment: str) -> None:
    with pytest.raises(UnsafeSettings) as refused:
        settings(app_env=environment, api_key=key)
    assert len(key) < 10 or key not in refused.value.detail


@pytest.mark.parametrize(
    "secret", ["", "change-me", "secret", "x" * 40, SECRET[:31], "your-secret-goes-here-0123456789abcdef", "the key"]
)
@pytest.mark.parametrize("environment", ["production", "test"])
def test_no_start_without_a_strong_secret_outside_development(secret: str, environment: str) -> None:
    key = new_key()
    secret = key if secret == "the key" else secret
    with pytest.raises(UnsafeSettings) as refused:
        settings(app_env=environment, api_key=key, jwt_secret=secret)
    assert refused.value.code in {"jwt_secret_missing", "jwt_secret_weak"}
    assert len(secret) < 10 or secret not in refused.value.detail


def test_a_random_key_is_strong() -> None:
    assert is_strong_key(new_key())
    assert settings(app_env="production", api_key=new_key()).requests_per_minute == 60


def test_limit_is_off_in_development_unless_set() -> None:
    assert settings().requests_per_minute == 0
    assert settings(rate_limit_per_minute=5).requests_per_minute == 5
    assert settings(app_env="production", api_key=new_key(), rate_limit_per_minute=0).requests_per_minute == 0


def test_secrets_are_not_shown() -> None:
    key = new_key()
    assert key not in repr(settings(api_key=key, jwt_secret=key, database_url=f"postgresql://u:{key}@h/d"))


def test_env_example_names_every_setting() -> None:
    text = env_example()
    assert all(f"\n# {name.upper()}=" in text for name in Settings.model_fields)


def test_development_key_is_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    key, created = development_key(tmp_path / "data")
    assert created
    assert development_key(tmp_path / "data") == (key, False)
    assert stat.S_IMODE((tmp_path / "data" / "api_key").stat().st_mode) == 0o600
    assert len(key_digest(key.encode())) == 32


def test_development_secret_is_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    secret = development_secret(tmp_path)
    assert is_strong_key(secret, MINIMUM_SECRET_BYTES)
    assert development_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "jwt_secret").stat().st_mode) == 0o600


KEYS = {"app_env": "production", "api_key": "f3b1c2d4e5a69788f3b1c2d4e5a69788"}


@pytest.mark.parametrize(
    "model", [{"openai_model": "m"}, {"bedrock_model_id": "m"}, {"llm_provider": "bedrock,extractive"}]
)
def test_no_start_outside_development_without_a_key_to_seal_what_is_masked(model: dict[str, str]) -> None:
    with pytest.raises(UnsafeSettings) as refused:
        settings(**KEYS, **model)
    assert refused.value.code == "masking_key_missing"
    assert settings(**model).masking_keys == ()
    assert settings(**KEYS, **model, masking="off").masking == "off"
    assert settings(**KEYS, **model, masking_key=new_key()).asks_models


def test_without_a_language_model_nothing_is_masked() -> None:
    assert not settings(**KEYS).asks_models
    assert not settings(**KEYS, llm_provider="extractive", openai_model="m").asks_models


def test_several_masking_keys_each_strong() -> None:
    new, old = new_key(), new_key()
    assert settings(masking_key=f"{new}, {old},").masking_keys == (new, old)
    for weak in ("short", f"{new},{old[:31]}", "x" * 40):
        with pytest.raises(UnsafeSettings, match="masking_key_weak") as refused:
            settings(masking_key=weak)
        assert new not in refused.value.detail


def test_outside_development_nobody_registers_unless_it_is_said() -> None:
    assert settings().anybody_may_register
    assert not settings(registration_open=False).anybody_may_register
    production = {"app_env": "production", "api_key": new_key()}
    assert not settings(**production).anybody_may_register
    assert settings(**production, registration_open=True).anybody_may_register
