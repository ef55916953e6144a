use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use realtime_server::{Auth, HubConfig, RunningServer, ServerConfig};
use serde_json::{Value, json};

use crate::support::{Client, session, start, status};

const V1: (&str, &str) = ("sec-websocket-protocol", "realtime.v1");

async fn server(auth: Auth) -> RunningServer {
    start(ServerConfig { hub: HubConfig { auth, ..HubConfig::default() }, ..ServerConfig::default() }).await
}

fn hs256(claims: Value) -> String {
    encode(&Header::default(), &claims, &EncodingKey::from_secret(b"secret")).unwrap()
}

fn rs256(claims: Value) -> String {
    let key = EncodingKey::from_rsa_pem(include_bytes!("../keys/rs256-private.pem")).unwrap();
    encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
}

fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

#[tokio::test]
async fn a_token_comes_in_the_header_or_in_the_query_or_in_hello() {
    let server = server(Auth::hs256(b"secret")).await;
    let token = hs256(json!({"sub": "ann", "exp": seconds_from_now(60)}));
    let bearer = format!("Bearer {token}");
    let mut client = Client::open(&server, "/", &[V1, ("authorization", &bearer)]).await.unwrap();
    let welcome = client.hello("a").await;
    assert_eq!(welcome["user"], "ann");
    assert!((50_000..=60_000).contains(&welcome["expires_in"].as_u64().unwrap()), "{welcome}");
    let mut client = Client::open(&server, &format!("/?x=%20&token={token}"), &[V1]).await.unwrap();
    assert_eq!(client.hello("b").await["user"], "ann");
    let mut client = Client::open(&server, "/", &[V1]).await.unwrap();
    client.say(json!({"type": "hello", "session": session("c"), "token": token})).await;
    assert_eq!(client.hear().await["user"], "ann");
    Client::open(&server, "/", &[("authorization", &bearer)]).await.expect("a plain client");
}

#[tokio::test]
async fn bad_ones_are_refused_on_the_upgrade_and_in_hello() {
    let server = server(Auth::hs256(b"secret")).await;
    let expired = format!("Bearer {}", hs256(json!({"sub": "ann", "exp": 1000})));
    let forged = format!(
        "Bearer {}",
        encode(&Header::default(), &json!({"sub": "ann"}), &EncodingKey::from_secret(b"x")).unwrap()
    );
    for bad in [expired.as_str(), &forged, "bearer nonsense"] {
        assert_eq!(status(Client::open(&server, "/", &[V1, ("authorization", bad)]).await), 401, "{bad}");
    }
    assert_eq!(status(Client::open(&server, "/?token=nonsense", &[V1]).await), 401);
    assert_eq!(status(Client::open(&server, "/", &[]).await), 401, "plain clients have no other place for it");
    let mut client = Client::open(&server, "/", &[V1]).await.unwrap();
    client.say(json!({"type": "hello", "session": session("a")})).await;
    assert_eq!(client.closed().await, 4200);
}

#[tokio::test]
async fn rs256_is_checked_with_the_public_key() {
    let server = server(Auth::rs256(include_bytes!("../keys/rs256-public.pem")).unwrap()).await;
    let mut client = Client::open(&server, "/", &[V1]).await.unwrap();
    client.say(json!({"type": "hello", "session": session("a"), "token": rs256(json!({"sub": "ann"}))})).await;
    assert_eq!(client.hear().await["user"], "ann");
    // The public key is no secret: a token that is signed with it as an HS256 secret must not count.
    let forged = encode(
        &Header::default(),
        &json!({"sub": "ann"}),
        &EncodingKey::from_secret(include_bytes!("../keys/rs256-public.pem")),
    );
    let forged = format!("Bearer {}", forged.unwrap());
    assert_eq!(status(Client::open(&server, "/", &[V1, ("authorization", &forged)]).await), 401);
    Auth::rs256(b"nonsense").unwrap_err();
}

#[tokio::test]
async fn nobody_speaks_as_another() {
    let server = server(Auth::hs256(b"secret")).await;
    let bearer = |user: &str| format!("Bearer {}", hs256(json!({"sub": user})));
    let mut eve = Client::open(&server, "/", &[V1, ("authorization", &bearer("eve"))]).await.unwrap();
    eve.hello("eve").await;
    let mut plain = Client::open(&server, "/", &[("authorization", &bearer("paul"))]).await.unwrap();
    eve.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    eve.hear_type("subscribed").await;
    eve.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "user": "ann", "payload": 1})).await;
    assert_eq!(eve.hear_type("message").await["user"], "eve");
    plain
        .say(json!({"type": "channel_message", "user": "ann", "payload": {"channel": "room", "event": "e", "user": "ann", "payload": 2}}))
        .await;
    assert_eq!(eve.hear_type("message").await["user"], "paul");
}

#[tokio::test]
async fn a_token_that_runs_out_closes() {
    let server = server(Auth::hs256(b"secret")).await;
    let token = hs256(json!({"sub": "ann", "exp": seconds_from_now(2)}));
    let mut client = Client::open(&server, "/", &[V1]).await.unwrap();
    client.say(json!({"type": "hello", "session": session("a"), "token": token})).await;
    client.hear_type("welcome").await;
    assert_eq!(client.closed().await, 4201);
}

#[tokio::test]
async fn a_shared_secret() {
    let server = server(Auth::secret("s3cret&=")).await;
    Client::open(&server, "/?token=s3cret%26%3D", &[]).await.unwrap();
    assert_eq!(status(Client::open(&server, "/?token=s3cret", &[]).await), 401);
}
