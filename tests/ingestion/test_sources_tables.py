"""Tables in CSV and TSV: how cells are separated is known, stated, or an error with a remedy."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivec import Document, ingest, open_store
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source, tables
from trivec.stores.store import Store
from trivec.testing import HashEncoder

BOMB = [
    '1\t"Little Boy" was dropped',
    "2\tFat Man",
    '3\tan inch is 1"',
    '4\t2 out of 5"',
    "5\t'x'",
    '6\t"',
]


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def read(source: Source) -> tuple[dict[str, str], list[Rejected], str]:
    """Return the texts by id, the rejects, and the error that ended the file."""
    texts: dict[str, str] = {}
    rejects: list[Rejected] = []
    try:
        for one in source:
            if isinstance(one, Rejected):
                rejects.append(one)
            else:
                assert one.id not in texts
                texts[one.id] = one.text
    except (InvalidDocumentError, InvalidOptionError) as error:
        return texts, rejects, str(error)
    return texts, rejects, ""


@pytest.fixture
def collection(encoder: HashEncoder, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema)
        yield store
        store.drop()


# --- TSV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_a_quote_in_tsv_is_a_character(tmp_path: Path, end: str, last: bool) -> None:
    content = end.join(["id\ttext", *BOMB]) + end * last
    texts, rejects, error = read(Source(write(tmp_path / "a.tsv", content)))
    assert texts == dict(line.split("\t") for line in BOMB)
    assert (rejects, error) == ([], "")


def test_quotes_in_tsv_swallow_nothing_that_prune_would_delete(
    tmp_path: Path, encoder: HashEncoder, collection: Store
) -> None:
    path, journal = tmp_path / "a.tsv", tmp_path / "a.journal"
    write(path, "id\ttext\n" + "".join(f"{i}\ttext {i}\n" for i in range(1, 7)))
    ingest(Source(path), encoder, collection, journal=journal, prune=True)
    write(path, "\n".join(["id\ttext", '1\t"Little Boy', *BOMB[1:]]))
    report = ingest(Source(path), encoder, collection, journal=journal, prune=True)
    assert (report.documents, report.pruned, collection.count()) == (6, 0, 6)
    assert collection.get(["1"]).documents == [Document("1", '"Little Boy')]


def test_tsv_whose_quotes_enclose_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    rows = {"1": 'a\ttab and a "quote"', "2": "two\nlines", "3": "plain"}
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, "excel-tab").writerows([("id", "text"), *rows.items()])
    assert read(Source(path, quoting="csv")) == (rows, [], "")
    texts, rejects, error = read(Source(path))
    assert (texts, error) == ({"2": '"two', "3": "plain"}, "")
    assert [reject.content for reject in rejects] == ['1\t"a\ttab and a ""quote"""', 'lines"']
    assert "give quoting='csv' (--quoting csv)" in rejects[0].problem


def test_cells_of_tsv_that_quotes_may_enclose_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.tsv", 'id\ttext\n1\t"a ""b"""\n2\t"\n3\t"x" y\n')
    with caplog.at_level(logging.WARNING, "trivec"):
        texts, *_ = read(Source(path))
    assert texts == {"1": '"a ""b"""', "2": '"', "3": '"x" y'}
    (message,) = caplog.messages
    assert message.startswith(f"{path}: quotes around cells were kept as they are (records: 1)")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "trivec"):
        read(Source(path, quoting="none"))
    assert not caplog.messages


def test_a_carriage_return_inside_a_line_is_a_character(tmp_path: Path) -> None:
    for name, content in (
        ("a.tsv", "id\ttext\n1\tone\rtwo\n2\tx\\ty\n"),
        ("a.csv", "id,text\n1,one\rtwo\n2,x\\ty\n"),
    ):
        assert read(Source(write(tmp_path / name, content)))[0] == {"1": "one\rtwo", "2": "x\\ty"}


# --- CSV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_as_others_write_it(tmp_path: Path, end: str) -> None:
    rows = {
        "1": 'He said "hello", and left',
        "2": f"two{end}lines, and{end}{end}more{end}",
        "3": '"',
        "4": "",
        "5": '""',
        "6": ",",
        "007": "x" * 200_000,
    }
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=quoting, lineterminator=end)
            writer.writerows([("id", "text"), *rows.items()])
        assert read(Source(tmp_path / "a.csv")) == (rows, [], "")


HEAD = "id,text\n2,the true two\n"


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ('1,"He said "hello" to\n2,them and left"\n', "line 3"),
        ('1,"unclosed\n2,"b"\n', "lines 3 to 4"),
        ('1,"unclosed\n2,"b, c"\n2,d\n', "lines 3 to 4"),
        ('1,"unclosed\n2,", and so on"\n', "lines 3 to 4"),
        ('1,"unclosed\n2,b\n4,c\n', "lines 3 to 6"),
        ('1,"escaped \\"quote\\""\n', "line 3"),
        ('1,"ends \\""\n2,"b"\n', "lines 3 to 4"),
        ('1,He said "hello\n2,them" and left\n', "line 3"),
        ('1, "a blank before, the quote"\n', "line 3"),
        ('1,"two\nlines",and a cell\n2,x\n', "lines 3 to 4"),
        ('1,"two\nlines\n', "lines 3 to 5"),
    ],
)
def test_where_quotes_are_broken_the_file_ends(
    tmp_path: Path, encoder: HashEncoder, collection: Store, broken: str, where: str
) -> None:
    path = write(tmp_path / "a.csv", HEAD + broken + "3,ok\n")
    texts, rejects, error = read(Source(path))
    assert texts == {"2": "the true two"}
    (reject,) = rejects
    assert reject.where == f"{path}, {where}"
    assert f"{broken}3,ok\n".startswith(f"{reject.content}\n")
    assert error == f"{reject.where}: {reject.problem}"
    assert "1 record before it was read, and nothing after it" in error
    journal = tmp_path / "a.journal"
    ingest([Document("2", "old"), Document("3", "ok")], encoder, collection, journal=journal)
    rejected: list[Rejected] = []
    with pytest.raises(InvalidDocumentError, match="nothing after it"):
        ingest(
            Source(path),
            encoder,
            collection,
            journal=journal,
            prune=True,
            on_error="skip",
            rejected=rejected.append,
        )
    assert rejected == rejects
    stored = {d.id: d.text for d in collection.get(["1", "2", "3"]).documents}
    assert stored == {"2": "the true two", "3": "ok"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x,text,more\n", "3 cells, the header has 2"),
        ("x\n", "1 cells, the header has 2"),
        ('"x","te""xt",more\n', "3 cells, the header has 2"),
        (b"x,gr\xfcn\n", "not in UTF-8: byte 0xfc at character 5; if the whole file is in another"),
        (b'x,"gr\xfcn\nund"\n', "not in UTF-8"),
        ("x,te\0xt\n", "a NUL byte"),
        (",text\n", "takes 0 bytes"),
        ("id,text\n", "the header again, as in files that were joined"),
        ("\ufeffid,text\n", "the header again"),
    ],
)
def test_a_record_whose_end_is_certain_is_only_rejected(
    tmp_path: Path, line: str | bytes, problem: str
) -> None:
    raw = line.encode() if isinstance(line, str) else line
    path = write(tmp_path / "a.csv", HEAD.encode() + raw + b"3,ok\n")
    texts, (reject,), error = read(Source(path))
    assert (texts, error) == ({"2": "the true two", "3": "ok"}, "")
    assert reject.where.startswith(f"{path}, line")
    assert problem in reject.problem
    assert reject.content == raw.decode(errors="backslashreplace").removesuffix("\n")


def test_what_is_right_by_the_rule_is_read_by_it(tmp_path: Path) -> None:
    """A cell over several lines is one, even if a quote was forgotten: nobody else can know."""
    path = write(tmp_path / "a.csv", HEAD + '1,"line\n2,line"\n3,"x\n4,"", y"\n')
    expected = {"2": "the true two", "1": "line\n2,line", "3": 'x\n4,", y'}
    assert read(Source(path)) == (expected, [], "")


def test_csv_whose_quotes_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,5" disk\n2,"a\n3,b"\n4,"c"\n')
    assert read(Source(path, quoting="none"))[0] == {
        "1": '5" disk',
        "2": '"a',
        "3": 'b"',
        "4": '"c"',
    }
    texts, _, error = read(Source(path))
    assert not texts
    assert "give quoting='none' (--quoting none)" in error


def test_a_quote_that_nobody_closes_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_RECORD", 1000)
    rows = "".join(f"{i},text {i}\n" for i in range(1000))
    path = write(tmp_path / "a.csv", HEAD + 'x,"unclosed\n' + rows)
    texts, (reject,), error = read(Source(path))
    assert list(texts) == ["2"]
    assert len(reject.content) < 1100
    assert "longer than 1000 characters" in error


def test_reading_leaves_the_limit_of_csv_to_others(tmp_path: Path) -> None:
    before = csv.field_size_limit(2**31 - 1)
    try:
        read(Source(write(tmp_path / "a.csv", HEAD + '1,"x"\n')))
        assert csv.field_size_limit() == 2**31 - 1
    finally:
        csv.field_size_limit(before)


# --- headers and delimiters --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "id,text\n1,x\n", "give delimiter=',' (--delimiter)"),
        ("a.tsv", '"id"\t"text"\n"1"\t"x"\n', "give quoting='csv' (--quoting csv)"),
        ("a.csv", "1,x\n2,y\n", "no column 'id' and no 'text', only '1', 'x', which look"),
        ("a.csv", "1,x\n2,y\n", "columns=['id', 'text'] (--columns id,text)"),
        ("a.csv", "id,body\n1,x\n", "no column 'text', only 'id', 'body'; try text_field='body'"),
        ("a.csv", "ID,Id,text\n1,1,x\n", "no column 'id', only 'ID', 'Id', 'text'"),
        ("a.csv", "id,text,a,a\n1,x,y,z\n", "2 columns are named 'a'"),
        ("a.csv", 'id,"te"xt\n1,x\n', "line 1: not CSV"),
        ("a.csv", b"id,text,gr\xf6\xdfe\n1,x,2\n", "the header is not in UTF-8"),
    ],
)
def test_a_header_that_says_too_little_ends_the_file(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    texts, rejects, error = read(Source(path))
    assert (texts, rejects) == ({}, [])
    assert error.startswith(f"{path}, line 1: ")
    assert message in error


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [("id;text\n1;a, b\n", ";"), ("id\ttext\n1\ta, b\n", "tab"), ("id\ttext\n1\ta, b\n", r"\t")],
)
def test_another_delimiter(tmp_path: Path, content: str, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", content)
    assert read(Source(path, delimiter=delimiter))[0] == {"1": "a, b"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.csv", {"quoting": "minimal"}, "quoting='minimal'; expected one of csv, none"),
        ("a.csv", {"delimiter": ";;"}, "expected one character"),
        ("a.csv", {"delimiter": '"'}, "expected one character"),
        ("a.csv", {"delimiter": ""}, "expected one character"),
        ("a.jsonl", {"quoting": "csv"}, "for csv and tsv, and the format is jsonl"),
        ("a.jsonl", {"delimiter": ";"}, "for csv and tsv, and the format is jsonl"),
    ],
)
def test_options_of_tables_are_checked(
    tmp_path: Path, name: str, options: dict[str, str], message: str
) -> None:
    path = write(tmp_path / name, "")
    with pytest.raises(InvalidOptionError, match=message):
        Source(path, quoting=options.get("quoting"), delimiter=options.get("delimiter"))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [(FieldType.INT, "1_000"), (FieldType.FLOAT, "1_0.5"), (FieldType.LIST_STR, "{5}")],
)
def test_cells_are_no_python(tmp_path: Path, kind: FieldType, cell: str) -> None:
    path = write(tmp_path / "a.csv", f"id,text,x\n1,t,{cell}\n")
    (reject,) = Source(path, fields={"x": kind})
    assert isinstance(reject, Rejected)
    assert reject.problem == f"'x' is declared {kind}, got {cell!r}"


def test_fields_may_be_declared_as_types(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text,year,tags\n1,t,2020,"[""a""]"\n')
    (document,) = Source(path, fields={"year": int, "tags": list[str]}).documents()
    assert document.metadata == {"year": 2020, "tags": ["a"]}


# --- delimiters that are found, and headers that are stated ------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "id;text\n1;a, b\n2;c\n",
        '"id";"text"\n"1";"a, b"\n2;c\n',
        "id\ttext\n1\ta, b\n2\tc\n",
        "id|text\n1|a, b\n2|c\n",
        'id,text\n1,"a, b"\n2,c\n',
        "\ufeffid;text\r\n1;a, b\r\n2;c\r\n",
        "sep=;\r\nid;text\r\n1;a, b\r\n2;c\r\n",
        "\ufeffsep=;\r\n\r\nid;text\r\n1;a, b\r\n2;c\r\n",
        "sep=~\nid~text\n1~a, b\n2~c",
        'id;text, long\n1;"a\n;,\nb"\n2;c\n'.replace("text, long", "text"),
        "\n;;\nid;text\n1;a, b\n2;c\n",
    ],
)
def test_a_delimiter_is_found(tmp_path: Path, content: str) -> None:
    texts, rejects, error = read(Source(write(tmp_path / "a.csv", content)))
    assert (rejects, error) == ([], "")
    assert texts["2"] == "c"
    assert texts["1"] in ("a, b", "a\n;,\nb")


def test_lines_are_counted_below_what_excel_writes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "sep=;\n\nid;text\n1;x\n2\n")
    _, (reject,), _ = read(Source(path))
    assert reject.where == f"{path}, line 5"


def test_two_delimiters_in_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id;text;a,b\n1;x;2\n3;y;4\n")
    assert read(Source(path))[0] == {"1": "x", "3": "y"}
    path = write(tmp_path / "a.csv", "id;text,x\n1;x,y\n2;y,z\n")
    texts, rejects, error = read(Source(path))
    assert (texts, rejects) == ({}, [])
    assert "',' and ';' may be it; give delimiter=',' or another (--delimiter)" in error


def test_a_ragged_record_does_not_change_the_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1;x;y\n2,ok\n")
    texts, (reject,), error = read(Source(path))
    assert (texts, error) == ({"2": "ok"}, "")
    assert reject.content == "1;x;y"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("collection.tsv", "0\tThe Manhattan; a, b\n1\tc\n"),
        ("a.csv", "0,The Manhattan; a b\n1,c\n"),
        ("a.csv", "0;The Manhattan\n1;c\n"),
        ("a.csv", '0,"The Manhattan, a"\n1,c\n'),
        ("a.csv", "\n0,The Manhattan\n\n1,c\n"),
    ],
)
def test_columns_of_a_table_without_a_header(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / name, content)
    texts, rejects, error = read(Source(path, columns=["id", "text"]))
    assert (rejects, error) == ([], "")
    assert texts["0"].startswith("The Manhattan")
    assert texts["1"] == "c"


def test_a_record_that_does_not_fit_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "0\tx\n1\n2\ty\n")
    texts, (reject,), _ = read(Source(path, columns=("id", "text")))
    assert texts == {"0": "x", "2": "y"}
    assert reject.where == f"{path}, line 2"
    assert reject.problem == "1 cells, columns names 2"


@pytest.mark.parametrize("columns", [[], ["id", "id"], ["id", ""]])
def test_columns_are_distinct_names(tmp_path: Path, columns: list[str]) -> None:
    path = write(tmp_path / "a.tsv", "0\tx\n")
    with pytest.raises(InvalidOptionError, match=r"expected distinct names|an empty name"):
        Source(path, columns=columns)
    path = write(tmp_path / "a.jsonl", "{}")
    with pytest.raises(InvalidOptionError, match="columns is for csv and tsv"):
        Source(path, columns=["id", "text"])


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        (FieldType.INT, "2020.0", 2020),
        (FieldType.INT, " -3.00 ", -3),
        (FieldType.INT, "2020.5", None),
        (FieldType.INT, "1e3", None),
        (FieldType.INT, "nan", None),
        (FieldType.LIST_STR, "a;b", ["a", "b"]),
        (FieldType.LIST_STR, " a ; b, c ;", ["a", "b, c"]),
        (FieldType.LIST_STR, "a", ["a"]),
        (FieldType.LIST_STR, '["a", "b"]', ["a", "b"]),
        (FieldType.LIST_STR, "['a', \"it's\"]", ["a", "it's"]),
        (FieldType.LIST_STR, "[]", []),
        (FieldType.LIST_STR, "['a', __import__('os')]", None),
        (FieldType.LIST_STR, "[" * 100_000, None),
        (FieldType.LIST_STR, "['a'", None),
        (FieldType.LIST_STR, "{'a': 1}", None),
        (FieldType.LIST_INT, "1;2", [1, 2]),
        (FieldType.LIST_INT, "[1, 2]", [1, 2]),
        (FieldType.LIST_INT, "1;x", None),
        (FieldType.FLOAT, "2.50", 2.5),
    ],
)
def test_cells_as_programs_write_them(
    tmp_path: Path, kind: FieldType, cell: str, expected: object
) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "text", "x"), ("1", "t", cell)])
    (one,) = Source(path, fields={"x": kind})
    if expected is None:
        assert isinstance(one, Rejected)
        assert one.problem.startswith(f"'x' is declared {kind}, got ")
    else:
        assert one == Document("1", "t", {"x": expected})
