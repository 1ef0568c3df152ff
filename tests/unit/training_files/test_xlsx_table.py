"""Workbooks as people have them, and as attackers make them."""

import datetime as dt
import io
import random
import re
import time
import zipfile

import openpyxl
import pytest

from speed import slowness
from tuningfork.training_files import xlsx_table
from tuningfork.training_files.table import NoText, Unreadable


def cells(content):
    return [dict(row.cells) for row in xlsx_table.read(content).rows]


def repacked(content, changes, method=zipfile.ZIP_DEFLATED):
    """The workbook with parts replaced: a function of the old bytes, or new ones."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", method) as new:
        parts = {name: old.read(name) for name in old.namelist()}
        for name, change in changes.items():
            parts[name] = change(parts.get(name, b"")) if callable(change) else change
        for name, part in parts.items():
            new.writestr(name, part)
    return packed.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
KINDS = "application/vnd.openxmlformats-officedocument.spreadsheetml"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def as_programs_write(rows, strings):
    """A workbook with shared strings, which openpyxl reads but does not write."""
    items = "".join(f"<si><t>{string}</t></si>" for string in strings).replace("<si><t></t></si><si>", "<si>")
    items = items.replace("</r></t></si>", "</r></si>")
    overrides = {
        "workbook": "sheet.main",
        "worksheets/sheet1": "worksheet",
        "sharedStrings": "sharedStrings",
        "styles": "styles",
    }
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        + "".join(
            f'<Override PartName="/xl/{part}.xml" ContentType="{KINDS}.{kind}+xml"/>'
            for part, kind in overrides.items()
        )
        + "</Types>",
        "_rels/.rels": relationships(officeDocument="xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": relationships(
            worksheet="worksheets/sheet1.xml", sharedStrings="sharedStrings.xml", styles="styles.xml"
        ),
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>'
        '<sheet name="Tabelle1" sheetId="1" r:id="worksheet"/></sheets></workbook>',
        "xl/styles.xml": f'<styleSheet {MAIN}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/sharedStrings.xml": f"<sst {MAIN}>{items}</sst>",
        SHEET: f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{part}')
    return packed.getvalue()


def relationships(**targets):
    lines = "".join(
        f'<Relationship Id="{kind}" Type="{RELATIONS}/{kind}" Target="{at}"/>' for kind, at in targets.items()
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{lines}</Relationships>'
    )


PLAIN = as_programs_write(
    '<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>', ["a", "b"]
)


def test_cells_are_what_a_person_sees(workbook):
    row = [
        1,
        2.0,
        0.1 + 0.2,
        0.5,
        42,
        True,
        dt.date(2024, 3, 14),
        dt.datetime(2024, 3, 14, 15, 9),  # noqa: DTZ001 - sheets know no zones
        dt.time(15, 9),
        " x ",
    ]
    content = workbook([list("abcdefghij"), row], {"D2": "0%", "E2": "00000"})

    assert list(cells(content)[0].values()) == [
        *("1", "2", "0.3", "50%", "00042", "TRUE", "2024-03-14", "2024-03-14 15:09:00", "15:09:00", " x ")
    ]


def test_a_workbook_as_spreadsheet_programs_write_it_is_read():
    sheet = """
        <row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>
        <row r="2" spans="1:2"><c r="A2" t="s"><v>2</v></c><c r="B2"><f>1+1</f><v>2</v></c></row>
        <row r="3"><c r="A3" t="s"><v>3</v></c><c r="B3" t="str"><f>"x"&amp;"y"</f><v>xy</v></c></row>
        <row r="5"><c r="A5" s="1"><v>45365</v></c><c r="B5" t="b"><v>0</v></c></row>"""
    strings = ["text_input", "output", "1_x000D_\n2", "</t></si><si><r><t>七</t></r><r><rPr><b/></rPr><t> 八</t></r>"]

    assert cells(as_programs_write(sheet, strings)) == [
        {"text_input": "1\n2", "output": "2"},
        {"text_input": "七 八", "output": "xy"},
        {"text_input": "2024-03-14", "output": "FALSE"},
    ]


def test_rows_know_their_numbers_and_empty_ones_are_passed_over(workbook):
    table = xlsx_table.read(workbook([[], ["a", "b"], [1, 2], [], [None, None], [3, 4]]))

    assert (table.header_place, [row.place for row in table.rows]) == ("row 2", ["row 3", "row 6"])


def test_only_the_first_sheet_is_read():
    workbook = openpyxl.Workbook()
    workbook.active.append(["a", "b"])
    workbook.active.append(["1", "2"])
    workbook.create_sheet("notes").append(["x", "y"])
    file = io.BytesIO()
    workbook.save(file)

    assert cells(file.getvalue()) == [{"a": "1", "b": "2"}]


def test_cells_beside_the_named_columns_are_left_out(workbook):
    assert cells(workbook([["a", None, "b"], ["1", "x", "2", "a note"]])) == [{"a": "1", "b": "2"}]


def test_a_formula_is_read_as_its_stored_result(workbook):
    content = workbook([["a", "b"], [1, "=A2+1"]])
    calculated = repacked(content, {SHEET: lambda xml: re.sub(rb"<f>A2\+1</f><v\s*/>", b"<f>A2+1</f><v>2</v>", xml)})

    assert cells(calculated) == [{"a": "1", "b": "2"}]


def test_a_formula_without_a_stored_result_is_no_empty_cell(workbook):
    (row,) = cells(workbook([["a", "b"], ["=1", "=2"]]))

    assert isinstance(row["a"], NoText)
    assert row["a"].kind == "a formula whose result is not stored"
    assert "save" in row["a"].advice


def test_an_error_in_a_cell_is_no_text(workbook):
    (row,) = cells(workbook([["a", "b"], ["#N/A", "x"]]))

    assert isinstance(row["a"], NoText)
    assert row["a"].kind == "the error #N/A"


def test_a_range_that_is_declared_too_small_hides_nothing(workbook):
    content = workbook([["a", "b"], ["1", "2"], ["3", "4"]])

    lying = repacked(content, {SHEET: lambda xml: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', xml)})

    assert cells(lying) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_an_empty_workbook_has_no_columns(workbook):
    assert xlsx_table.read(workbook([])).columns == ()


def test_what_openpyxl_has_to_say_about_other_parts_is_not_shown(workbook, recwarn):
    extension = b'<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
    content = workbook([["a", "b"], ["1", "2"]])

    assert cells(repacked(content, {SHEET: lambda xml: xml.replace(b"</worksheet>", extension)}))
    assert list(recwarn) == []


# Attacks


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(workbook):
    bomb = repacked(workbook([["a", "b"], ["1", "2"]]), {SHEET: bytes(200 * 1024 * 1024)})
    assert len(bomb) < 300_000

    began = time.process_time()
    with pytest.raises(Unreadable, match=r"it expands to 209,7\d\d,\d\d\d bytes"):
        xlsx_table.read(bomb)
    assert time.process_time() - began < 1 * slowness()


def test_a_part_that_is_larger_than_it_says_is_cut_off(workbook):
    bomb = bytearray(repacked(workbook([["a", "b"], ["1", "2"]]), {SHEET: bytes(50 * 1024 * 1024)}))
    size = (50 * 1024 * 1024).to_bytes(4, "little")
    lying = bytes(bomb).replace(size, (100).to_bytes(4, "little"))

    with pytest.raises(Unreadable, match="damaged workbook"):
        xlsx_table.read(lying)


def test_many_parts_are_refused(workbook):
    content = repacked(workbook([["a", "b"]]), {f"xl/x{number}": b"" for number in range(3_000)})

    with pytest.raises(Unreadable, match=r"in 3,0\d\d parts"):
        xlsx_table.read(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_which_cannot_be_bounded_is_refused(workbook, method):
    content = repacked(workbook([["a", "b"]]), {}, method)

    with pytest.raises(Unreadable, match="no spreadsheet program uses"):
        xlsx_table.read(content)


@pytest.mark.parametrize("part", [SHEET, "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml"])
def test_xml_that_declares_entities_is_refused(part):
    declared = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'

    assert cells(PLAIN) == [{"a": "b"}]
    with pytest.raises(Unreadable, match="damaged workbook"):
        xlsx_table.read(repacked(PLAIN, {part: lambda xml: xml.replace(b"?>", b"?>" + declared, 1)}))


@pytest.mark.parametrize("row", [2_000_000, 10**15])
def test_row_numbers_beyond_all_sheets_cost_nothing(workbook, row):
    content = workbook([["a", "b"], ["1", "2"]])
    far = f'<row r="{row}"><c r="A{row}" t="n"><v>1</v></c></row></sheetData>'.encode()

    began = time.process_time()
    assert cells(repacked(content, {SHEET: lambda xml: xml.replace(b"</sheetData>", far)})) == [{"a": "1", "b": "2"}]
    assert time.process_time() - began < 10 * slowness()


def test_columns_beyond_the_bound_are_refused(workbook):
    content = workbook([["a", "b"], ["1", "2"]])
    wide = b'<row r="9"><c r="XFD9" t="n"><v>1</v></c></row></sheetData>'

    with pytest.raises(Unreadable, match="it reaches beyond 1,000 columns"):
        xlsx_table.read(repacked(content, {SHEET: lambda xml: xml.replace(b"</sheetData>", wide)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"text"])
def test_what_is_no_archive_or_an_empty_one_is_no_workbook(content):
    with pytest.raises(Unreadable, match=r"not an XLSX workbook|damaged workbook"):
        xlsx_table.read(content)


@pytest.mark.parametrize("beginning", [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_old_or_encrypted_workbooks_are_told_by_name(beginning):
    with pytest.raises(Unreadable, match=r"an old \.xls workbook, or one with a password"):
        xlsx_table.read(beginning)


def test_damage_anywhere_is_an_error_or_nothing_but_never_a_surprise(workbook):
    content = workbook([["a", "b"], ["x", 1], ["=1", 0.5]], {"B3": "0%"})
    draw = random.Random(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            xlsx_table.read(bytes(damaged))
        except Unreadable:
            refused += 1
    assert refused > 100


def test_damage_within_the_xml_is_an_error_or_nothing_but_never_a_surprise():
    draw = random.Random(8)
    refused = 0

    def damaged(xml):
        place, much = draw.randrange(len(xml)), draw.randrange(6)
        return xml[:place] + bytes(draw.choices(b'<>"/=0123456789AZrstv &', k=much)) + xml[place + draw.randrange(6) :]

    for _ in range(300):
        part = draw.choice([SHEET, SHEET, "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml"])
        try:
            xlsx_table.read(repacked(PLAIN, {part: damaged}))
        except Unreadable:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("first", [[], [["Read me"]], [["text_input", "output"]]])
def test_a_first_sheet_without_examples_is_told_to_be_the_only_one_that_is_read(first):
    workbook = openpyxl.Workbook()
    for row in first:
        workbook.active.append(row)
    examples = workbook.create_sheet("Examples")
    for row in (["text_input", "output"], ["1", "2"]):
        examples.append(row)
    packed = io.BytesIO()
    workbook.save(packed)

    with pytest.raises(Unreadable) as caught:
        xlsx_table.read(packed.getvalue())

    (fault,) = caught.value.faults
    assert fault.problem == "its first sheet holds no examples, and the other sheets are not read."
    assert fault.advice == "Move the sheet with the examples to the front."
