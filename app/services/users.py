"""People who log in: made, listed, changed. How they log in is in logins.py."""

from dataclasses import dataclass
from uuid import UUID

from app.core.caller import ADMIN, Caller
from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.passwords import Passwords
from app.db.uow import UnitOfWork, UowFactory
from app.models import User
from app.repositories.paging import Paging
from app.schemas.users import Keys, Role, UserCreate, UserOut, UserUpdate
from app.services.api_keys import revoke_made_by
from app.services.auth import Forget, nobody


def user_not_found() -> NotFound:
    return NotFound("user_not_found", "There is no such user.")


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """Length alone: what a password is made of is the user's business (NIST SP 800-63B, 5.1.1.2)."""

    shortest: int
    longest: int

    def require(self, password: str, *, pointer: str = "/password") -> None:
        """For a new one. Invalid(too_short | too_long), before anything is hashed."""
        if len(password) < self.shortest:
            detail = f"A password has {self.shortest} characters at least."
            raise Invalid("too_short", detail, pointer=pointer)
        self.refuse_long(password, pointer=pointer)

    def refuse_long(self, password: str, *, pointer: str = "/password") -> None:
        if len(password) > self.longest:
            detail = f"A password has {self.longest} characters at most."
            raise Invalid("too_long", detail, pointer=pointer)


class UserService:
    def __init__(self, uow: UowFactory, passwords: Passwords, rules: PasswordRules, *, forget: Forget = nobody) -> None:
        self._uow = uow
        self._forget = forget
        self._passwords = passwords
        self._rules = rules

    async def create(self, caller: Caller, request: UserCreate, *, role: Role = "user") -> UserOut:
        """In the caller's tenant. Invalid(too_short | too_long), RateLimited(too_many_logins); Conflict(email_taken)
        after as much work as for a new account."""
        self._rules.require(request.password)
        with self._passwords.place():
            hashed = await self._passwords.hash(request.password)
            values = request.model_dump(exclude={"password"}) | {"id": new_id(), "password_hash": hashed, "role": role}
            async with self._uow(caller) as uow:
                user = await uow.users.insert(values)
                if user is not None:
                    await uow.audit.record("register", "user", user.id)
        if user is None:
            raise Conflict("email_taken", "There is an account with this e-mail address.", pointer="/email")
        return user_out(user)

    async def get(self, caller: Caller, user_id: UUID) -> UserOut:
        async with self._uow(caller) as uow:
            user = await uow.users.get(user_id)
        if user is None:
            raise user_not_found()
        return user_out(user)

    async def list_page(self, caller: Caller, paging: Paging) -> tuple[list[UserOut], int, str | None]:
        async with self._uow(caller) as uow:
            rows, total, cursor = await uow.users.list_page(paging)
        return [user_out(row) for row in rows], total, cursor

    async def update(self, caller: Caller, user_id: UUID, request: UserUpdate, *, keys: Keys = "revoke") -> UserOut:
        """Whoever is disabled is logged out everywhere; with them, or with the role admin, go the API keys that they
        made. NotFound, Conflict(last_admin)."""
        values = request.model_dump(exclude_unset=True)
        values = {name: value for name, value in values.items() if value is not None or name == "display_name"}
        deposed = bool(values.get("disabled")) or values.get("role", ADMIN) != ADMIN
        ended = [user_id]
        async with self._uow(caller) as uow:
            if deposed:
                await require_another_admin(uow, str(user_id))
            user = await uow.users.update(user_id, values)
            if user is None:
                raise user_not_found()
            if user.disabled_at is not None:
                await uow.refresh_tokens.revoke(user_id)
            await _record(uow, user_id, request)
            if deposed and keys == "revoke":
                ended += await revoke_made_by(uow, user_id)
        for id_ in ended:
            self._forget(id_)
        return user_out(user)


async def _record(uow: UnitOfWork, user_id: UUID, request: UserUpdate) -> None:
    if request.role is not None:
        await uow.audit.record("user.role", "user", user_id)
    if request.disabled is not None:
        await uow.audit.record("user.disable" if request.disabled else "user.enable", "user", user_id)


async def require_another_admin(uow: UnitOfWork, user_id: str) -> None:
    """Conflict(last_admin). Of two admins who take the role from each other at once, the second one is told no."""
    if {*map(str, await uow.users.lock_admins())} == {user_id}:
        raise Conflict("last_admin", "This is the last admin; make another one first.")


def user_out(user: User) -> UserOut:
    return UserOut(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        role="admin" if user.role == ADMIN else "user",
        disabled=user.disabled_at is not None,
        created_at=user.created_at,
        updated_at=user.updated_at,
        last_login_at=user.last_login_at,
    )
