"""`ragchat create-user`, `set-password` and `create-key` as they are typed."""

from typing import Annotated

import typer

Scopes = Annotated[list[str], typer.Option("--scope", help="chat, ingest or admin; several may be given.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]


def create_user(
    email: Annotated[str, typer.Argument(help="Who it is; also the name to log in with.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="As others see it.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="With the role admin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a user. The password is asked for, or read from the first line of stdin."""
    from app.cli import accounts as command

    command.create_user(email, name, admin=admin, as_json=as_json)


def set_password(
    email: Annotated[str, typer.Argument(help="Whose password it is.", show_default=False)],
) -> None:
    """Give a user another password, and end their logins. It is asked for, or read from the first line of stdin."""
    from app.cli import accounts as command

    command.set_password(email)


def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.", show_default=False)],
    scopes: Scopes = ["chat"],  # noqa: B006  typer's way of a list
    days: Annotated[int | None, typer.Option("--days", min=1, max=36_500, help="It ends after so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it, this once."""
    from app.cli import accounts as command

    command.create_key(name, scopes, days, as_json=as_json)
