use proptest::prelude::*;

use super::*;

fn encoded(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        (-1e9f32..1e9).prop_map(Value::F32),
        (-1e9f64..1e9).prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::LongString),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Time),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[a-z.é]{0,12}", inner), 0..6)
                .prop_map(|entries| Value::Table(Table(entries))),
        ]
    })
}

fn any_table() -> impl Strategy<Value = Table> {
    prop::collection::vec(("[a-z-]{0,16}", any_value()), 0..8).prop_map(Table)
}

proptest! {
    #[test]
    fn a_table_survives_its_bytes(table in any_table(), tail in prop::collection::vec(any::<u8>(), 0..5)) {
        let mut bytes = encoded(&table);
        let size = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(check(&bytes), Ok(size));
        let (back, rest) = Table::decode(&bytes).unwrap();
        prop_assert_eq!(&back, &table);
        prop_assert_eq!(rest, &tail[..]);
    }

    #[test]
    fn every_prefix_is_truncated(table in any_table()) {
        let bytes = encoded(&table);
        for end in 0..bytes.len() {
            prop_assert_eq!(check(&bytes[..end]), Err(TableError::Truncated));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if Table::decode(&bytes).is_ok() {
            prop_assert!(check(&bytes).is_ok());
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(table in any_table(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = encoded(&table);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Table::decode(&bytes);
    }
}

/// `levels` tables, each the only entry of the one around it.
fn nested(levels: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for inner in (0..levels).rev() {
        bytes.extend_from_slice(&(7 * inner).to_be_bytes());
        if inner > 0 {
            bytes.extend_from_slice(b"\x01aF");
        }
    }
    bytes
}

const DEPTH: u32 = limit::TABLE_DEPTH as u32;

#[test]
fn nesting_is_bounded_without_recursion() {
    assert!(check(&nested(DEPTH)).is_ok());
    assert_eq!(check(&nested(DEPTH + 1)), Err(TableError::TooDeep));
    assert_eq!(check(&nested(100_000)), Err(TableError::TooDeep));
}

#[test]
fn unknown_types_are_named() {
    assert_eq!(check(b"\0\0\0\x03\x01a~"), Err(TableError::UnknownType(b'~')));
    assert_eq!(check(b"\0\0\0\x03\x01aU"), Err(TableError::UnknownType(b'U')));
}

#[test]
fn a_size_beyond_the_buffer_is_truncated_not_allocated() {
    assert_eq!(check(b"\xff\xff\xff\xff\x01a"), Err(TableError::Truncated));
    assert_eq!(check(b"\0\0\0\x07\x01aS\xff\xff\xff\xff"), Err(TableError::Truncated));
}

#[test]
fn duplicates_and_order_are_kept() {
    let table = Table(vec![
        ("b".into(), Value::I32(1)),
        ("a".into(), Value::Void),
        ("b".into(), Value::I32(2)),
    ]);
    let bytes = encoded(&table);
    assert_eq!(Table::decode(&bytes).unwrap().0, table);
    assert_eq!(table.get("b"), Some(&Value::I32(1)));
}

#[test]
fn widths_of_integers_do_not_matter_but_kinds_do() {
    assert!(Value::I32(7).equivalent(&Value::I64(7)));
    assert!(Value::U8(7).equivalent(&Value::I16(7)));
    assert!(!Value::I32(1).equivalent(&Value::Bool(true)));
    assert!(!Value::I32(1).equivalent(&Value::text("1")));
    assert!(!Value::I32(1).equivalent(&Value::F64(1.0)));
}
