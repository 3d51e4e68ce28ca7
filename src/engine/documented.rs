//! Reads the examples of `docs/format.md`, which are fixtures: document and code cannot drift apart.

/// The bytes of the example in the code block `tag`: lines of `offset: bytes ; what they are`. Bytes
/// that no line shows are zero.
pub(crate) fn documented(tag: &str) -> Vec<u8> {
    let document = include_str!("../../docs/format.md");
    let (_, dump) = document.split_once(&format!("```{tag}\n")).expect("the example");
    let dump = dump.split("```").next().unwrap_or_default();
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.trim().is_empty()) {
        let (offset, rest) = line.split_once(':').expect("an offset");
        let offset = usize::from_str_radix(offset.trim(), 16).expect("a hexadecimal offset");
        assert!(offset >= bytes.len(), "{line}");
        bytes.resize(offset, 0);
        let hex = rest.split(';').next().unwrap_or_default().split_whitespace();
        bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")));
    }
    bytes
}
