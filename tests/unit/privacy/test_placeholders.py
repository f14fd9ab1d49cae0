import json
from uuid import UUID

import pytest

from app.privacy import MaskingMap, Restorer, marks, mask, mask_together
from app.privacy.placeholders import UnknownVersion
from app.privacy.vault import Sealed, Vault

AADHAAR, OTHER_AADHAAR, PHONE = "2345 6789 0124", "9999-4105-7058", "+91 98480 22338"
SESSION, OTHER_SESSION = UUID(int=1), UUID(int=2)


def restored(known: MaskingMap, *pieces: str) -> list[str]:
    restorer = Restorer(known)
    return [*map(restorer.feed, pieces), restorer.flush()]


@pytest.fixture
def known() -> MaskingMap:
    known = MaskingMap()
    mask(f"{AADHAAR} {PHONE}", known)
    return known


def test_placeholders_are_stable_in_a_conversation():
    known = MaskingMap()
    assert mask(f"I am {AADHAAR}.", known) == "I am <AADHAAR_1>."
    assert mask(f"Not {OTHER_AADHAAR}, {AADHAAR}!", known) == "Not <AADHAAR_2>, <AADHAAR_1>!"
    assert mask(f"Call {PHONE}", known) == "Call <PHONE_1>"
    assert known.counts == {"AADHAAR": 2, "PHONE": 1}


def test_another_spelling_is_the_same_value_and_comes_back_as_it_was():
    known = MaskingMap()
    text = "9848022338, +91 98480-22338, 98480 22338, 9848022338; abcpe1234f ABCPE1234F; A@X.in a@x.in"
    once = mask(text, known)
    assert once == ("<PHONE_1>, <PHONE_1_2>, <PHONE_1_3>, <PHONE_1>; <PAN_1> <PAN_1_2>; <EMAIL_1> <EMAIL_1_2>")
    assert known.restore(once) == text
    assert known.counts == {"PHONE": 1, "PAN": 1, "EMAIL": 1}


def test_what_looks_like_a_placeholder_comes_back_too(known):
    text = f"<AADHAAR_1> is not {AADHAAR}, <LITERAL_1> neither, nor <PHONE\\_1> and <PHONE_7>"
    once = mask(text, known)
    assert once == "<LITERAL_1> is not <AADHAAR_1>, <LITERAL_2> neither, nor <LITERAL_3> and <LITERAL_4>"
    assert known.restore(once) == text


def test_models_that_write_markdown(known):
    assert known.restore(r"**<AADHAAR\_1>**") == f"**{AADHAAR}**"


@pytest.mark.parametrize(
    "text", ["<AADHAAR_9>", "AADHAAR_1", "<aadhaar_1>", "<AADHAAR_1", "AADHAAR_1>", "< AADHAAR_1>", "<b>"]
)
def test_what_was_never_given_out_stays(known, text):
    assert known.restore(text) == text
    assert "".join(restored(known, text)) == text


def test_a_placeholder_that_is_cut_by_a_token(known):
    assert restored(known, "It is <AAD", "HAA", "R_", "1", "> now") == ["It is ", "", "", "", f"{AADHAAR} now", ""]


def test_nothing_else_is_held_back(known):
    assert restored(known, "a < b", " <b>", "x<AADHARR", "<", "<PHONE_1>") == [
        "a < b", " <b>", "x<AADHARR", "", f"<{PHONE}", "",
    ]  # fmt: skip
    assert restored(known, "ends in <PHONE_1") == ["ends in ", "<PHONE_1"]


def test_for_those_who_may_not_see_the_value():
    known = MaskingMap()
    once = mask(f"{AADHAAR}, 4111 1111 1111 1111, {PHONE} <PHONE_1>", known)
    assert known.display(once) == "XXXX XXXX 0124, **** 1111, <PHONE> <LITERAL>"
    assert known.display(mask("౨౩౪౫ ౬౭౮౯ ౦౧౨౪", known)) == "XXXX XXXX 0124"


def test_a_map_is_the_same_after_it_was_stored(known):
    mask("98480 22338 <PHONE_1>", known)
    again = MaskingMap.from_json(known.to_json())
    text = f"{AADHAAR} {OTHER_AADHAAR} {PHONE} 98480 22338 9848022338"
    assert again.counts == known.counts
    assert mask(text, again) == mask(text, known)
    assert again.to_json() == known.to_json()


def test_a_map_of_a_newer_release_is_not_guessed_at(known):
    newer = json.loads(known.to_json()) | {"version": 2}
    with pytest.raises(UnknownVersion):
        MaskingMap.from_json(json.dumps(newer))


def test_sealed_maps_open_for_their_conversation_alone(known):
    vault = Vault({"2026": bytes(range(32))}, "2026")
    sealed = vault.seal(known, SESSION)
    assert PHONE.encode() not in sealed
    assert b"PHONE" not in sealed
    assert vault.seal(known, SESSION) != sealed
    assert vault.open(sealed, SESSION).to_json() == known.to_json()
    for damaged in (b"", sealed[:10], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\x04next" + sealed[5:]):
        with pytest.raises(Sealed):
            vault.open(damaged, SESSION)
    with pytest.raises(Sealed):
        vault.open(sealed, OTHER_SESSION)


def test_keys_can_be_changed(known):
    old, new = bytes(32), bytes(range(32))
    sealed = Vault({"a": old}, "a").seal(known, SESSION)
    both = Vault({"a": old, "b": new}, "b")
    assert both.open(sealed, SESSION).to_json() == known.to_json()
    with pytest.raises(Sealed):
        Vault({"b": new}, "b").open(sealed, SESSION)
    with pytest.raises(ValueError, match="32 bytes"):
        Vault({"a": b"short"}, "a")


def test_keys_of_random_texts():
    known = MaskingMap()
    new, old = "n" * 32, "o" * 32
    vault = Vault.of_secrets([new, old])
    assert vault.current == Vault.of_secrets([new]).current != Vault.of_secrets([old]).current
    assert new not in vault.current
    for secrets in ([new], [new, old], [old, new], [new, new]):
        assert Vault.of_secrets(secrets).open(vault.seal(known, SESSION), SESSION).to_json() == known.to_json()
    with pytest.raises(Sealed):
        Vault.of_secrets([old]).open(vault.seal(known, SESSION), SESSION)


def test_only_what_was_handed_out_is_restored(known):
    handed = known.handed("Call <PHONE_1>, not <PHONE_2>.")
    assert handed == {"<PHONE_1>": PHONE}
    restorer = Restorer(handed, lambda value: value.replace("+", "plus "))
    assert restorer.feed("<PHONE_1> <AADHAAR_1>") == f"{PHONE.replace('+', 'plus ')} <AADHAAR_1>"


class TestWhatIsKnownAlready:
    """A number that was called an account is one wherever it stands later."""

    @pytest.fixture
    def known(self):
        known = MaskingMap()
        mask("A/c no 50100123456789, passport J8369854, password: hunter22x", known)
        return known

    @pytest.mark.parametrize(
        ("text", "leaves_as"),
        [
            ("It is 50100123456789.", "It is <ACCOUNT_1>."),
            ("50100123456789కి, (J8369854)", "<ACCOUNT_1>కి, (<PASSPORT_1>)"),
            ("hunter22x or Hunter22x", "<API_KEY_1> or Hunter22x"),
            ("501001234567890 150100123456789 x50100123456789 J83698541", None),
        ],
    )
    def test_without_the_word_that_gave_it_away(self, known, text, leaves_as):
        once = mask(text, known)
        assert once == (leaves_as or text)
        assert known.restore(once) == text

    def test_and_in_another_text_that_leaves_with_it(self):
        texts = ["It is 50100123456789.", "A/c no 50100123456789"]
        known = MaskingMap()
        assert [*mask_together({text: marks(text) for text in texts}, known).values()] == [
            "It is <ACCOUNT_1>.", "A/c no <ACCOUNT_1>",
        ]  # fmt: skip

    def test_after_it_was_stored(self, known):
        assert mask("It is 50100123456789.", MaskingMap.from_json(known.to_json())) == "It is <ACCOUNT_1>."

    def test_a_version_stays_one(self):
        assert mask("ip 10.0.0.7 and version 10.0.0.7", MaskingMap()) == "ip <IP_1> and version 10.0.0.7"


def test_addresses_as_answers_spell_them():
    """Answers make addresses dead; in the next prompt they are what was said before."""
    known = MaskingMap()
    text = "ramesh@example.co.in ramesh@example[.]co[.]in राम@उदाहरण[.]भारत"
    assert mask(text, known) == "<EMAIL_1> <EMAIL_1_2> <EMAIL_2>"
    assert known.restore(mask(text, known)) == text
