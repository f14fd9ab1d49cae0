import pytest
import typer

from app.cli.common import load_settings


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit) as stopped:
        load_settings()
    assert stopped.value.exit_code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "eighty", "PORT must be a whole number"),
        ("PORT", "70000", "PORT must be 65535 at most"),
        ("TOP_K", "0", "TOP_K must be 1 at least"),
        ("WORKER_IN_PROCESS", "perhaps", "WORKER_IN_PROCESS must be true or false"),
        ("MASKING", "some", "MASKING must be 'on' or 'off'"),
        ("BUDGET_COST_PER_MONTH", "much", "BUDGET_COST_PER_MONTH must be a number"),
    ],
)
def test_a_wrong_setting_is_told_in_words_of_our_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal(capsys) == f"ragchat does not start: {said}.\n"


def test_all_wrong_settings_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("MAX_PAGES", "-1")
    assert refusal(capsys) == "ragchat does not start: PORT must be a whole number; MAX_PAGES must be 1 at least.\n"
