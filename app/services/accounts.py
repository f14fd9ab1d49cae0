"""Everything that decides who may come in, put together once: for the runtime and for the command line."""

from dataclasses import dataclass

from app.core.passwords import Passwords
from app.core.security import development_secret
from app.core.settings import Settings
from app.core.tokens import Tokens
from app.db.uow import UowFactory
from app.services.api_keys import ApiKeyService
from app.services.auth import AuthService
from app.services.logins import LoginService
from app.services.users import PasswordRules, UserService


@dataclass(frozen=True, slots=True)
class Accounts:
    auth: AuthService
    users: UserService
    logins: LoginService
    api_keys: ApiKeyService
    passwords: Passwords


def make_accounts(settings: Settings, uow: UowFactory) -> Accounts:
    """In development the secret is made in the data folder when the settings have none."""
    secret = settings.jwt_secret.get_secret_value() or development_secret(settings.data_dir)
    tokens, passwords = Tokens(secret, seconds=60 * settings.access_token_minutes), Passwords()
    auth = AuthService(uow, tokens)
    rules = PasswordRules(settings.password_min_length, settings.password_max_length)
    users = UserService(uow, passwords, rules, forget=auth.forget)
    logins = LoginService(
        uow, users, passwords, rules, tokens, refresh_days=settings.refresh_token_days,
        registration_open=settings.anybody_may_register, forget=auth.forget,
    )  # fmt: skip
    return Accounts(auth, users, logins, ApiKeyService(uow, secret=secret, forget=auth.forget), passwords)
