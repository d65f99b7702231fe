//! A walk over a struct in Thrift's compact protocol, the form of Parquet's footers and page headers.
//!
//! Decoders take lengths in a file at their word: to skip a list of 2^31 booleans, they take 2^31 steps, because an
//! element has no bytes there. They read the fields that they know by the types of the format, whatever type the file
//! gives. In a struct that passes the walk, every element has bytes and every known field has its type, so that a decoder
//! takes no more steps than there are bytes.

/// Greatest depth of structs and lists; those of Parquet reach eight.
const MOST_DEPTH: usize = 32;

/// Type of a known field or element.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Byte,
    /// An integer of two to eight bytes, which all have one form.
    Number,
    Double,
    Binary,
    Struct(Fields),
    List(&'static Kind),
}

/// The known fields of a struct by their numbers.
pub(crate) type Fields = &'static [(i64, Kind)];

impl Kind {
    /// True if a field of the type `found` in a file is of this kind.
    fn is(self, found: u8) -> bool {
        match self {
            Kind::Bool => matches!(found, 1 | 2),
            Kind::Byte => found == 3,
            Kind::Number => matches!(found, 4..=6),
            Kind::Double => found == 7,
            Kind::Binary => found == 8,
            Kind::List(_) => found == 9,
            Kind::Struct(_) => found == 12,
        }
    }
}

/// Walks over the struct that `bytes` begin with, and calls `note` with each integer and its place: the numbers of its
/// field and of those around it, the outermost first. Returns the length of the struct; `None` if a known field has
/// another type than in `fields`, an element has no bytes, or the bytes end within the struct or are none.
pub(crate) fn walk(
    bytes: &[u8],
    fields: Fields,
    mut note: impl FnMut(&[i64], i64),
) -> Option<usize> {
    let mut walk = Walk {
        rest: bytes,
        place: Vec::new(),
        note: &mut note,
    };
    walk.fields(fields, 0)?;
    Some(bytes.len() - walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    place: Vec<i64>,
    note: &'a mut dyn FnMut(&[i64], i64),
}

impl Walk<'_> {
    fn fields(&mut self, known: Fields, depth: usize) -> Option<()> {
        let mut field = 0;
        loop {
            let first = self.byte()?;
            let (step, found) = (first >> 4, first & 15);
            if found == 0 {
                return Some(());
            }
            field = match step {
                0 => self.number()?,
                step => field + i64::from(step),
            };
            if !(1..=i64::from(i16::MAX)).contains(&field) {
                return None;
            }
            let kind = known.iter().find(|(number, _)| *number == field);
            let kind = kind.map(|(_, kind)| *kind);
            if kind.is_some_and(|kind| !kind.is(found)) {
                return None;
            }
            // A boolean is in its field's type.
            if !matches!(found, 1 | 2) {
                self.place.push(field);
                self.value(found, kind, depth)?;
                self.place.pop();
            }
        }
    }

    fn value(&mut self, found: u8, kind: Option<Kind>, depth: usize) -> Option<()> {
        if depth == MOST_DEPTH {
            return None;
        }
        match found {
            3 => self.skip(1),
            4..=6 => {
                let number = self.number()?;
                (self.note)(&self.place, number);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let bytes = usize::try_from(self.varint()?).ok()?;
                self.skip(bytes)
            }
            9 => {
                let first = self.byte()?;
                let count = match first >> 4 {
                    15 => usize::try_from(self.varint()?).ok()?,
                    count => count.into(),
                };
                let (found, kind) = match kind {
                    Some(Kind::List(kind)) => (first & 15, Some(*kind)),
                    _ => (first & 15, None),
                };
                // Some writers give an empty list no type.
                let is_other = count > 0 && kind.is_some_and(|kind| !kind.is(found));
                // Booleans and other elements without bytes are no values here.
                if is_other || count > self.rest.len() {
                    return None;
                }
                (0..count).try_for_each(|_| self.value(found, kind, depth + 1))
            }
            12 => match kind {
                Some(Kind::Struct(known)) => self.fields(known, depth + 1),
                _ => self.fields(&[], depth + 1),
            },
            // Parquet has no sets, maps and UUIDs.
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn number(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Fields = &[(1, Kind::Number)];
    const FIELDS: Fields = &[
        (1, Kind::Number),
        (2, Kind::List(&Kind::Struct(INNER))),
        (3, Kind::Bool),
    ];

    /// An integer and its place.
    type Noted = (Vec<i64>, i64);

    fn walked(bytes: &[u8]) -> Option<(usize, Vec<Noted>)> {
        let mut found = Vec::new();
        let length = walk(bytes, FIELDS, |place, number| {
            found.push((place.to_vec(), number));
        })?;
        Some((length, found))
    }

    #[test]
    fn integers_are_found_in_their_places() {
        // 1: -1, 2: [{1: 5}, {1: 6}], 3: true, 5: "abc", 6: [[7]]
        let bytes = [
            0x15, 1, 0x19, 0x2c, 0x15, 10, 0, 0x15, 12, 0, 0x11, 0x28, 3, 97, 98, 99, 0x19, 0x19,
            0x15, 14, 0, 99,
        ];
        let places = vec![
            (vec![1], -1),
            (vec![2, 1], 5),
            (vec![2, 1], 6),
            (vec![6], 7),
        ];
        assert_eq!(walked(&bytes), Some((21, places)));
        assert!((0..21).all(|end| walked(&bytes[..end]).is_none()));
    }

    #[test]
    fn elements_without_bytes_and_other_types_of_known_fields_are_refused() {
        assert!(walked(&[0]).is_some());
        // An unknown list of three booleans, and of none.
        assert!(walked(&[0x99, 0x31, 0]).is_none());
        assert!(walked(&[0x99, 0x01, 0]).is_some());
        // A known empty list without a type.
        assert!(walked(&[0x29, 0x00, 0]).is_some());
        // A known number as a text, a known boolean as a number, a known list of numbers in place of structs.
        assert!(walked(&[0x18, 0, 0]).is_none());
        assert!(walked(&[0x35, 0, 0]).is_none());
        assert!(walked(&[0x29, 0x15, 2, 0]).is_none());
        // The known number, with its field in full; and a field 65537, which 16 bits make the known one.
        assert!(walked(&[0x08, 2, 0, 0]).is_none());
        assert!(walked(&[0x05, 2, 0, 0]).is_some());
        assert!(walked(&[0x05, 0x82, 0x80, 0x08, 0, 0]).is_none());
        // A list that says that it is longer than the file.
        assert!(walked(&[0x99, 0xf5, 0xff, 0xff, 3, 2, 2, 0]).is_none());
    }

    #[test]
    fn no_depth_and_no_bytes_make_it_panic() {
        let lists = |depth| [vec![0x99], vec![0x19; depth], vec![0x05, 0]].concat();
        assert!(walked(&lists(MOST_DEPTH - 2)).is_some());
        assert!(walked(&lists(100_000)).is_none());
        for first in 0..=255 {
            for second in 0..=255 {
                let _ = walked(&[first, second, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
            }
        }
    }
}
