use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::dataset::fixtures::folder;

fn read(name: &str, content: &[u8]) -> Result<Table, Error> {
    let root = folder(&[(name, content)]);
    Table::read(&root.path().join(name))
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn cells(table: &Table) -> Vec<Vec<&str>> {
    let headers = table.headers.iter().map(String::as_str).collect();
    let rows = table
        .rows
        .iter()
        .map(|row| (0..table.headers.len()).map(|k| &row.cells[k]).collect());
    std::iter::once(headers).chain(rows).collect()
}

#[test]
fn fields_lie_between_commas_semicolons_or_tabs() {
    for (text, expected) in [
        (
            "image,label\na;1.png,x\n",
            [["image", "label"], ["a;1.png", "x"]],
        ),
        (
            "\u{feff}image;label\r\na.png;x, y\r\n",
            [["image", "label"], ["a.png", "x, y"]],
        ),
        (
            "image\tlabel\na.png\tx;y\n",
            [["image", "label"], ["a.png", "x;y"]],
        ),
        ("\"a,b\";\"c;d;e\"\n1;2\n", [["a,b", "c;d;e"], ["1", "2"]]),
        ("image,\"a;b;c\"\n1,2\n", [["image", "a;b;c"], ["1", "2"]]),
    ] {
        assert_eq!(cells(&read("t.csv", text.as_bytes()).unwrap()), expected);
    }
    let one = read("t.csv", b"image\na,b.png,\n");
    assert!(matches!(one, Err(Error::RaggedRow { line: 2, .. })));
}

#[test]
fn a_gzipped_table_is_read_like_any_other() {
    let table = read("t.csv.gz", &gzipped(b"image;label\na.png;x\n")).unwrap();
    assert_eq!(cells(&table), [["image", "label"], ["a.png", "x"]]);
    let whole = gzipped(&b"image,label\na.png,x\n".repeat(50));
    let text = read("t.csv.gz", &whole[..whole.len() - 9])
        .err()
        .unwrap()
        .to_string();
    assert!(
        text.contains("cannot be unpacked") && text.contains("hint:"),
        "{text}"
    );
}

#[track_caller]
fn refused(name: &str, content: &[u8], parts: &[&str]) {
    let text = read(name, content).err().unwrap().to_string();
    for part in parts.iter().chain(&["hint:"]) {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn text_in_utf_16_is_read_like_any_other() {
    let text = "image;label\na.png;\u{e4}\n";
    let marked = format!("\u{feff}{text}");
    for text in [text, &marked] {
        let units = || text.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            let table = read("t.csv", &bytes).unwrap();
            assert_eq!(cells(&table), [["image", "label"], ["a.png", "\u{e4}"]]);
        }
    }
    refused("t.csv", b"\xff\xfei\0m", &["line 1", "UTF-16"]);
}

#[test]
fn a_first_line_may_name_the_separator() {
    for text in [
        "sep=;\nimage;label\na,1.png;x\n",
        "\"sep=;\"\r\nimage;label\r\na,1.png;x\r\n",
        "\u{feff}sep=;\nimage;label\na,1.png;x\n",
    ] {
        let table = read("t.csv", text.as_bytes()).unwrap();
        assert_eq!(cells(&table), [["image", "label"], ["a,1.png", "x"]]);
        assert_eq!(table.rows[0].line, 3);
    }
}

#[test]
fn quotes_hold_separators_line_ends_and_quotes() {
    let text = "image,note\r\n\"a\"\"b\",\"x,\ny\"\r\n\r\n \"c\" ,5\" lead\rd,\"\"\n";
    let table = read("t.csv", text.as_bytes()).unwrap();
    let expected = [
        ["image", "note"],
        ["a\"b", "x,\ny"],
        ["c", "5\" lead"],
        ["d", ""],
    ];
    assert_eq!(cells(&table), expected);
    let lines: Vec<usize> = table.rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [2, 5, 6]);
    let broken = table.refuse_line_breaks(&[0, 1]).unwrap_err().to_string();
    let is_named = broken.contains("line 2: found")
        && broken.contains("as the note, expected text without a line break");
    assert!(is_named, "{broken}");
    assert!(table.refuse_line_breaks(&[0]).is_ok());
}

#[test]
fn a_quote_that_is_not_closed_is_refused_with_its_line() {
    let rows: String = (0..40).map(|k| format!("{k}.png,x\n")).collect();
    let text = format!("image,label\n{rows}").replace("\n6.png", "\n\"6.png");
    refused("t.csv", text.as_bytes(), &["line 8", "never closed"]);
    let text = text.replace("\n20.png", "\n\"20.png\"");
    let parts = ["line 8", "closes in line 22", "text follows"];
    refused("t.csv", text.as_bytes(), &parts);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_the_line() {
    let latin = b"image,label\na.png,x\nb.png,\xe4\n";
    refused("t.csv", latin, &["line 3", "not UTF-8"]);
    refused("t.csv", b"PK\x03\x04\x14\0\x06\0", &["Excel", "CSV"]);
    refused("t.csv", b"<!DOCTYPE html><p>", &["web page"]);
}

#[test]
fn what_stands_for_no_value_is_blank_and_told() {
    let text = "image,label,age,Unnamed: 0\na,NaN,n/a,0\nb,nan,3,1\nNA,Nantes,4,2\n";
    let table = read("t.csv", text.as_bytes()).unwrap();
    let labels = table.rows.iter().map(|row| &row.cells[1]);
    assert_eq!(labels.collect::<Vec<_>>(), ["", "", "Nantes"]);
    let expected = [
        "`t.csv`: 1 cell of the column `image` read as blank (`NA`)",
        "`t.csv`: 2 cells of the column `label` read as blank (`NaN`)",
        "`t.csv`: columns that are not used: `age`",
    ];
    assert_eq!(table.warnings(&[0, 1]), expected);
}

#[test]
fn whole_numbers_are_read_without_a_fraction_if_all_are_numbers() {
    let text = "a,b,c\n1.0,1.00,1.0\n,2.50,x\n-12,10,\n";
    let table = read("t.csv", text.as_bytes()).unwrap();
    let expected = [
        ["a", "b", "c"],
        ["1", "1", "1.0"],
        ["", "2.50", "x"],
        ["-12", "10", ""],
    ];
    assert_eq!(cells(&table), expected);
}

#[test]
fn two_columns_of_one_name_are_refused_if_it_is_asked_for() {
    let table = read("t.csv", b"image,Label,label,note,note\na,b,c,d,e\n").unwrap();
    assert_eq!(table.column(&["image"]).unwrap(), Some(0));
    let text = table.required(&["label"]).unwrap_err().to_string();
    let is_named = text.contains("2 columns named `Label`") && text.contains("hint:");
    assert!(is_named, "{text}");
}

mod parquet {
    use std::fs::File;
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::basic::Compression;
    use ::parquet::file::properties::WriterProperties;
    use arrow::array::{
        ArrayRef, BinaryArray, FixedSizeListArray, Int32Array, LargeListArray, ListBuilder,
        RecordBatch, StringArray, StringBuilder, StructArray,
    };
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>, compression: Compression) -> Result<Table, Error> {
        let root = tempfile::tempdir().unwrap();
        // Told by its content.
        let path = root.path().join("t.csv");
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_compression(compression);
        let file = File::create(&path).unwrap();
        let properties = Some(properties.build());
        let mut writer = ArrowWriter::try_new(file, batch.schema(), properties).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Table::read(&path)
    }

    fn images() -> (&'static str, ArrayRef) {
        ("image", Arc::new(StringArray::from(vec!["a", "b", "c"])))
    }

    fn strings(rows: [Option<&[&str]>; 3]) -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for row in rows {
            match row {
                Some(names) => builder.append_value(names.iter().map(Some)),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }

    #[test]
    fn lists_have_bars_between_their_elements_and_an_empty_one_is_not_blank() {
        let names = strings([Some(&["x", "y"]), Some(&[]), None]);
        let rows = vec![
            Some(vec![Some(3), None]),
            None,
            Some(vec![Some(1), Some(2)]),
        ];
        let large = LargeListArray::from_iter_primitive::<Int32Type, _, _>(rows);
        let field = Arc::new(Field::new("item", DataType::Int32, true));
        let fixed = Int32Array::from(vec![1, 0, 0, 1, 1, 1]);
        let fixed = FixedSizeListArray::new(field, 2, Arc::new(fixed), None);
        let columns = vec![
            images(),
            ("labels", names),
            ("large", Arc::new(large)),
            ("fixed", Arc::new(fixed)),
        ];
        let table = table(columns, Compression::UNCOMPRESSED).unwrap();
        let expected = [
            ["image", "labels", "large", "fixed"],
            ["a", "x|y", "3", "1|0"],
            ["b", "|", "", "0|1"],
            ["c", "", "1|2", "1|1"],
        ];
        assert_eq!(cells(&table), expected);
    }

    #[test]
    fn columns_that_cannot_be_text_matter_only_if_they_are_asked_for() {
        let inner = Arc::new(Field::new("bytes", DataType::Int32, true));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let nested = StructArray::from(vec![(inner, numbers)]);
        let bytes = BinaryArray::from(vec![&b"\xff"[..], b"x", b"y"]);
        let columns = vec![
            images(),
            ("nested", Arc::new(nested) as ArrayRef),
            ("bars", strings([Some(&["x|y"]), None, None])),
            ("bytes", Arc::new(bytes)),
        ];
        let table = table(columns, Compression::UNCOMPRESSED).unwrap();
        assert_eq!(table.column(&["image"]).unwrap(), Some(0));
        for (name, reason) in [
            ("nested", "holds nested values"),
            ("bars", "`|` in an element"),
            ("bytes", "no text"),
        ] {
            let text = table.column(&[name]).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(reason), "{text}");
            assert!(text.contains("hint:"), "{text}");
        }
    }

    #[test]
    fn other_compressions_are_refused_by_their_name() {
        for compression in [Compression::SNAPPY, Compression::ZSTD(Default::default())] {
            assert_eq!(table(vec![images()], compression).unwrap().rows.len(), 3);
        }
        // Written by Polars.
        let brotli = include_bytes!("brotli.parquet");
        refused(
            "t.parquet",
            brotli,
            &["`image` is compressed by BROTLI", "zstd and snappy are"],
        );
    }
}
