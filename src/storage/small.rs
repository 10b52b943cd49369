//! Small files that can be rebuilt: written in place, not synced.

use std::io;
use std::path::Path;

use crate::rt::{Buffer, Disk, File, Open};

/// Written at once: nearly all there are, and of the others as much as a turn of the shard has time to copy.
const PIECE_BYTES: usize = 1 << 20;

/// Makes `path` hold `bytes`. A crash may leave anything there.
pub(super) async fn write(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(disk, path, bytes).await?.close().await
}

/// The same, durable but for the file's name. The bytes before must be these, or none that matter.
pub(super) async fn write_synced(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = put(disk, path, bytes).await?;
    file.datasync().await?;
    file.close().await
}

async fn put(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = disk.open(path, Open::CREATE).await?;
    let mut position = 0;
    for piece in bytes.chunks(PIECE_BYTES) {
        file.write(Buffer::copy_of(piece).freeze(), position)
            .await?;
        position += piece.len() as u64;
    }
    file.truncate(bytes.len() as u64).await?;
    Ok(file)
}
