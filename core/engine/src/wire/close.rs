/// What a close code tells the client to do (section 11 of the specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosePolicy {
    /// Come back, with backoff.
    Reconnect,
    /// Come back with a fresh token; terminal where there is no token provider.
    Refresh,
    /// Do not come back.
    Terminal,
}

/// A WebSocket close code. Its numeric range carries the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The peer is done. From a server this does not mean that the user wanted it.
    pub const NORMAL: Self = Self(1000);
    /// No close frame was seen.
    pub const ABNORMAL: Self = Self(1006);
    /// A frame was larger than the peer can read.
    pub const TOO_BIG: Self = Self(1009);
    /// The server drains or stops.
    pub const GOING_AWAY: Self = Self(4000);
    /// Nothing could be written for the write timeout.
    pub const SLOW_CONSUMER: Self = Self(4001);
    /// Nothing was heard for the timeout.
    pub const HEARTBEAT_TIMEOUT: Self = Self(4002);
    /// No `hello` in time.
    pub const HANDSHAKE_TIMEOUT: Self = Self(4003);
    /// A fault of the server.
    pub const INTERNAL: Self = Self(4004);
    /// The server is full.
    pub const TOO_MANY_CONNECTIONS: Self = Self(4005);
    /// Token missing or invalid.
    pub const UNAUTHORIZED: Self = Self(4200);
    /// The token ran out while connected.
    pub const TOKEN_EXPIRED: Self = Self(4201);
    /// The peer does not speak this protocol.
    pub const PROTOCOL_ERROR: Self = Self(4500);
    /// This user may not connect.
    pub const FORBIDDEN: Self = Self(4501);
    /// Another connection took the session over.
    pub const SESSION_REPLACED: Self = Self(4502);

    /// What the range of this code tells the client to do.
    pub fn policy(self) -> ClosePolicy {
        match self.0 {
            4200..=4299 => ClosePolicy::Refresh,
            4500..=4999 => ClosePolicy::Terminal,
            _ => ClosePolicy::Reconnect,
        }
    }

    /// The stable name of a code that this protocol defines, `closed` for any other.
    pub fn name(self) -> &'static str {
        match self.0 {
            1000 => "normal",
            1009 => "frame_too_large",
            4000 => "going_away",
            4001 => "slow_consumer",
            4002 => "heartbeat_timeout",
            4003 => "handshake_timeout",
            4004 => "internal",
            4005 => "too_many_connections",
            4200 => "unauthorized",
            4201 => "token_expired",
            4500 => "protocol_error",
            4501 => "forbidden",
            4502 => "session_replaced",
            _ => "closed",
        }
    }
}
