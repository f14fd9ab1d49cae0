"""Which file names are taken, and what each suffix claims to be."""

KIND_BY_SUFFIX = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".doc": "doc",
    ".txt": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
}
ALLOWED_SUFFIXES = tuple(KIND_BY_SUFFIX)
"""For messages and file pickers, most common first."""
