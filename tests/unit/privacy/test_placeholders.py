import json
from uuid import UUID

import pytest

from app.privacy import MaskingMap, Restorer, mask
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
