"""`GET /docs`: Swagger UI from our own files; its Content-Security-Policy allows this host and no other."""

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

FOLDER = Path(__file__).resolve().parents[1] / "ui" / "swagger"
MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
    "swagger-ui.css": "text/css",
    "init.js": "text/javascript",
    "favicon.png": "image/png",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the icons inside swagger-ui.css
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PAGE_HEADERS = COMMON_HEADERS | {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
ASSET_HEADERS = COMMON_HEADERS | {"Cache-Control": "public, max-age=86400"}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{favicon}">
<link rel="stylesheet" href="{style}">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The schema itself is at <a href="{schema}">{schema}</a>.</noscript>
<script src="{bundle}"></script>
<script src="{init}" data-schema="{schema}"></script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    path: Path
    media_type: str
    etag: str
    url: str
    """Relative to the page, so that it also holds behind a proxy's path prefix; changes with the content."""


def mount_docs(app: FastAPI) -> None:
    """Adds `/docs` and `/docs/assets/{name}`, outside the schema; nothing without `openapi_url`."""
    if app.openapi_url is None:
        return
    assets = {name: _asset(name) for name in MEDIA_TYPES}
    html = _page(app.title, app.openapi_url.lstrip("/"), assets)

    async def page(_: Request) -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    async def asset(request: Request) -> Response:
        return _serve(request, assets.get(request.path_params["name"]))

    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/assets/{name}", asset, include_in_schema=False)


def _asset(name: str) -> Asset:
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
    return Asset(FOLDER / name, MEDIA_TYPES[name], f'"{digest}"', f"docs/assets/{name}?v={digest}")


def _page(title: str, schema: str, assets: dict[str, Asset]) -> str:
    return PAGE.format(
        title=escape(title),
        schema=escape(schema),
        favicon=assets["favicon.png"].url,
        style=assets["swagger-ui.css"].url,
        bundle=assets["swagger-ui-bundle.js"].url,
        init=assets["init.js"].url,
    )


def _serve(request: Request, asset: Asset | None) -> Response:
    if asset is None:
        raise HTTPException(404)
    headers = ASSET_HEADERS | {"ETag": asset.etag}
    if _is_known(request.headers.get("if-none-match", ""), asset.etag):
        return Response(status_code=304, headers=headers)
    return FileResponse(asset.path, media_type=asset.media_type, headers=headers)


def _is_known(if_none_match: str, etag: str) -> bool:
    """Weak comparison, RFC 9110 section 13.1.2."""
    return etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
