//! Zigzag varints (Protocol Buffers' `sint32` and `sint64`), which frame everything inside a batch.

/// What is left of some bytes; every step takes from the front or answers `None` and takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bites<'a> {
    pub rest: &'a [u8],
}

impl<'a> Bites<'a> {
    pub fn new(rest: &'a [u8]) -> Bites<'a> {
        Bites { rest }
    }

    #[inline(always)]
    pub fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// The next `count` bytes; `None` if there are fewer.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A 32-bit zigzag varint of at most five bytes; `None` if cut short, longer, or of more than 32 bits.
    #[inline(always)]
    pub fn varint(&mut self) -> Option<i32> {
        // Nearly every varint of a record is one byte or two.
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(unzigzag32(first as u32))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Some(unzigzag32((first as u32 & 0x7f) | (second as u32) << 7))
            }
            _ => u32::try_from(self.long(5)?).ok().map(unzigzag32),
        }
    }

    /// A 64-bit zigzag varint of at most ten bytes.
    #[inline(always)]
    pub fn varlong(&mut self) -> Option<i64> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(unzigzag64(first as u64))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Some(unzigzag64((first as u64 & 0x7f) | (second as u64) << 7))
            }
            _ => self.long(10).map(unzigzag64),
        }
    }

    #[cold]
    fn long(&mut self, bytes_max: usize) -> Option<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(bytes_max).enumerate() {
            let bits = byte as u64 & 0x7f;
            if i == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Some(value);
            }
        }
        None
    }

    /// A length and as many bytes; −1 is `None` inside, what is cut short or below −1 is `None` outside.
    #[inline(always)]
    pub fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }
}

#[inline(always)]
fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

#[inline(always)]
fn unzigzag64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// How many bytes `value` takes as a zigzag varint; the same for 32 and 64 bits.
#[inline(always)]
pub(super) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes `value` at the front of `out` and answers how many bytes it took; `out` must have room for ten.
#[inline(always)]
pub(super) fn put(out: &mut [u8], value: i64) -> usize {
    let mut raw = zigzag(value);
    let mut at = 0;
    while raw >= 0x80 {
        out[at] = raw as u8 | 0x80;
        raw >>= 7;
        at += 1;
    }
    out[at] = raw as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [i64; 16] = [
        0,
        -1,
        1,
        63,
        -64,
        64,
        8191,
        -8192,
        8192,
        1 << 20,
        i32::MAX as i64,
        i32::MIN as i64,
        i32::MAX as i64 + 1,
        i64::MAX,
        i64::MIN,
        -129,
    ];

    #[test]
    fn what_is_put_is_read_back_with_its_size() {
        for value in EDGES {
            let mut out = [0; 10];
            let bytes = put(&mut out, value);
            assert_eq!(bytes, size(value), "{value}");
            let mut bites = Bites::new(&out[..bytes]);
            assert_eq!(bites.varlong(), Some(value));
            assert!(bites.rest.is_empty());
            assert_eq!(
                Bites::new(&out[..bytes]).varint(),
                i32::try_from(value).ok(),
                "{value}"
            );
            for cut in 0..bytes {
                assert_eq!(Bites::new(&out[..cut]).varlong(), None);
                assert_eq!(Bites::new(&out[..cut]).varint(), None);
            }
        }
    }

    #[test]
    fn refuses_varints_with_too_many_bytes_or_bits() {
        assert_eq!(Bites::new(&[0x80; 5]).varint(), None);
        assert_eq!(
            Bites::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint(),
            Some(i32::MIN)
        );
        assert_eq!(Bites::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), None);
        assert_eq!(Bites::new(&[0xff; 11]).varlong(), None);
        let mut ten = [0xff; 10];
        ten[9] = 0x02;
        assert_eq!(Bites::new(&ten).varlong(), None);
        ten[9] = 0x01;
        assert_eq!(Bites::new(&ten).varlong(), Some(i64::MIN));
    }

    #[test]
    fn a_length_below_minus_one_is_not_null() {
        assert_eq!(Bites::new(&[0x01]).nullable(), Some(None));
        assert_eq!(Bites::new(&[0x03]).nullable(), None);
        assert_eq!(Bites::new(&[0x00]).nullable(), Some(Some(&[][..])));
        assert_eq!(Bites::new(&[0x04, 7]).nullable(), None);
    }
}
