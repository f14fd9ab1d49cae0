"""Personal data: found, replaced before a text leaves the service, and put back for its owner. Pure code, no I/O."""

from app.privacy.masking import Finding, Masked, find, marks, mask, mask_together
from app.privacy.placeholders import PLACEHOLDER, MaskingMap, Restorer, kind_of

__all__ = [
    "PLACEHOLDER",
    "Finding",
    "Masked",
    "MaskingMap",
    "Restorer",
    "find",
    "kind_of",
    "marks",
    "mask",
    "mask_together",
]
