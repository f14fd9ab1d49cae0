"""Logging in, staying logged in, logging out.

A login is a family of refresh tokens. Each token is used once and gives the next one, so a token that comes twice has
been copied: the family ends, for the thief and for the user. Access tokens name the family, and end with it.
"""

from uuid import UUID

from app.core.caller import DEFAULT_TENANT, SYSTEM, Caller, tenant_caller, user_caller
from app.core.errors import Forbidden, Unauthorized
from app.core.ids import new_id
from app.core.logging import get_logger
from app.core.passwords import Passwords
from app.core.security import key_digest, new_refresh_token
from app.core.tokens import Tokens
from app.db.uow import UnitOfWork, UowFactory
from app.models import RefreshToken, User
from app.schemas.auth import PasswordChange, TokenPair
from app.schemas.users import Me, UserCreate, UserOut, normalised_email
from app.services.auth import Forget, nobody
from app.services.users import PasswordRules, UserService, user_not_found, user_out

log = get_logger(__name__)


def wrong_login() -> Unauthorized:
    """The same, whatever is wrong."""
    return Unauthorized("wrong_login", "The e-mail address or the password is wrong.")


def invalid_refresh_token() -> Unauthorized:
    return Unauthorized("invalid_refresh_token", "The refresh token is not valid, or no longer; log in again.")


class LoginService:
    def __init__(
        self, uow: UowFactory, users: UserService, passwords: Passwords, rules: PasswordRules, tokens: Tokens,
        *, refresh_days: int, registration_open: bool, forget: Forget = nobody,
    ) -> None:  # fmt: skip
        self._uow = uow
        self._users = users
        self._passwords = passwords
        self._rules = rules
        self._tokens = tokens
        self._refresh_days = refresh_days
        self._registration_open = registration_open
        self._forget = forget

    async def register(self, request: UserCreate) -> UserOut:
        """In the installation's own tenant, without any role. Forbidden(registration_closed), and what
        `users.create` raises."""
        if not self._registration_open:
            raise Forbidden("registration_closed", "Accounts are made by the operator here.")
        return await self._users.create(tenant_caller(DEFAULT_TENANT), request)

    async def login(self, email: str, password: str) -> TokenPair:
        """Unauthorized(wrong_login) after the same work whether or not there is an account; Invalid(too_long) and
        RateLimited(too_many_logins) before any."""
        self._rules.refuse_long(password)
        with self._passwords.place():
            return await self._login(email, password)

    async def _login(self, email: str, password: str) -> TokenPair:
        async with self._uow(SYSTEM) as uow:
            user = await uow.users.find_by_email(normalised_email(email))
        right, fresh = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or not right:
            raise await self._refused(user)
        async with self._uow(_as(user)) as uow:
            current = await uow.users.get(user.id, for_update=True)
            changed = current is not None and current.password_hash != user.password_hash
            if current is not None and current.disabled_at is None and not changed:
                await uow.users.note_login(user.id, fresh)
                await uow.refresh_tokens.forget_expired(user.id)
                await uow.audit.record("login", "user", user.id)
                return await self._pair(uow, user, new_id())
        if changed:  # meanwhile: to another one, or to a stronger hash of the same
            return await self._login(email, password)
        raise await self._refused(user)

    async def _refused(self, user: User | None) -> Unauthorized:
        """The log knows of an unknown address only that somebody tried one; it takes the same time."""
        tenant = tenant_caller(user.tenant_id if user else DEFAULT_TENANT)
        async with self._uow(tenant) as uow:
            await uow.audit.record("login", "user", user.id if user else None, outcome="failed")
        return wrong_login()

    async def refresh(self, token: str) -> TokenPair:
        """Unauthorized(invalid_refresh_token)"""
        digest = key_digest(token.encode())
        async with self._uow(SYSTEM) as uow:
            found = await uow.refresh_tokens.find(digest)
        pair = None if found is None else await self._next(found)
        if pair is None:
            raise invalid_refresh_token()
        return pair

    async def _next(self, token: RefreshToken) -> TokenPair | None:
        """None, with the family ended if the token was used before: that must be kept, so nothing is raised here."""
        async with self._uow(tenant_caller(token.tenant_id)) as uow:
            user = await uow.users.get(token.user_id, for_update=True)
            if user is None or user.disabled_at is not None:
                return None
            if await uow.refresh_tokens.use(token.id):
                return await self._pair(uow, user, token.family_id)
            if await uow.refresh_tokens.was_used(token.id):
                await uow.refresh_tokens.revoke(user.id, token.family_id)
                await uow.audit.record("token.reuse", "user", user.id, outcome="refused")
                self._forget(user.id)
                log.warning("login.token_reused", user_id=str(user.id), family_id=str(token.family_id))
            return None

    async def _pair(self, uow: UnitOfWork, user: User, family_id: UUID) -> TokenPair:
        token = new_refresh_token()
        await uow.refresh_tokens.add(user.id, family_id, key_digest(token.encode()), days=self._refresh_days)
        return TokenPair(
            access_token=self._tokens.issue(user.tenant_id, user.id, family_id),
            expires_in=self._tokens.seconds,
            refresh_token=token,
        )

    async def logout(self, caller: Caller) -> None:
        """This login ends; others of the user go on. Forbidden(users_only)"""
        user_id = require_user(caller)
        async with self._uow(caller) as uow:
            await uow.refresh_tokens.revoke(user_id, caller.family_id)
            await uow.audit.record("logout", "user", user_id)
        self._forget(user_id)

    async def change_password(self, caller: Caller, change: PasswordChange) -> None:
        """Other logins of the user end. Forbidden(users_only); Unauthorized(wrong_login) for a wrong current one, after
        Invalid(too_short | too_long) and RateLimited(too_many_logins)."""
        user_id = require_user(caller)
        self._rules.refuse_long(change.current_password, pointer="/current_password")
        self._rules.require(change.new_password, pointer="/new_password")
        with self._passwords.place():
            async with self._uow(caller) as uow:
                user = await uow.users.get(user_id)
            stored = user.password_hash if user else None
            right, _ = await self._passwords.verify(change.current_password, stored)
            new = await self._passwords.hash(change.new_password) if right else None
            async with self._uow(caller) as uow:
                user = await uow.users.get(user_id, for_update=True)
                done = user is not None and new is not None and user.password_hash == stored
                if done:
                    await uow.users.update(user_id, {"password_hash": new})
                    await uow.refresh_tokens.revoke(user_id, but=caller.family_id)
                await uow.audit.record("user.password", "user", user_id, outcome="ok" if done else "failed")
        if not done:
            raise wrong_login()
        self._forget(user_id)

    async def set_password(self, email: str, password: str) -> None:
        """By the operator: every login of the user ends. NotFound, Invalid(too_short | too_long)"""
        self._rules.require(password)
        async with self._uow(SYSTEM) as uow:
            user = await uow.users.find_by_email(normalised_email(email))
        if user is None:
            raise user_not_found()
        hashed = await self._passwords.hash(password)
        async with self._uow(tenant_caller(user.tenant_id)) as uow:
            if await uow.users.update(user.id, {"password_hash": hashed}) is None:
                raise user_not_found()
            await uow.refresh_tokens.revoke(user.id)
            await uow.audit.record("user.password", "user", user.id)
        self._forget(user.id)

    async def me(self, caller: Caller) -> Me:
        """Forbidden(users_only)"""
        user_id = require_user(caller)
        async with self._uow(caller) as uow:
            user = await uow.users.get(user_id)
        if user is None:
            raise user_not_found()
        scopes = sorted(caller.scopes)
        return Me(**user_out(user).model_dump(), tenant_id=user.tenant_id, scopes=scopes)


def require_user(caller: Caller) -> UUID:
    if caller.user_id is None:
        raise Forbidden("users_only", "An API key is no user; log in.")
    return UUID(caller.user_id)


def _as(user: User) -> Caller:
    return user_caller(user.tenant_id, user.id, user.role)
