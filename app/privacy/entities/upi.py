"""UPI addresses. What looks like one but ends in a word that no bank has is masked where it is called so."""

import re
import string
from collections.abc import Iterator

from app.privacy.entity import Entity, Span, lowered
from app.privacy.folding import Folded
from app.privacy.labels import labelled

_ADDRESS = re.compile(r"@(?<=[\w.\-]@)[A-Za-z]{2,64}(?!\.?[0-9A-Za-z])", re.ASCII)
_NAME = string.ascii_letters + string.digits + "_.-"
_LONGEST_NAME = 256
_BANKS = """
abcdicici abfspay airtel airtelpaymentsbank allbank amazonpay andb apl axis axisb axisbank axisgo axl aubank
barodampay bandhan birla boi bpunity cboi cbin centralbank citi citibank citigold cmsidfc cnrb csbcash csbpay cub dbs
dcb dcbbank dhani dlb eazypay equitas esaf ezeepay fam fbl fbpe federal fifederal finobank freecharge freoicici goaxb
goaxis hdfcbank hdfcbankjd hsbc ibl icici icicibank icicipay idbi idbibank idfc idfcbank idfcfirst idfcnetc ikwik
imobile indbank indianbank indianbk indie indus indusind iob jio jiopay jkb jsb jsbp jupiteraxis kaypay kbl kbl052 kmb
kmbl kotak kotak811 kvb kvbank lime lvb lvbank mahb mairtel mboi myicici naviaxis niyoicici nkgsb nsdl obc okaxis
okbizaxis okhdfcbank okicici okpayaxis oksbi omni payzapp paytm pingpay pinelabs pnb pockets postbank psb ptaxis
pthdfc ptsbi ptyes purz pz rajgovhdfcbank rapl rbl rmhdfcbank rzp razorpay s2b sbi sc scb scbl scmobile seyes
shriramhdfcbank sib slc sliceaxis spicepay srcb superyes synd syndbank syndicate tapicici timecosmos tjsb trans ubi
uboi ucb uco unionbank unionbankofindia united upi utbi utkarshbank vijayabank vijb vjb waaxis wahdfcbank waicici
wasbi yapl ybl yesbank yescred yesg yespay yespop zoicici
"""
_HANDLES = frozenset(_BANKS.split())
_BANKING = re.compile(r"(?:bank|upi|pay|axis|icici|hdfc|sbi)\Z")
_MOBILE = re.compile(r"(?:91|0)?[6-9][0-9]{9}(?:-[0-9])?\Z")


def _find(folded: Folded) -> Iterator[Span]:
    text = folded.text
    for match in _ADDRESS.finditer(text):
        before = text[max(0, match.start() - _LONGEST_NAME) : match.start()]
        name = before[len(before.rstrip(_NAME)) :].lstrip(".-")
        if len(name) > 1 and _is_address(text, match.start() - len(name), match):
            yield match.start() - len(name), match.end()


def _is_address(text: str, start: int, match: re.Match[str]) -> bool:
    handle = match.group()[1:].lower()
    if handle in _HANDLES or _BANKING.search(handle) or _MOBILE.match(text, start, match.start()):
        return True
    return labelled(text, start, match.end(), "upi")


UPI = Entity("UPI", _find, canonical=lowered)
