use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $retry:literal;)*) => {
        /// Error codes of the protocol (section 10 of the specification): stable strings, the same in every language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// All codes, in the order of the specification.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The stable string on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// Whether a client keeps the refused request and sends it again.
            pub fn allows_retry(self) -> bool {
                match self { $(ErrorCode::$name => $retry,)* }
            }
        }
    };
}

codes! {
    /// Not JSON, a missing or mistyped field, invalid UTF-8, a binary frame too short.
    Malformed = "malformed", false;
    /// A message type or binary kind that the receiver does not know.
    UnknownType = "unknown_type", false;
    /// A channel or event name that is empty, longer than 255 bytes, or not UTF-8.
    InvalidName = "invalid_name", false;
    /// Over `limits.payload`.
    PayloadTooLarge = "payload_too_large", false;
    /// Over `limits.frame`.
    FrameTooLarge = "frame_too_large", false;
    /// Over `limits.channels`.
    TooManyChannels = "too_many_channels", false;
    /// Over `limits.rate`.
    RateLimited = "rate_limited", true;
    /// Over `limits.inflight`.
    TooManyInflight = "too_many_inflight", true;
    /// The user may not do this.
    Forbidden = "forbidden", false;
    /// A bad token.
    Unauthorized = "unauthorized", false;
    /// The record is not at the revision that the client named, or an insert meets a record with another content.
    Conflict = "conflict", false;
    /// An update of a record that is not there.
    NotFound = "not_found", false;
    /// A record or patch that is not a JSON object, or an `id` in it that is not the key.
    InvalidRecord = "invalid_record", false;
    /// Over the server's bounds for a collection.
    CollectionFull = "collection_full", false;
    /// Over the server's bound for the members of a channel.
    PresenceFull = "presence_full", false;
    /// `send` to a server whose application takes no messages.
    NoHandler = "no_handler", false;
    /// The server cannot do it now.
    Unavailable = "unavailable", true;
    /// A fault of the server.
    Internal = "internal", false;
}

impl ErrorCode {
    /// The code with this string; `None` for one that this version does not know.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
