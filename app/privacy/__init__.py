"""Personal data: found, replaced before a text leaves the service, and put back for its owner. Pure code, no I/O."""

from app.privacy.masking import Finding, Masked, find, mask
from app.privacy.placeholders import MaskingMap, Restorer

__all__ = ["Finding", "Masked", "MaskingMap", "Restorer", "find", "mask"]
