from typing import ClassVar

import regex

from app.rag.safe_output.stage import Stage

LINE_BREAK = "\ufdd2"
"""A `<br>` that the guard lets through: tables have no other way to break a line."""
_TAG = regex.compile(
    r"<(?:(?P<address>[A-Za-z][A-Za-z0-9+.\-]{1,31}+:[^\s<>]*+|[\w.+\-]++@[^\s<>]*+)"
    r"|/?(?P<name>[A-Za-z][A-Za-z0-9]*+)"
    r"(?:[\s/]++[\w:@.\-]++){0,2}+(?:\s*+=(?:[^<>\n]|\n(?!\s*\n))*+|[\s/]*+))>"
    r"|<!--(?:[^<\n]|\n(?!\s*\n))*?-->|<[!?][A-Za-z\[](?:[^<>\n]|\n(?!\s*\n))*+>"
)
"""`<b and c is` is no tag: more than two attributes need a value somewhere."""
_NAME = regex.compile(r"</?([A-Za-z][A-Za-z0-9]*+)(?=[^A-Za-z0-9@:.+\-])")
_ELEMENTS = """
a abbr acronym address animate applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote
body br button canvas caption center circle cite code col colgroup command data datalist dd del details dfn dialog dir
div dl dt ellipse em embed fieldset figcaption figure font footer foreignobject form frame frameset g h1 h2 h3 h4 h5 h6
head header hgroup hr html i iframe image img input ins isindex kbd keygen label legend li line link listing main map
mark marquee math menu menuitem meta meter nav nobr noembed noframes noscript object ol optgroup option output p param
path picture plaintext polygon polyline portal pre progress q rb rect rp rt rtc ruby s samp script search section select
set slot small source span strike strong style sub summary sup svg table tbody td template text textarea tfoot th thead
time title tr track tspan tt u ul use var video wbr xmp
"""
_KNOWN = frozenset(_ELEMENTS.split())


class Tags(Stage):
    """Removes the tags of HTML, unwraps `<https://...>`, leaves the sign where it is no tag: the guard sees to it.

    In code a tag is left as text.
    """

    start: ClassVar[regex.Pattern[str]] = regex.compile("<")

    def resolve(self, at: int) -> tuple[str, int]:
        if self._code.inside or self._unknown(at):
            return self.literal(at)
        tag = self.match(_TAG, at)
        if tag is None:
            return self.literal(at)
        if tag["address"]:
            return tag["address"], tag.end()
        return (LINE_BREAK if (tag["name"] or "").lower() == "br" else ""), tag.end()

    def _unknown(self, at: int) -> bool:
        """Such as List<String>, or a < b."""
        name = _NAME.match(self._text, at)
        return name is not None and name[1].lower() not in _KNOWN
