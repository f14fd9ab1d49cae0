"""Which models are chosen by the settings. Nothing connects."""

import subprocess
import sys
from typing import Any

import pytest

from app.core.errors import Invalid
from app.providers.llm import ModelSettings, open_models
from tests.conftest import ROOT

BEDROCK = {"bedrock_model_id": "some.model-v1:0"}
OPENAI = {"openai_model": "some-model", "openai_api_key": "sk-x"}
LOCAL = {"openai_model": "llama3", "openai_base_url": "http://127.0.0.1:11434/v1"}


def names(**settings: Any) -> list[str]:
    chain = open_models(ModelSettings(**settings))
    return chain.names if chain else []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"openai_api_key": "sk-x"}, []),
        (BEDROCK, ["bedrock/some.model-v1:0"]),
        (OPENAI, ["openai/some-model"]),
        (LOCAL, ["openai/llama3"]),
        (BEDROCK | OPENAI, ["bedrock/some.model-v1:0", "openai/some-model"]),
        (BEDROCK | OPENAI | {"provider": "openai, bedrock"}, ["openai/some-model", "bedrock/some.model-v1:0"]),
        (BEDROCK | OPENAI | {"provider": "OpenAI"}, ["openai/some-model"]),
        (BEDROCK | OPENAI | {"provider": "extractive"}, []),
        (BEDROCK | OPENAI | {"provider": "openai,extractive"}, ["openai/some-model"]),
        ({"bedrock_model_id": "a.b, c.d"}, ["bedrock/a.b", "bedrock/c.d"]),
        (OPENAI | {"openai_model": "x,y"}, ["openai/x", "openai/y"]),
    ],
)
def test_models_in_order(settings: dict[str, str], expected: list[str]) -> None:
    assert names(**settings) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"provider": "bedrock"}, "BEDROCK_MODEL_ID"),
        ({"provider": "openai"}, "OPENAI_MODEL"),
        ({"provider": "openai", "openai_model": "m"}, "OPENAI_API_KEY"),
        ({"openai_model": "m"}, "OPENAI_API_KEY"),
        ({"provider": "claude"}, "LLM_PROVIDER"),
        (OPENAI | {"provider": "extractive,openai"}, "LLM_PROVIDER"),
        (OPENAI | {"provider": "openai,openai"}, "LLM_PROVIDER"),
        (LOCAL | {"openai_base_url": "localhost:11434/v1"}, "OPENAI_BASE_URL"),
        (BEDROCK | {"bedrock_endpoint_url": "vpce-1.example"}, "BEDROCK_ENDPOINT_URL"),
    ],
)
def test_what_is_missing_is_told_at_the_start(settings: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid) as raised:
        names(**settings)
    assert raised.value.code == "llm_not_configured"
    assert said in raised.value.detail
    assert "sk-x" not in raised.value.detail


def test_libraries_are_loaded_only_for_the_models_that_are_chosen() -> None:
    script = (
        "import sys; from app.providers.llm import *; open_models(ModelSettings());"
        "assert not {'aioboto3', 'botocore', 'aiohttp'} & {*sys.modules};"
        "open_models(ModelSettings(openai_model='m', openai_api_key='k'));"
        "assert 'aiohttp' in sys.modules; assert 'botocore' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
