//! Who a client is.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use realtime_engine::wire::MAX_NAME_BYTES;
use serde::Deserialize;

/// How tokens are checked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Auth {
    /// Everybody may connect, and nobody has a user id.
    #[default]
    None,
    /// The token is a secret that all clients share. Nobody has a user id.
    Secret(Secret),
    /// The token is a JWT whose `sub` is the user id.
    Jwt(Jwt),
}

impl Auth {
    /// Wants this very token.
    pub fn secret(secret: impl Into<String>) -> Self {
        Auth::Secret(Secret(secret.into().into()))
    }

    /// Wants a JWT signed with HS256 and this secret.
    pub fn hs256(secret: &[u8]) -> Self {
        Auth::Jwt(Jwt::new(DecodingKey::from_secret(secret), Algorithm::HS256))
    }

    /// Wants a JWT signed with RS256; `pem` is the public key.
    pub fn rs256(pem: &[u8]) -> Result<Self, AuthError> {
        let key = DecodingKey::from_rsa_pem(pem).map_err(|error| AuthError::Key(error.to_string()))?;
        Ok(Auth::Jwt(Jwt::new(key, Algorithm::RS256)))
    }

    /// Wants the `aud` claim to be this. Only a JWT has one.
    pub fn audience(mut self, audience: &str) -> Self {
        if let Auth::Jwt(jwt) = &mut self {
            let validation = Arc::make_mut(&mut jwt.validation);
            validation.set_audience(&[audience]);
            validation.validate_aud = true;
            validation.required_spec_claims.insert("aud".into());
        }
        self
    }

    /// Wants the `iss` claim to be this. Only a JWT has one.
    pub fn issuer(mut self, issuer: &str) -> Self {
        if let Auth::Jwt(jwt) = &mut self {
            let validation = Arc::make_mut(&mut jwt.validation);
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        self
    }

    /// Whether a client may come without a token.
    pub fn is_open(&self) -> bool {
        matches!(self, Auth::None)
    }

    /// Checks a token at `now` (ms since the Unix epoch).
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, AuthError> {
        match self {
            Auth::None => Ok(Identity::default()),
            Auth::Secret(secret) => match secret.matches(token) {
                true => Ok(Identity::default()),
                false => Err(AuthError::Mismatch),
            },
            Auth::Jwt(jwt) => jwt.verify(token, now),
        }
    }
}

/// What a token proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The verified user id.
    pub user: Option<Arc<str>>,
    /// When the token runs out, ms since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// Why a token, or a key, was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server wants a token.
    #[error("a token is required")]
    Missing,
    /// Not the shared secret.
    #[error("the token is not the right one")]
    Mismatch,
    /// Not a valid JWT.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// It ran out.
    #[error("the token has expired")]
    Expired,
    /// The `sub` claim is not a user id of 1 to 255 bytes.
    #[error("the user id must have 1 to 255 bytes")]
    User,
    /// The public key cannot be read.
    #[error("the public key cannot be read: {0}")]
    Key(String),
}

/// A shared secret that does not show up in logs.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes as long for a near miss as for a far one.
    fn matches(&self, token: &str) -> bool {
        let (secret, token) = (self.0.as_bytes(), token.as_bytes());
        let mut difference = u8::from(secret.len() != token.len());
        for (index, byte) in token.iter().enumerate() {
            difference |= byte ^ secret.get(index).copied().unwrap_or(!byte);
        }
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How a JWT is checked.
#[derive(Clone)]
pub struct Jwt {
    key: Arc<DecodingKey>,
    validation: Arc<Validation>,
}

impl Jwt {
    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        // Time is an input here: expiry is checked below, against the clock that the caller passes in.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        Self { key: Arc::new(key), validation: Arc::new(validation) }
    }

    fn verify(&self, token: &str, now: u64) -> Result<Identity, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| AuthError::Invalid(error.to_string()))?
            .claims;
        let millis = |seconds: f64| (seconds.max(0.0) * 1000.0) as u64;
        let expires_at = claims.exp.map(millis);
        if expires_at.is_some_and(|at| at <= now) {
            return Err(AuthError::Expired);
        }
        if claims.nbf.map(millis).is_some_and(|at| at > now.saturating_add(NOT_BEFORE_LEEWAY)) {
            return Err(AuthError::Invalid("not valid yet".into()));
        }
        match &claims.sub {
            Some(user) if user.is_empty() || user.len() > MAX_NAME_BYTES => Err(AuthError::User),
            user => Ok(Identity { user: user.as_deref().map(Arc::from), expires_at }),
        }
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("algorithms", &self.validation.algorithms).finish_non_exhaustive()
    }
}

/// Clocks of token makers run a little ahead at times, ms.
const NOT_BEFORE_LEEWAY: u64 = 60_000;

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}
