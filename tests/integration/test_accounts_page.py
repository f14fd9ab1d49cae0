"""docs/accounts.md: every block run as it is written, and the numbers that it names."""

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from app.api import sockets
from app.core import passwords, tokens
from app.core.settings import Settings
from app.core.strength import MINIMUM_SECRET_BYTES
from app.services import api_keys, auth
from tests.conftest import ROOT, make_database, make_settings, serving

PAGE = (ROOT / "docs" / "accounts.md").read_text()


def block(name: str) -> str:
    found = re.search(rf"<!-- run: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_blocks(postgres: Any, tmp_path: Path) -> None:
    url = await make_database(postgres, "test_accounts_page")
    settings = make_settings(database_url=url, data_dir=tmp_path, worker_in_process=False)
    bin_ = str(Path(sys.executable).parent)
    known = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path), "PATH": f"{bin_}:{os.environ['PATH']}"}
    async with serving(settings) as (address, _):

        async def run(name: str, **more: str) -> str:
            script = block(name).replace("localhost:8000", address)
            process = await asyncio.create_subprocess_exec(
                "bash", "-ec", script, env=known | more, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            return out.decode()

        assert json.loads(await run("register"))["role"] == "user"
        pair = json.loads(await run("login"))
        assert json.loads(await run("form")).keys() == pair.keys()
        named = {"ACCESS_TOKEN": pair["access_token"], "REFRESH_TOKEN": pair["refresh_token"]}
        assert json.loads(await run("me", **named))["email"] == "lakshmi@shop.example"
        assert json.loads(await run("refresh", **named)).keys() == pair.keys()
        assert await run("password", **named) == ""
        assert await run("logout", **named) == ""
        assert json.loads(await run("me", **named))["code"] == "invalid_token"
        assert await run("create-user") == "ravi@shop.example is a new admin\n"
        assert await run("set-password") == "The password is set; every login has ended.\n"
        assert (await run("create-key")).startswith("rgc_")
        made = json.loads(await run("key", KEY=(tmp_path / "api_key").read_text().strip()))
        assert made["scopes"] == ["chat"]
    assert PAGE.count("<!-- run: ") == 11


def test_the_numbers() -> None:
    fields = {name: field.default for name, field in Settings.model_fields.items()}
    words = " ".join(PAGE.split())
    for said in (
        f"for {fields['access_token_minutes']} minutes (`ACCESS_TOKEN_MINUTES`)",
        f"for {fields['refresh_token_days']} days (`REFRESH_TOKEN_DAYS`)",
        f"have {fields['password_min_length']} to {fields['password_max_length']} characters",
        f"more than {passwords.WAITING} logins wait",
        f"A tenant may have {api_keys.MOST_KEYS}.",
        f"secret of {MINIMUM_SECRET_BYTES} bytes",
        f"clocks may differ by {tokens.LEEWAY_SECONDS} seconds",
    ):
        assert said in words, said
    assert words.count(f"within {auth.CACHE_SECONDS:.0f} seconds") == 4
    assert sockets.CHECK_SECONDS + auth.CACHE_SECONDS + tokens.LEEWAY_SECONDS < 60
    names = [name for name in tokens._Claims.model_fields if name != "nbf"]
    assert all(f"`{name}`" in words.split("Claims are")[1] for name in names)
