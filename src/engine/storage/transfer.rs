//! Files from one directory to another: a second name for the same bytes, or a second copy of them.

use std::io::{self, ErrorKind};

use super::Storage;

/// A file is copied in pieces of this size.
const COPY_BYTES: usize = 1 << 20;

/// Gives a file the same name in another directory, as a hard link, or as a copy where that is
/// impossible. Durable after a sync of that directory.
pub(crate) fn link_or_copy(from: &dyn Storage, name: &str, to: &dyn Storage) -> io::Result<()> {
    match from.link(name, to) {
        Err(e) if is_refusal(e.kind()) => copy(from, name, to, &mut |_| ()),
        linked => linked,
    }
}

/// Whether a link is impossible where a copy may not be. File systems without links say that they do
/// not permit them.
fn is_refusal(kind: ErrorKind) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(kind, CrossesDevices | Unsupported | PermissionDenied | TooManyLinks)
}

/// Copies a file to another directory, which must not have it, and syncs it; each piece is shown to
/// `look` on its way. The name is durable after a sync of that directory.
pub(crate) fn copy(
    from: &dyn Storage,
    name: &str,
    to: &dyn Storage,
    look: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let (from, to) = (from.open_to_read(name)?, to.create(name)?);
    let length = from.len()?;
    let mut piece = vec![0; COPY_BYTES];
    for offset in (0..length).step_by(COPY_BYTES) {
        let bytes = (length - offset).min(COPY_BYTES as u64) as usize;
        from.read_exact_at(&mut piece[..bytes], offset)?;
        look(&piece[..bytes]);
        to.write_all_at(&piece[..bytes], offset)?;
    }
    to.sync()
}
