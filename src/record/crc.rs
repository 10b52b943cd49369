//! CRC-32C (Castagnoli), the checksum of record batches, behind one door.

/// The CRC-32C of `bytes`, as record batch v2 and our own frames use it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The CRC-32C of bytes whose first part has the CRC `crc` and whose rest is `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}
