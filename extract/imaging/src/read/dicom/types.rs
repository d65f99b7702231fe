//! Types of values (VR).

/// Types of values with a length of two bytes.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
    b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];

/// The other types.
const LONG: [&[u8; 2]; 13] = [
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
];

/// Whether the length of a value of this type takes four bytes, as for all types added to the standard
/// later.
pub(super) fn has_long_length(vr: [u8; 2]) -> bool {
    vr.iter().all(u8::is_ascii_uppercase) && !SHORT.contains(&&vr)
}

/// Whether the standard defines a type of this name.
pub(super) fn is_known(vr: [u8; 2]) -> bool {
    SHORT.contains(&&vr) || LONG.contains(&&vr)
}
