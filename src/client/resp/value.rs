//! What a RESP server answers, once it is decoded.
//!
//! Bytes stay bytes. Numbers that are only ever shown keep the digits that the server sent: a double
//! that was parsed and printed again could differ in its last digit.

/// One reply, or one message that the server pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A status, such as `OK`.
    Simple(Vec<u8>),
    /// The server said no: its error code and sentence.
    Error(Vec<u8>),
    Integer(i64),
    /// A floating-point number, in the server's digits.
    Double(Vec<u8>),
    /// An integer of any size, in decimal digits.
    BigNumber(Vec<u8>),
    Boolean(bool),
    /// Nothing: also RESP2's absent bulk string and absent array.
    Null,
    Bulk(Vec<u8>),
    /// Text that is meant to be shown as it is.
    Verbatim(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    /// A message that answers no request.
    Push(Vec<Value>),
}

impl Value {
    /// Whether the server refused the request.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Whether it holds other values.
    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(_) | Self::Set(_) | Self::Push(_))
    }

    /// The bytes of a string of any kind.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Bulk(text) | Self::Verbatim(text) => Some(text),
            _ => None,
        }
    }

    /// A string of any kind, for reading: what is not UTF-8 in it is replaced. Else empty.
    pub(crate) fn to_text(&self) -> String {
        String::from_utf8_lossy(self.text().unwrap_or_default()).into_owned()
    }

    /// The number, also where it is spelt in a string.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => std::str::from_utf8(other.text()?).ok()?.parse().ok(),
        }
    }

    /// The members of an array, a set or a push; else none.
    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            _ => &[],
        }
    }

    /// The pairs of a map, or of the flat array that stands for one in RESP2.
    pub(crate) fn pairs(&self) -> Vec<(&Value, &Value)> {
        if let Self::Map(pairs) = self {
            return pairs.iter().map(|(key, value)| (key, value)).collect();
        }
        self.items().as_chunks().0.iter().map(|[key, value]| (key, value)).collect()
    }
}
