//! Small files that can be rebuilt: written in place, not synced.

use std::io;
use std::path::Path;

use crate::rt::{Buffer, Disk, Open};

/// Makes `path` hold `bytes`. A crash may leave anything there.
pub(super) async fn write(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, Open::CREATE).await?;
    if !bytes.is_empty() {
        file.write(Buffer::copy_of(bytes).freeze(), 0).await?;
    }
    file.truncate(bytes.len() as u64).await?;
    file.close().await
}
