"""What is wrong with a field, in words of our own: codes that stay, sentences that quote nothing."""

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.schemas.common import ProblemError

MOST_ERRORS = 50
Body = TypeVar("Body", bound=BaseModel)
NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
SENTENCES = {
    "missing": "It is required.",
    "extra_forbidden": "There is no such field.",
    "wrong_type": "It is of the wrong type.",
    "not_allowed": "It is not one of the values that are allowed.",
    "out_of_range": "It is not within the range that is allowed.",
    "too_short": "It is shorter than allowed.",
    "too_long": "It is longer than allowed.",
    "invalid_unicode": "Text must be valid Unicode; a lone surrogate is not.",
    "invalid_character": "U+0000 is not allowed in text.",
    "empty_content": "It must not be empty.",
    "unsupported_language": "This language is not supported.",
    "invalid_value": "The value is not valid.",
}
ID_SENTENCE = "It must be an id as this service writes them: in lower case, with hyphens."
BOUNDS = {
    "max_length": "It may have {} {} at most.",
    "min_length": "It must have {} {} at least.",
    "le": "It must be {} at most.",
    "ge": "It must be {} at least.",
}
CODES = {
    "string_unicode": "invalid_unicode",
    "literal_error": "not_allowed",
    "enum": "not_allowed",
    "string_pattern_mismatch": "not_allowed",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "int_parsing_size": "out_of_range",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "int_from_float": "wrong_type",
    "model_attributes_type": "wrong_type",
    "uuid_parsing": "not_allowed",
}
"""The validator's kinds of fault; those that end in `_type` or `_parsing` are a wrong type, the rest stands above."""


def valid(model: type[Body], data: object) -> Body:
    """As FastAPI does it for the bodies that it reads itself."""
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        raise RequestValidationError([error | {"loc": ("body", *error["loc"])} for error in exc.errors()]) from exc


def missing(name: str) -> RequestValidationError:
    """For a field of the body that only some callers may leave out."""
    return RequestValidationError([{"type": "missing", "loc": ("body", name)}])


def refuse_fields(data: object, *, part: Literal["body", "query"] = "body") -> None:
    """For an address that is told nothing: what would be passed over in silence is a misunderstanding."""
    if not isinstance(data, dict):
        raise RequestValidationError([{"type": "dict_type", "loc": (part,)}])
    if data:
        raise RequestValidationError([{"type": "extra_forbidden", "loc": (part, name)} for name in data])


def field_errors(errors: Sequence[Any]) -> list[ProblemError]:
    return [_field_error(error) for error in errors[:MOST_ERRORS]]


def _field_error(error: Any) -> ProblemError:
    code = code_of(error["type"])
    return ProblemError(pointer=_pointer(error["loc"][1:]), code=code, detail=_sentence(code, error.get("ctx", {})))


def code_of(kind: str) -> str:
    if kind in SENTENCES:
        return kind
    if kind in CODES:
        return CODES[kind]
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"


def _pointer(location: Sequence[object]) -> str:
    """JSON pointer (RFC 6901); a name that no field of ours could have is not repeated."""
    names = []
    for part in location:
        if not NAME.fullmatch(str(part)):
            break
        names.append(f"/{part}")
    return "".join(names)


def _sentence(code: str, bounds: dict[str, Any]) -> str:
    if code in {"out_of_range", "too_short", "too_long"}:
        for name, sentence in BOUNDS.items():
            if name in bounds:
                unit = "item" if bounds.get("field_type") == "List" else "character"
                return sentence.format(bounds[name], unit if bounds[name] == 1 else f"{unit}s")
    return ID_SENTENCE if "id" in bounds else SENTENCES[code]
