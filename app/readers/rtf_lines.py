"""What has been read of one stretch of an RTF file: paragraphs, rows of tables, text boxes."""


class Lines:
    """Paragraphs and rows of one stretch of text."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._cells: list[str] = []
        self._boxes: list[str] = []

    def write(self, text: str) -> None:
        self._line.append(text)

    def put_box(self, lines: list[str]) -> None:
        """The lines of a text box follow the paragraph that it is fixed to."""
        self._boxes += lines

    def end_paragraph(self, heading: int = 0) -> None:
        self.end_row()
        text = "".join(self._line)
        marked = f"{'#' * heading} {' '.join(text.split())}" if heading and text.strip() else text
        self._lines += [marked, *self._boxes]
        self._line, self._boxes = [], []

    def end_cell(self) -> None:
        """Its own lines, also those of a table inside it, are put side by side."""
        self._cells.append(" ".join(" ".join(["".join(self._line), *self._boxes]).split()))
        self._line, self._boxes = [], []

    def end_row(self) -> None:
        if any(self._cells):
            self._lines.append(" | ".join(self._cells))
        self._cells = []

    def finished(self) -> list[str]:
        if self._line or self._boxes:
            self.end_paragraph()
        self.end_row()
        return self._lines
