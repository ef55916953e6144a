use super::DecodeError;
use super::fields::{Fields, need};
use super::payload::validate_depth;
use super::text::key;

/// What happens to a record. The payloads are JSON, unparsed: [`Record::parse_validated`](super::Record::parse_validated) says
/// whether one is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op<'a> {
    /// It is added, and this is the whole of it.
    Insert(&'a [u8]),
    /// These fields replace its own.
    Update(&'a [u8]),
    /// It is taken out.
    Remove,
}

impl<'a> Op<'a> {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Insert(_) => "insert",
            Op::Update(_) => "update",
            Op::Remove => "remove",
        }
    }

    /// The record or the patch.
    pub fn payload(self) -> Option<&'a [u8]> {
        match self {
            Op::Insert(payload) | Op::Update(payload) => Some(payload),
            Op::Remove => None,
        }
    }

    /// Takes `op` and `payload`.
    pub(super) fn take(fields: &mut Fields<'a>) -> Result<Self, DecodeError> {
        let op = need!(fields.op).0;
        match &*op {
            "insert" => Ok(Op::Insert(need!(fields.payload).get().as_bytes())),
            "update" => Ok(Op::Update(need!(fields.payload).get().as_bytes())),
            "remove" => Ok(Op::Remove),
            other => Err(DecodeError::malformed(format!("op must be insert, update or remove, this is {other:?}"))
                .with_id(fields.id)),
        }
    }

    /// Appends the payload, which comes last.
    pub(super) fn encode_payload(self, out: &mut Vec<u8>) {
        if let Some(payload) = self.payload() {
            key(out, "payload");
            out.extend_from_slice(payload);
        }
    }

    /// Syntax was checked when the line was parsed.
    pub(super) fn validate(self) -> Result<(), DecodeError> {
        self.payload().map_or(Ok(()), validate_depth)
    }
}
