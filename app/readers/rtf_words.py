"""The control words of RTF that its reader treats alike."""

LEFT_OUT = frozenset({
    "colortbl", "filetbl", "header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr",
    "footerf", "pict", "shprslt", "sp", "fldinst", "fldtype", "nonesttables", "xe", "tc", "rxe", "private",
    "annotation", "generator", "mmath", "objdata", "ftnsep", "ftnsepc", "aftnsep", "aftnsepc", "listpicture",
})  # fmt: skip
READ_THOUGH_STARRED = frozenset({"shpinst", "do", "fonttbl", "footnote", "ud"})
"""`\\*` marks a group that a program may skip unless it knows it."""
WRITTEN = {
    "tab": "\t", "emdash": "—", "endash": "–", "emspace": " ", "enspace": " ", "qmspace": " ", "bullet": "•",
    "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "zwj": "\u200d", "zwnj": "\u200c",
    "~": "\u00a0", "_": "-", "-": "", "nestcell": " ",
}  # fmt: skip
NEVER_A_FALLBACK = frozenset({"tab", "zwj", "zwnj", "nestcell"})
PARAGRAPH_ENDS = frozenset({"par", "line", "lbr", "page", "column", "sect"})
HEADINGS: dict[int | None, int] = {level: min(level + 1, 6) for level in range(9)}  # 9 is for other text
PRIVATE_USE = {0xF0B7: "•", 0xF0A7: "▪"}  # bullets of the fonts Symbol and Wingdings
