"""Writes what is made from the code: .env.example, openapi.json and the settings table in README.md.

python tools/generate.py           writes them
python tools/generate.py --check   exits with 1 when one of them is not up to date
"""

import json
import re
import sys
from pathlib import Path

from pydantic import SecretStr

from app.core.settings import Settings, env_example, fields
from app.main import create_app

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def openapi() -> str:
    app = create_app(Settings(_env_file=None, app_env="development"))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def settings_table() -> str:
    rows = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in fields().items():
        default = field.default
        shown = "" if default is None or isinstance(default, SecretStr) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        rows.append(f"| `{name.upper()}` | {f'`{shown}`' if shown else ''} | {field.description} |")
    return "\n".join(rows) + "\n"


def readme() -> str:
    text = (ROOT / "README.md").read_text()
    return TABLE.sub(lambda match: match.group(1) + settings_table() + match.group(2), text)


def wanted() -> dict[Path, str]:
    return {
        ROOT / ".env.example": env_example(),
        ROOT / "openapi.json": openapi(),
        ROOT / "README.md": readme(),
    }


def main() -> int:
    check = "--check" in sys.argv
    stale = [(path, text) for path, text in wanted().items() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if check:
            print(f"{path.name} is not up to date; run: make generate")
        else:
            path.write_text(text)
            print(f"wrote {path.name}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
