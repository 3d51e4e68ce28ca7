//! Forges the files of a database: what the input puts there stands under checksums that are right.
//!
//! A fuzzer cannot guess a checksum, so that nothing behind one would ever see what it makes.

use super::directory::Files;
use super::naive_journal::{Forged, Group};
use super::source::Source;
use super::tables::masked;

const FOOTER: usize = 72;
const GROUP_HEADER: usize = 72;
const BLOCK: usize = 4096;

/// Changes some files by what the input says.
pub(super) fn forge(files: &mut Files, source: &mut Source<'_>) {
    let names: Vec<String> = files.keys().cloned().collect();
    for _ in 0..=source.below(3) {
        let name = &names[source.below(names.len())];
        let Some(file) = files.get_mut(name) else { continue };
        if name == "CURRENT" {
            forge_current(files, source);
        } else if name.contains(".sst") {
            forge_table(file, source);
        } else if source.one_in(2) {
            forge_group(file, name, source);
        } else {
            add_group(file, name, source);
        }
    }
}

/// The number in a file's name.
fn id(name: &str) -> u64 {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Names another manifest.
fn forge_current(files: &mut Files, source: &mut Source<'_>) {
    let name = format!("MANIFEST-{:06}", source.number());
    let line = format!("{name} crc32c={:08x}\n", crc32c::crc32c(name.as_bytes()));
    if source.one_in(2)
        && let Some(manifest) = files.iter().find(|(name, _)| name.starts_with("MANIFEST"))
    {
        let bytes = manifest.1.clone();
        files.insert(name, bytes);
    }
    files.insert("CURRENT".to_owned(), line.into_bytes());
}

/// Overwrites up to eight bytes at a place.
fn overwrite(bytes: &mut [u8], at: usize, source: &mut Source<'_>) {
    let number = source.number().to_le_bytes();
    let len = source.pick(&[1, 2, 4, 8]);
    bytes.iter_mut().skip(at).zip(&number[..len]).for_each(|(byte, new)| *byte = *new);
}

/// Changes bytes of a journal's header, or of a group and its payload.
fn forge_group(file: &mut [u8], name: &str, source: &mut Source<'_>) {
    let at = source.below(file.len() / BLOCK) * BLOCK;
    let block_end = file.len().min(at + BLOCK);
    let length = |file: &[u8]| {
        let bytes = file.get(at + 52..at + 56)?.try_into().ok()?;
        Some((u32::from_le_bytes(bytes) as usize).min(file.len() - at - GROUP_HEADER))
    };
    let used = GROUP_HEADER + length(file).unwrap_or(0).min(BLOCK - GROUP_HEADER);
    overwrite(&mut file[at..block_end], source.below(used), source);
    if at == 0 {
        let crc = crc32c::crc32c(&file[..72]);
        file[72..76].copy_from_slice(&crc.to_le_bytes());
        return;
    }
    let place = [id(name).to_le_bytes(), (at as u64).to_le_bytes()].concat();
    let payload_end = at + GROUP_HEADER + length(file).unwrap_or(0);
    let payload = &file[at + GROUP_HEADER..payload_end];
    let epoch = &file[at + 8..at + 16];
    let crc = crc32c::crc32c(&[&place, epoch, payload].concat());
    file[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&[&place, &file[at..at + 68]].concat());
    file[at + 68..at + 72].copy_from_slice(&crc.to_le_bytes());
}

/// Adds a group with any payload behind the last one: records, or an edit.
fn add_group(file: &mut Vec<u8>, name: &str, source: &mut Source<'_>) {
    let is_manifest = name.starts_with("MANIFEST");
    let number = |at: usize| {
        file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    let mut forged = Forged::new(id(name), is_manifest);
    (forged.epoch, forged.first_group, forged.first_seq) = (number(24), number(32), number(40));
    let mut group = Group::first(&forged);
    let mut at = BLOCK;
    while file.get(at..at + 4) == Some(b"CGRP") {
        let u32_at = |at: usize| {
            file.get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, u32::from_le_bytes)
        };
        let seqs = u64::from(u32_at(at + 48));
        group.number = number(at + 16).wrapping_add(1);
        group.first_seq = number(at + 24).wrapping_add(seqs);
        group.synced = number(at + 16);
        group.previous_crc = u32_at(at + 68);
        at = (at + GROUP_HEADER + u32_at(at + 52) as usize).next_multiple_of(BLOCK);
    }
    group.count = 1 + u32::from(source.u8() % 3);
    group.payload = source.word(200).to_vec();
    let behind = file.split_off(at.min(file.len()));
    file.resize(at, 0);
    group.append_to(file, forged.id);
    file.extend(behind.get(BLOCK..).unwrap_or_default());
}

/// Changes bytes of a table's footer, or of a block that it names.
fn forge_table(file: &mut [u8], source: &mut Source<'_>) {
    let Some(footer) = file.len().checked_sub(FOOTER) else { return };
    let number = |file: &[u8], at: usize| {
        let bytes = file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        usize::try_from(bytes.map_or(0, u64::from_le_bytes)).unwrap_or(0)
    };
    let which = source.below(4);
    if which == 3 {
        overwrite(file, footer + source.below(60), source);
    } else {
        let handle = footer + which * 16;
        let (offset, size) = (number(file, handle), number(file, handle + 8));
        let end = offset.saturating_add(size);
        if end.saturating_add(5) > footer {
            return;
        }
        overwrite(&mut file[..end], offset + source.below(size.max(1)), source);
        let id = &file[footer + 48..footer + 56];
        let checked = [id, &(offset as u64).to_le_bytes(), &file[offset..=end]].concat();
        let crc = masked(crc32c::crc32c(&checked));
        file[end + 1..end + 5].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = masked(crc32c::crc32c(&file[footer..footer + 60]));
    file[footer + 60..footer + 64].copy_from_slice(&crc.to_le_bytes());
}
