""".xlsx, .pptx and .odt; and zips that are not what they are called."""

import datetime
from typing import Any

import pytest
from openpyxl.styles import Font  # type: ignore[import-untyped]

from app.readers import odt, pptx, read, xlsx
from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits
from tests.unit.readers import files
from tests.unit.readers.files import document, shape, sheet, slide

DAY = datetime.date(2024, 3, 5)
NOON = datetime.datetime.combine(DAY, datetime.time(12))


def code_of(data: bytes, kind: str, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        read(data, kind, limits=limits or Limits())
    return caught.value.code


def lines_of(data: bytes) -> list[str]:
    return xlsx.read(data).text.split("\n")


def with_sheet(inside: str) -> bytes:
    whole = f'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{inside}</worksheet>'
    return files.repacked(sheet(("x",)), {"xl/worksheets/sheet1.xml": whole})


def test_a_workbook_of_libreoffice() -> None:
    made = read(document("leave-policy.xlsx"), "xlsx")
    assert made.text.split("\n") == [
        *("# Days", "", "Leave of 2024", "", "- Office | Kind | Days | Since | Share"),
        "- Office: హైదరాబాద్ | Kind: Annual | Days: 20 | Since: 2024-03-05 | Share: 80%",
        "- Office: హైదరాబాద్ | Kind: Care | Days: 2.8 | Since: 2024-12-31 | Share: 20%",
        *("", "# Contacts", "", "- Office | Northwind House", "- Rooms | 12", "- Speaks | Anna"),
    ]
    assert (made.kind, made.title, [page.number for page in made.pages]) == ("xlsx", "Leave in numbers", [None])
    assert made.warnings == ["1 of 3 sheets are hidden and left out."]


def test_cells_are_shown_as_people_see_them() -> None:
    def fill(workbook: Any) -> None:
        rows = [
            ("Plan", "Price", "Since", "At", "Share", "Sum", "Open", "Note"),
            ("Gold", 49.0, DAY, NOON, 0.35, 0.1 + 0.2, True, "a\nb "),
            ("Silver", -1234.5, DAY, datetime.time(9, 5), 1, 12, False, "_x0041_\tc"),
            ("Bronze", "#N/A", None, None, None, "=1/0", None, None),
        ]
        for row in rows:
            workbook.active.append(row)
        for at in "234":
            workbook.active[f"B{at}"].number_format = '"$"#,##0.00'
            workbook.active[f"E{at}"].number_format = "0%"

    assert lines_of(files.xlsx(fill))[1:] == [
        "- Plan: Gold | Price: $49.00 | Since: 2024-03-05 | At: 2024-03-05 12:00 | Share: 35% | Sum: 0.3 | Open: TRUE"
        " | Note: a b",
        "- Plan: Silver | Price: -$1,234.50 | Since: 2024-03-05 | At: 09:05 | Share: 100% | Sum: 12 | Open: FALSE"
        " | Note: A c",
        "Bronze",
    ]


def test_results_that_were_not_stored_are_told() -> None:
    made = xlsx.read(sheet(("Sum",), ("=1+1",), ("=2+2",)))
    assert (made.text, made.warnings) == (
        "Sum",
        ["2 formulas have no stored result; open the file and save it once more."],
    )
    assert code_of(sheet(("=1+1",)), "xlsx") == "no_text"


def test_hidden_sheets_are_left_out_and_hidden_rows_are_not() -> None:
    def fill(workbook: Any) -> None:
        workbook.active.append(["seen"])
        workbook.active.append(["filtered"])
        workbook.active.row_dimensions[2].hidden = True
        for state in ("hidden", "veryHidden"):
            workbook.create_sheet(state)["A1"] = "secret"
            workbook[state].sheet_state = state

    made = xlsx.read(files.xlsx(fill))
    assert made.text == "seen\nfiltered"
    assert made.warnings == ["2 of 3 sheets are hidden and left out."]


def test_a_lone_sheet_without_a_name_of_its_own_has_no_heading() -> None:
    def text_under(name: str) -> str:
        def fill(workbook: Any) -> None:
            workbook.active["A1"] = "x"
            workbook.active.title = name

        return xlsx.read(files.xlsx(fill)).text

    assert [text_under(name) for name in ("Sheet1", "Tabelle 2", "Prices")] == ["x", "x", "# Prices\n\nx"]


@pytest.mark.parametrize("mark", ["bold", "frozen", "filter", "table"])
def test_a_workbook_may_mark_its_header(mark: str) -> None:
    def fill(workbook: Any) -> None:
        page = workbook.active
        for row in (("Plan", "Support"), ("Gold", "Phone"), ("Silver", "Chat")):
            page.append(row)
        if mark == "bold":
            page["A1"].font = page["B1"].font = Font(bold=True)
        elif mark == "frozen":
            page.freeze_panes = "A2"
        elif mark == "filter":
            page.auto_filter.ref = "A1:B3"
        elif mark == "table":
            from openpyxl.worksheet.table import Table  # type: ignore[import-untyped]

            page.add_table(Table(displayName="Plans", ref="A1:B3"))

    assert lines_of(files.xlsx(fill))[1:] == ["- Plan: Gold | Support: Phone", "- Plan: Silver | Support: Chat"]
    assert lines_of(sheet(("Plan", "Support"), ("Gold", "Phone"), ("Silver", "Chat")))[1] == "- Gold | Phone"


def test_a_bold_sum_is_no_header() -> None:
    def fill(workbook: Any) -> None:
        for row in (("Gold", 49), ("Silver", 29), ("Sum", 78), ("Bronze", 9)):
            workbook.active.append(row)
        workbook.active["A3"].font = workbook.active["B3"].font = Font(bold=True)

    assert lines_of(files.xlsx(fill)) == ["- Gold | 49", "- Silver | 29", "- Sum | 78", "- Bronze | 9"]


def test_merged_cells_belong_to_each_row_and_name_each_column() -> None:
    def fill(workbook: Any) -> None:
        page = workbook.active
        for row in (("Office", 2023, None, 2024, None), (None, "Days", "Cost", "Days", "Cost"), ("Pune", 1, 2, 3, 4)):
            page.append(row)
        page.append((None, 5, 6, 7, 8))
        for cells in ("A1:A2", "B1:C1", "D1:E1", "A3:A4"):
            page.merge_cells(cells)

    assert lines_of(files.xlsx(fill)) == [
        "- Office | 2023 Days | 2023 Cost | 2024 Days | 2024 Cost",
        "- Office: Pune | 2023 Days: 1 | 2023 Cost: 2 | 2024 Days: 3 | 2024 Cost: 4",
        "- Office: Pune | 2023 Days: 5 | 2023 Cost: 6 | 2024 Days: 7 | 2024 Cost: 8",
    ]


def test_a_sheet_that_claims_every_cell_costs_what_it_holds() -> None:
    cells = (("A", 1), ("XFD", 1048576))
    first, last = (f'<row r="{at}"><c r="{cell}{at}"><v>{at}</v></c></row>' for cell, at in cells)
    merged = '<mergeCells><mergeCell ref="C5:XFD1048576"/><mergeCell ref="A1:A1048576"/></mergeCells>'
    data = with_sheet(f'<dimension ref="A1:XFD1048576"/><sheetData>{first}<row r="2"/>{last}</sheetData>{merged}')
    assert lines_of(data) == ["1", "", "- 1 | 1048576"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ('<row><c t="str"><v>a</v></c><c t="d"><v>2024-03-05T00:00:00</v></c></row>', "- a | 2024-03-05"),
        ('<row r="9"><c r="B9"><v>7</v></c><c><v>8</v></c></row>', "- 7 | 8"),
        ('<row><c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r><rPh><t>x</t></rPh></is></c></row>', "ab"),
        ('<row><c s="99"><v>1.50</v></c><c s="-1"><v>NaN</v></c></row>', "- 1.5 | NaN"),
        ('<row r="2"><c r="AAAAAAAA2" t="b"><v>1</v></c></row>', "TRUE"),
        (
            '<row><c r="AAAA1" t="str"><v>Days</v></c><c r="AAAB1" t="str"><v>Cost</v></c></row>'
            "<row><c><v>2</v></c><c><v>3</v></c></row><row><c><v>4</v></c><c><v>5</v></c></row>",
            "- Days | Cost\n- Days: 2 | Cost: 3\n- Days: 4 | Cost: 5",
        ),
    ],
)
def test_unusual_cells(row: str, text: str) -> None:
    assert xlsx.read(with_sheet(f"<sheetData>{row}</sheetData>")).text == text


@pytest.mark.parametrize(
    "inside",
    [
        '<sheetData><row><c t="s"><v>5</v></c></row></sheetData>',
        "<sheetData><row><c><v>seven</v></c></row></sheetData>",
        '<sheetData><row r="x"><c><v>7</v></c></row></sheetData>',
        f'<sheetData><row r="{"9" * 5000}"><c><v>7</v></c></row></sheetData>',
        "<sheetData><row><c><v>7</v></c></sheetData>",
        "<sheetData><row><c><v>&x;</v></c></row></sheetData>",
    ],
)
def test_broken_sheets(inside: str) -> None:
    assert code_of(with_sheet(inside), "xlsx") == "bad_file"


def test_workbooks_are_bounded() -> None:
    data = sheet(("name", "price"), *(("x" * 50, n) for n in range(2000)))
    assert code_of(data, "xlsx", Limits(max_text_bytes=100_000)) == "too_large"
    assert len(read(data, "xlsx", limits=Limits(max_text_bytes=200_000)).text) > 100_000


def test_slides_of_libreoffice() -> None:
    made = read(document("leave-policy.pptx"), "pptx")
    assert [(page.number, page.text.split("\n")) for page in made.pages] == [
        (1, ["# Leave policy", "", "For everybody in Hyderabad"]),
        (
            2,
            [
                *("# Annual leave", "", "- 20 days a year", "  - unused days end on 31 March", "- సెలవు విధానం"),
                *("", "Notes:", "Say that half days count as half."),
            ],
        ),
        (3, ["# Kinds", "", "Kind | Days", "Annual | 20", "", "Inside a group", "", "In a shape"]),
    ]
    assert (made.kind, made.title, made.warnings) == ("pptx", "Leave in slides", [])


def test_slides_come_in_the_order_of_the_show_with_their_numbers() -> None:
    order = files.relations(("r1", "slide", "slides/slide3.xml"), ("r3", "slide", "/ppt/slides/slide1.xml"))
    moved = files.repacked(
        files.pptx([shape("one"), shape("two"), shape("three")]), {"ppt/_rels/presentation.xml.rels": order}
    )
    assert [(page.number, page.text) for page in pptx.read(moved).pages] == [(1, "three"), (2, "one")]


def test_a_slide_without_text_keeps_its_number() -> None:
    made = pptx.read(files.pptx([shape("one"), "", shape("three")]))
    assert [(page.number, page.text) for page in made.pages] == [(1, "one"), (2, ""), (3, "three")]
    assert made.warnings == ["1 of 3 pages hold no text."]
    assert code_of(files.pptx(["", ""]), "pptx") == "no_text"


def test_the_title_is_first_and_furniture_is_left_out() -> None:
    hidden = shape("hidden").replace("<p:cNvPr/>", '<p:cNvPr hidden="1"/>')
    furniture = "".join(shape("x", place=f'type="{place}"') for place in ("dt", "ftr", "sldNum"))
    shapes = shape("body", place='idx="1"') + furniture + hidden + shape("The", "title", place='type="ctrTitle"')
    assert pptx.read(files.pptx([shapes])).text == "# The title\n\nbody"


def test_paragraphs_keep_bullets_breaks_and_levels() -> None:
    run = "<a:r><a:t>{}</a:t></a:r>"
    paragraphs = (
        f"<a:p>{run.format('a')}<a:br/>{run.format('b')}</a:p>",
        f'<a:p><a:pPr lvl="1"/>{run.format("c")}<a:fld type="slidenum"><a:t>9</a:t></a:fld></a:p>',
        f"<a:p><a:pPr><a:buNone/></a:pPr>{run.format('d')}</a:p><a:p/>",
    )
    own = f'<a:p><a:pPr><a:buAutoNum type="x"/></a:pPr>{run.format("e")}</a:p>'
    made = pptx.read(files.pptx([shape(*paragraphs, place='type="body"') + shape(own, "f")]))
    assert made.text == "- a\nb\n  - c\nd\n\n- e\nf"


GRAPHIC = (
    "<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr/></p:nvGraphicFramePr>"
    "<a:graphic><a:graphicData>{}</a:graphicData></a:graphic></p:graphicFrame>"
)


def cell(text: str, marks: str = "") -> str:
    return f"<a:tc {marks}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"


def test_tables_are_rows_and_groups_are_opened() -> None:
    rows = [cell("Plan", 'gridSpan="2"') + cell("", 'hMerge="1"'), cell("Gold") + cell("49"), cell("") + cell("")]
    table = GRAPHIC.format(f"<a:tbl>{''.join(f'<a:tr>{row}</a:tr>' for row in rows)}</a:tbl>")
    two = f"<x:Choice>{shape('new')}</x:Choice><x:Fallback>{shape('old')}</x:Fallback>"
    choice = f"<x:AlternateContent xmlns:x='x'>{two}</x:AlternateContent>"
    group = f"<p:grpSp><p:nvGrpSpPr><p:cNvPr/></p:nvGrpSpPr><p:grpSp>{shape('deep')}{table}</p:grpSp>{choice}</p:grpSp>"
    assert pptx.read(files.pptx([group])).text == "deep\n\nPlan\nGold | 49\n\nnew"


def test_notes_diagrams_and_charts_belong_to_their_slide() -> None:
    names = 'xmlns:d="d" xmlns:a="a"'
    series = (
        "<c:ser><c:tx><c:v>{}</c:v></c:tx>"
        "<c:cat><c:pt idx='0'><c:v>North</c:v></c:pt><c:pt idx='1'><c:v>South</c:v></c:pt></c:cat>"
        "<c:val><c:numRef><c:formatCode>0%</c:formatCode><c:pt idx='1'><c:v>{}</c:v></c:pt>"
        "<c:pt idx='0'><c:v>0.5</c:v></c:pt></c:numRef></c:val></c:ser>"
    )
    title = "<c:chart><c:title><a:t xmlns:a='a'>Growth</a:t></c:title></c:chart>"
    both = series.format("Sales", 0.25) + series.format("Cost", 1)
    extra = {
        "ppt/slides/_rels/slide1.xml.rels": files.relations(
            ("d", "diagramData", "../diagrams/data1.xml"),
            ("c", "chart", "../charts/chart1.xml"),
            ("n", "notesSlide", "../notesSlides/notesSlide1.xml"),
            ("l", "slideLayout", "../slideLayouts/slideLayout1.xml"),
        ),
        "ppt/diagrams/data1.xml": f"<d:m {names}><d:pt><d:t><a:p><a:r><a:t>step</a:t></a:r></a:p></d:t></d:pt></d:m>",
        "ppt/charts/chart1.xml": f"<c:x xmlns:c='c'>{title}{both}</c:x>",
        "ppt/slideLayouts/slideLayout1.xml": slide(shape("Click to add a title"), "sldLayout"),
        "ppt/notesSlides/notesSlide1.xml": slide(
            shape("9", place='type="sldNum"') + shape("Say", "this.", place='type="body"'), "notes"
        ),
    }
    shapes = GRAPHIC.format('<d:relIds xmlns:d="d" r:dm="d"/>') + GRAPHIC.format('<c:chart xmlns:c="c" r:id="c"/>')
    made = pptx.read(files.pptx([shapes, shape("two")], extra=extra))
    assert made.pages[0].text.split("\n") == [
        *(
            "step",
            "",
            "Growth",
            "- Sales | Cost",
            "- North | Sales: 50% | Cost: 50%",
            "- South | Sales: 25% | Cost: 100%",
        ),
        *("", "Notes:", "Say", "this."),
    ]
    assert made.pages[1].text == "two"


def test_nothing_outside_the_package_is_followed() -> None:
    outside = files.relations(("r1", "slide", "http://127.0.0.1:9/slide.xml")).replace(
        "/>", ' TargetMode="External"/>', 1
    )
    assert (
        code_of(files.repacked(files.pptx([shape("x")]), {"ppt/_rels/presentation.xml.rels": outside}), "pptx")
        == "no_text"
    )
    beyond = files.relations(("r1", "slide", "../../../../etc/passwd"))
    assert (
        code_of(files.repacked(files.pptx([shape("x")]), {"ppt/_rels/presentation.xml.rels": beyond}), "pptx")
        == "bad_file"
    )


def test_presentations_are_bounded() -> None:
    data = files.pptx([shape("word " * 2000)] * 5)
    assert code_of(data, "pptx", Limits(max_pages=4)) == "too_many_pages"
    assert code_of(data, "pptx", Limits(max_text_bytes=30_000)) == "too_large"
    assert len(read(data, "pptx", limits=Limits(max_pages=5, max_text_bytes=60_000)).pages) == 5


def test_a_text_of_libreoffice() -> None:
    made = read(document("leave-policy.odt"), "odt")
    assert made.text.split("\n") == [
        *("# Leave policy", "# Annual leave"),
        "Each employee has 20 days of paid leave a year. Unused days end on 31   March.",
        "ప్రతి ఉద్యోగికి సంవత్సరానికి 20 రోజుల వేతన సెలవు ఉంటుంది.",
        *("- Ask your manager first.", "  - By e-mail\tor in person.", "- Write down the dates.", "## Kinds of leave"),
        *("Kind | Days | చెల్లింపు", "Annual | 20 | అవును", "Care for children under six | 10 | ", "Both together | no"),
        *("A box stands here.", "Text in a box.", "Questions go to", "the office.", "Half days count as half."),
    ]
    assert (made.kind, made.title, [page.number for page in made.pages]) == ("odt", "Leave policy 2024", [None])


def p(*inside: str) -> str:
    return f"<text:p>{''.join(inside)}</text:p>"


def items(*inside: str) -> str:
    return f"<text:list>{''.join(f'<text:list-item>{item}</text:list-item>' for item in inside)}</text:list>"


NOTE = f"<text:note><text:note-citation>1</text:note-citation><text:note-body>{p('note')}</text:note-body></text:note>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p("a\n <text:span>b</text:span><text:s text:c='2'/>c "), "a b  c"),
        (p("x<text:s text:c='1000000000'/>y"), f"x{' ' * 100}y"),
        ("<text:h text:outline-level='9'>a<text:line-break/>b</text:h><text:h/>", "###### a b"),
        (p("a<text:change/>") + f"<text:tracked-changes>{p('gone')}</text:tracked-changes>", "a"),
        (p("a", f"<office:annotation>{p('comment')}</office:annotation>", "b"), "ab"),
        (f"<text:table-of-content>{p('1 A')}</text:table-of-content><text:section>{p('s')}</text:section>", "s"),
        (f"<text:section text:display='none'>{p('x')}</text:section>" + p("y"), "y"),
        (p("a<text:ruby><text:ruby-base>b</text:ruby-base><text:ruby-text>c</text:ruby-text></text:ruby>"), "ab"),
        (
            p("a", f"<draw:a><draw:frame><draw:text-box>{p('box')}</draw:text-box></draw:frame></draw:a>", "b"),
            "ab\nbox",
        ),
        (p("a", NOTE) + p("b"), "a\nb\nnote"),
        (items("<text:h>H</text:h>", p("i") + p("j") + items(p("k"))), "# H\n- i\n  j\n  - k"),
    ],
    ids=["spaces", "many spaces", "heading", "deleted", "comment", "contents", "hidden", "ruby", "box", "note", "list"],
)
def test_text_is_what_a_reader_sees(body: str, text: str) -> None:
    assert odt.read(files.odt(body)).text == text


def test_the_title_of_a_text_is_a_heading_under_whatever_style() -> None:
    style = '<style:style style:name="P1" style:parent-style-name="Title"/><style:style style:name="P2"/>'
    content = (
        f'<office:document-content xmlns:office="{files.ODF}:office:1.0" xmlns:style="{files.ODF}:style:1.0"'
        f' xmlns:text="{files.ODF}:text:1.0"><office:automatic-styles>{style}</office:automatic-styles><office:body>'
        '<office:text><text:p text:style-name="P1">a</text:p><text:p text:style-name="P2">b</text:p></office:text>'
        "</office:body></office:document-content>"
    )
    assert odt.read(files.odt("", extra={"content.xml": content})).text == "# a\nb"


def row(*cells: str) -> str:
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def td(inside: str, marks: str = "") -> str:
    return f"<table:table-cell {marks}>{inside}</table:table-cell>"


COVERED = "<table:covered-table-cell/>"


def test_cells_of_a_text_stand_in_their_columns() -> None:
    inner = f"<table:table>{row(td(p('x')), td(p('y')))}</table:table>"
    rows = [
        f"<table:table-header-rows>{row(td(p('a')), td(p('b')))}</table:table-header-rows>",
        row(td(inner), td(p("1") + p("2"))),
        row(
            td(p("wide"), 'table:number-columns-spanned="2"'), COVERED, td(p("r"), 'table:number-columns-repeated="2"')
        ),
        row(COVERED, td(p("z"))),
        row(td(p()), td("")),
    ]
    made = odt.read(files.odt(f"<table:table>{''.join(rows)}</table:table>"))
    assert made.text.split("\n") == ["a | b", "x | y | 1 2", "wide | r | r", " | z"]


def test_protected_texts_are_told() -> None:
    protected = {
        "META-INF/manifest.xml": "<m><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></m>"
    }
    assert code_of(files.odt("", extra=protected), "odt") == "encrypted"
    assert (
        code_of(files.odt("<text:p>x</text:p>", extra={"content.xml": b"\x93\x11", **protected}), "odt") == "encrypted"
    )


def test_macros_of_a_text_bring_their_doctype_and_its_manifest_may() -> None:
    doctype = '<!DOCTYPE x PUBLIC "-//OpenOffice.org//DTD" "x.dtd">'
    extra = {"Basic/Standard/script-lb.xml": f"{doctype}<x/>", "META-INF/manifest.xml": f"{doctype}<x/>"}
    assert odt.read(files.odt("<text:p>x</text:p>", extra=extra)).text == "x"


def test_long_texts_are_bounded() -> None:
    data = files.odt("<text:p>word word word</text:p>" * 5000)
    assert code_of(data, "odt", Limits(max_text_bytes=50_000)) == "too_large"
