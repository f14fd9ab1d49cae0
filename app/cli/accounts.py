"""`ragchat create-user`, `set-password` and `create-key`: what nobody can do over the network before there is an admin,
or for who has forgotten their password."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import get_args

import typer
from pydantic import ValidationError

from app.cli.common import load_settings, run, stop
from app.cli.database import command_database
from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.settings import Settings
from app.db.uow import uow_factory
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, KeyScope
from app.schemas.users import UserCreate, UserOut
from app.services.accounts import make_accounts

SCOPES = f"which are of {', '.join(get_args(KeyScope))}"


def create_user(email: str, name: str | None, *, admin: bool, as_json: bool) -> None:
    settings = load_settings()
    try:
        request = UserCreate(email=email, password=_password(), display_name=name)
    except ValidationError as exc:
        stop("not valid: " + ", ".join(str(error["loc"][0]) for error in exc.errors()))
    made = run(lambda: _create_user(settings, request, admin=admin))
    typer.echo(made.model_dump_json() if as_json else f"{made.email} is a new {made.role}")


def _password() -> str:
    """Never an argument: those are seen in the list of processes, and kept in the history of the shell."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


async def _create_user(settings: Settings, request: UserCreate, *, admin: bool) -> UserOut:
    async with command_database(settings) as engine:
        uow = uow_factory(engine)
        accounts = make_accounts(settings, uow)
        await accounts.auth.ensure_tenant()
        return await accounts.users.create(tenant_caller(DEFAULT_TENANT), request, role="admin" if admin else "user")


def set_password(email: str) -> None:
    settings = load_settings()
    password = _password()
    run(lambda: _set_password(settings, email, password))
    typer.echo("The password is set; every login has ended.")


async def _set_password(settings: Settings, email: str, password: str) -> None:
    async with command_database(settings) as engine:
        await make_accounts(settings, uow_factory(engine)).logins.set_password(email, password)


def create_key(name: str, scopes: list[str], days: int | None, *, as_json: bool) -> None:
    settings = load_settings()
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    try:
        request = ApiKeyCreate.model_validate({"name": name, "scopes": scopes, "expires_at": expires_at})
    except ValidationError as exc:
        wrong = dict.fromkeys(str(error["loc"][0]) for error in exc.errors())
        stop("not valid: " + ", ".join(f"{field}, {SCOPES}" if field == "scopes" else field for field in wrong))
    made = run(lambda: _create_key(settings, request))
    if as_json:
        typer.echo(json.dumps(made.model_dump(mode="json"), ensure_ascii=False))
        return
    typer.echo(made.key)
    typer.echo("It is shown this once; whoever has it may do what its scopes allow.", err=True)


async def _create_key(settings: Settings, request: ApiKeyCreate) -> ApiKeyCreated:
    async with command_database(settings) as engine:
        accounts = make_accounts(settings, uow_factory(engine))
        await accounts.auth.ensure_tenant()
        return await accounts.api_keys.create(tenant_caller(DEFAULT_TENANT), request)
