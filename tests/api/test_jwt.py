"""Access tokens: what is none of ours is refused, cheaply and alike (H2 to H13, H21)."""

import asyncio
import base64
import hmac
import json
import time
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from jose import jwe, jws, jwt

from app.core.errors import Unauthorized
from app.core.tokens import LEEWAY_SECONDS, Tokens
from app.services import auth
from tests.api import people
from tests.api import test_hostile_tools as tools
from tests.api.people import AUTH, Join, Person, log_in
from tests.api.test_hostile_tools import CANARY, check_problem, raw, request, watched_logs
from tests.conftest import JWT_SECRET, Tenant

join, edge, unharmed = people.join, tools.edge, tools.unharmed


@pytest.fixture
async def person(edge: Tenant, join: Join) -> Person:
    return await join(edge)


async def me(person: Person, token: str | bytes) -> httpx.Response:
    raw_token = token.encode("latin-1", "replace") if isinstance(token, str) else token
    return await person.http.get(f"{AUTH}/me", headers=[(b"Authorization", b"Bearer " + raw_token)])


def part(data: Any) -> str:
    plain = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def made(header: Any, claims: Any, secret: str = JWT_SECRET, digest: str = "sha256") -> str:
    """By hand, for what no library would sign."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret.encode(), signed.encode(), digest))}"


HEADER = {"alg": "HS256", "typ": "JWT"}


def claims_of(person: Person, **changes: Any) -> dict[str, Any]:
    """Those of a token that is fine; None takes one out."""
    payload = person.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return {name: value for name, value in (claims | changes).items() if value is not None}


async def test_one_that_was_made_elsewhere_with_the_secret_is_fine(person: Person) -> None:
    """The checks below can fail: theirs is the same but for one thing."""
    for header in (HEADER, {"alg": "HS256"}, {"typ": "JWT", "alg": "HS256"}):
        assert (await me(person, made(header, claims_of(person)))).json()["id"] == person.id
    theirs = jwt.encode(
        claims_of(person, nbf=int(time.time()) - 5, jti="x", unknown=[1]), JWT_SECRET, algorithm="HS256"
    )
    assert (await me(person, theirs)).status_code == 200


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
async def test_no_algorithm(person: Person, name: str) -> None:
    unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims_of(person))}"
    signature = person.token.rpartition(".")[2]
    for token in (f"{unsigned}.", f"{unsigned}.{signature}", unsigned, f"{unsigned}.{part(b'0' * 32)}"):
        check_problem(await me(person, token), 401, "invalid_token")


@pytest.mark.parametrize(
    "secret", ["", " ", "secret", "change-me", "changeme", "rgc_...", "your-secret-key", "password", "None", "ragchat"]
)
async def test_known_secrets(person: Person, secret: str) -> None:
    check_problem(await me(person, made(HEADER, claims_of(person), secret)), 401, "invalid_token")


async def test_the_key_and_public_things_sign_nothing(person: Person) -> None:
    for secret in (person.tenant.key, person.id, str(person.tenant.caller.tenant_id), person.pair["refresh_token"]):
        check_problem(await me(person, made(HEADER, claims_of(person), secret)), 401, "invalid_token")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS256", "ES256", "PS256", "dir", "hs256", ["HS256"], None, 5])
async def test_other_algorithms(person: Person, algorithm: Any) -> None:
    header = {"alg": algorithm, "typ": "JWT"}
    for digest in ("sha256", "sha384", "sha512"):
        check_problem(await me(person, made(header, claims_of(person), digest=digest)), 401, "invalid_token")


async def test_encrypted_tokens_and_large_ones_are_refused_unread(person: Person) -> None:
    encrypted = jwe.encrypt(b"a" * 100, JWT_SECRET[:32].encode(), algorithm="dir", encryption="A128CBC-HS256").decode()
    bomb = f"{part({'alg': 'dir', 'enc': 'A256GCM', 'zip': 'DEF'})}..{part(b'1' * 12)}.{'A' * 40_000}.{part(b'2' * 16)}"
    nested = ".".join((part(b'{"alg":' + b"[" * 30_000), part({}), part(b"0" * 32)))
    long = made(HEADER, claims_of(person) | {"sub": "x" * 30_000})
    for token in (encrypted, bomb, nested, long, "ey." * 10_000):
        began = time.process_time()
        check_problem(await me(person, token), 401, "invalid_token")
        assert time.process_time() - began < 0.5
    reply = await raw(
        person.tenant.service.address, request("GET", f"{AUTH}/me", None, Authorization=f"Bearer {'e' * 300_000}")
    )
    assert reply.status in (400, 431)


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["x"]}, {"crit": []}, {"crit": ["exp"], "exp": 1}, {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1--"}, {"jku": "{listener}"}, {"x5u": "{listener}"}, {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
        {"b64": False}, {"cty": "JWT"}, {"typ": "at+jwt"}, {"typ": "JWE"}, {"zip": "DEF"}, {"x": 1},
    ],
    ids=lambda extra: str(*extra.keys()) if len(extra) == 1 else "crit-exp",
)  # fmt: skip
async def test_headers_that_ask_for_something(person: Person, extra: dict[str, Any]) -> None:
    """However well it is signed. Nobody is called, which a listener would notice."""
    called = asyncio.Event()
    listener = await asyncio.start_server(lambda *_: called.set(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        header = json.loads(json.dumps(HEADER | extra).replace("{listener}", f"http://127.0.0.1:{port}/keys"))
        check_problem(await me(person, made(header, claims_of(person))), 401, "invalid_token")
    assert not called.is_set()


class FromNow(NamedTuple):
    """Of the moment in which the test runs, not of that in which it was collected."""

    seconds: float


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("exp", [FromNow(-61), FromNow(-LEEWAY_SECONDS - 3), 0, -1, 1e308, FromNow(60.5), "2000000000", "soon", True]),
        ("exp", [2**70, None, [], {}]),
        ("nbf", [FromNow(600), -1, "now", 1e308, FromNow(-0.5), True]),
        ("iat", [FromNow(86_400), FromNow(60), -1, "now", 1e308, False, None]),
        ("sub", [None, 5, ["a"], "", "ravi", str(uuid4()), {"$ne": None}, "\0"]),
        ("aud", [None, "other", ["ragchat", 5], ["ragchat"], [], "", 5]),
        ("iss", [None, "other", "https://evil.example", "", ["ragchat"]]),
        ("jti", [None, "", 5]),
        ("token_use", [None, "refresh", "reset", "ACCESS", True]),
        ("tenant", [None, str(uuid4()), "", 5, "00000000-0000-7000-8000-000000000001"]),
        ("family", [None, str(uuid4()), "", 5]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_claims_that_are_wrong_or_missing(person: Person, claim: str, values: list[Any]) -> None:
    for value in values:
        claims = claims_of(person)
        claims.pop(claim, None)
        if value is not None:
            claims[claim] = int(time.time()) + value.seconds if isinstance(value, FromNow) else value
        response = await me(person, made(HEADER, claims))
        check_problem(response, 401, "invalid_token")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"{", b"1", b"\xff", b'{"exp": NaN}', b"[" * 1100, b'{"exp": 1e999}']
)
async def test_payloads_that_are_no_claims(person: Person, payload: bytes) -> None:
    check_problem(await me(person, made(HEADER, payload)), 401, "invalid_token")


async def test_a_little_late_and_a_little_early_are_fine(person: Person) -> None:
    now = int(time.time())
    for changes in ({"exp": now - 2}, {"iat": now + 3, "exp": now + 60}, {"nbf": now + 3}):
        assert (await me(person, made(HEADER, claims_of(person, **changes)))).status_code == 200


async def test_a_signature_has_one_spelling(person: Person) -> None:
    head, _, signature = person.token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    twins = [alphabet[last ^ bits] for bits in (1, 2, 3)]  # bits that do not count
    for changed in (*(signature[:-1] + twin for twin in twins), signature + "=", signature.swapcase(), signature + "A"):
        check_problem(await me(person, f"{head}.{changed}"), 401, "invalid_token")


@pytest.mark.parametrize(
    "token", ["ey.", "ey..", "eyJ.eyJ.", f"ey.{CANARY}", "ey\xff.\xfe.\xfd", "ey\u00e9.a.b", "ey.a.b " * 3 + "c"]
)
async def test_nonsense(person: Person, token: str) -> None:
    check_problem(await me(person, token), 401, "invalid_token")


class TestSeveral:
    async def test_of_one_user_are_fine_and_of_two_are_not(self, edge: Tenant, join: Join) -> None:
        person, other = await join(edge), await join(edge)
        again = (await log_in(edge, person.email))["access_token"]
        async with edge.service.client() as http:

            async def answer(*headers: tuple[str, str]) -> httpx.Response:
                return await http.get("/api/v1/sessions", headers=[*headers])

            def bearer(token: str) -> tuple[str, str]:
                return ("Authorization", f"Bearer {token}")

            for token in (person.token, again):
                assert (await answer(bearer(person.token), bearer(token))).status_code == 200
            for headers in (
                (bearer(person.token), bearer(other.token)),
                (bearer(person.token), bearer(edge.key)),
                (bearer(person.token), ("X-API-Key", edge.key)),
                (bearer(person.token), ("X-API-Key", "nonsense")),
                (bearer(edge.key), ("X-API-Key", person.token)),
                tuple(bearer(f"ey.{n}.b") for n in range(5)),
            ):
                check_problem(await answer(*headers), 400, "ambiguous_credentials")
            check_problem(await answer(bearer(person.token), bearer("ey.a.b")), 401, "invalid_token")
            check_problem(await answer(("X-API-Key", person.token)), 401, "unauthorized")
            check_problem(await answer(("Authorization", f"Basic {person.token}")), 401, "unauthorized")


async def test_a_token_in_the_address_is_ignored_and_logged_nowhere(person: Person) -> None:
    with watched_logs() as (events, records):
        for name in ("token", "access_token", "api_key", "authorization"):
            path = f"{AUTH}/me?{name}={person.token}"
            check_problem(await raw_get(person, path), 401, "unauthorized")
    assert person.token not in repr(events) + repr(records)


async def raw_get(person: Person, path: str) -> httpx.Response:
    async with person.tenant.service.client() as http:
        return await http.get(path)


class TestEnds:
    async def test_a_disabled_user_is_out_at_once_here_and_within_seconds_elsewhere(
        self, edge: Tenant, join: Join
    ) -> None:
        person = await join(edge)
        elsewhere = auth.AuthService(edge.runtime.uow, Tokens(JWT_SECRET, seconds=60))
        await elsewhere.authenticate(person.token.encode())
        assert (await edge.http.patch(f"/api/v1/users/{person.id}", json={"disabled": True})).status_code == 200
        check_problem(await me(person, person.token), 401, "invalid_token")
        async with asyncio.timeout(5):
            while await _is_let_in(elsewhere, person):
                await asyncio.sleep(0.1)
        assert (await edge.http.patch(f"/api/v1/users/{person.id}", json={"disabled": False})).status_code == 200
        check_problem(await me(person, person.token), 401, "invalid_token")  # its login has ended
        assert (await me(person, (await log_in(edge, person.email))["access_token"])).status_code == 200

    async def test_a_role_is_the_one_of_now(self, edge: Tenant, join: Join) -> None:
        await join(edge, "admin")
        admin = await join(edge, "admin")
        assert (await admin.http.get("/api/v1/users")).status_code == 200
        assert (await edge.http.patch(f"/api/v1/users/{admin.id}", json={"role": "user"})).status_code == 200
        check_problem(await admin.http.get("/api/v1/users"), 403, "forbidden")
        assert (await edge.http.patch(f"/api/v1/users/{admin.id}", json={"role": "admin"})).status_code == 200
        assert (await admin.http.get("/api/v1/users")).status_code == 200


async def _is_let_in(service: auth.AuthService, person: Person) -> bool:
    try:
        await service.authenticate(person.token.encode())
    except Unauthorized:
        return False
    return True


def test_this_file_signs_as_the_service_does() -> None:
    claims = {"a": 1}
    assert made(HEADER, claims) == jws.sign(claims, JWT_SECRET, algorithm="HS256")
