"""Every kind of personal data that is masked. A new one is a file, or a part of one, and a name here.

Where two kinds claim the same characters the longer one wins, then the one that is named first.
"""

from app.privacy.entities.aadhaar import AADHAAR, VID
from app.privacy.entities.banking import ACCOUNT, IBAN, IFSC
from app.privacy.entities.cards import CARD
from app.privacy.entities.companies import CIN, UDYAM
from app.privacy.entities.email import EMAIL
from app.privacy.entities.europe import CODICE_FISCALE, NIF, NIR, NIR_CORSICA, STEUER_ID, VAT
from app.privacy.entities.network import IP, MAC
from app.privacy.entities.papers import LICENCE, PASSPORT, VEHICLE, VOTER
from app.privacy.entities.phones import PHONE
from app.privacy.entities.secrets import API_KEY, AWS_KEY, JWT, PRIVATE_KEY
from app.privacy.entities.tax import GSTIN, PAN, TAN
from app.privacy.entities.upi import UPI
from app.privacy.entity import Entity

ENTITIES: tuple[Entity, ...] = (
    *(PRIVATE_KEY, JWT, AWS_KEY, API_KEY),
    *(AADHAAR, VID, CARD, GSTIN, PAN, TAN, IBAN, IFSC, UPI, EMAIL, PHONE, ACCOUNT),
    *(PASSPORT, LICENCE, VOTER, VEHICLE, UDYAM, CIN),
    *(NIR, NIR_CORSICA, STEUER_ID, NIF, CODICE_FISCALE, VAT),
    *(IP, MAC),
)
