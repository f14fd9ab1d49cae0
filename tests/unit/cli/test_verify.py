import pytest

from app.cli.verify import looked_at


@pytest.mark.parametrize(
    ("files", "said"), [(0, "0 files looked at"), (1, "1 file looked at"), (2, "2 files looked at")]
)
def test_files_are_counted_as_people_do(files: int, said: str) -> None:
    assert looked_at(files) == said
