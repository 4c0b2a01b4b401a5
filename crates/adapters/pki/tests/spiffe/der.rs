//! As much DER as certificates need (X.690), written by hand: nothing here minds whether it makes sense.

/// A value with its tag and length.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=127 => out.push(length as u8),
        128..=255 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    tlv(1, &[if value { 0xff } else { 0 }])
}

/// A positive number, big-endian.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let padded = if bytes.first().is_none_or(|&first| first >= 0x80) { [&[0], bytes].concat() } else { bytes.to_vec() };
    tlv(2, &padded)
}

/// A bit string without unused bits.
pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

/// A named bit list: bit `n` is the `n`th from the left, zeros at the end are cut (X.690, section 11.2.2).
pub(crate) fn named_bits(set: &[usize]) -> Vec<u8> {
    let Some(last) = set.iter().max() else { return tlv(3, &[0]) };
    let mut bytes = vec![0_u8; last / 8 + 1];
    for bit in set {
        bytes[bit / 8] |= 0x80 >> (bit % 8);
    }
    tlv(3, &[&[7 - (last % 8) as u8], &*bytes].concat())
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(4, bytes)
}

/// An object identifier from its dotted form.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    let mut arcs = text.split('.').map(|arc| arc.parse::<u64>().expect("a number"));
    let (first, second) = (arcs.next().expect("an arc"), arcs.next().expect("an arc"));
    let mut out = vec![(first * 40 + second) as u8];
    for arc in arcs {
        let mut septets = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            septets.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.extend(septets.iter().rev());
    }
    tlv(6, &out)
}

/// A point in time before 2050 as `UTCTime` (RFC 5280, section 4.1.2.5.1).
pub(crate) fn time(at: time::OffsetDateTime) -> Vec<u8> {
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    tlv(23, format!("{:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z", year % 100).as_bytes())
}
