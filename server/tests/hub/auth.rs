use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use realtime_server::hub::{Authorizer, ConnectionId, Dialect, HubConfig};
use realtime_server::{Auth, AuthError, Identity};
use serde_json::{Value, json};

use crate::world::World;

fn token(claims: Value) -> String {
    encode(&Header::default(), &claims, &EncodingKey::from_secret(b"secret")).unwrap()
}

fn jwt_world() -> World {
    World::new(HubConfig { auth: Auth::hs256(b"secret"), ..HubConfig::default() })
}

fn hello(world: &mut World, session: &str, token: &str) -> (ConnectionId, Vec<Value>) {
    let client = world.open(Dialect::V1, None);
    let heard = world.ask(client, json!({"type": "hello", "session": format!("{session:_<24}"), "token": token}));
    (client, heard)
}

#[test]
fn the_verified_user_is_stamped_on_what_a_client_publishes() {
    let mut world = jwt_world();
    let (ann, welcome) = hello(&mut world, "ann", &token(json!({"sub": "ann"})));
    assert_eq!((&welcome[0]["user"], welcome[0].get("expires_in")), (&json!("ann"), None));
    let (bob, _) = hello(&mut world, "bob", &token(json!({"sub": "bob"})));
    world.subscribe(bob, "room");
    world.say_text(
        ann,
        r#"{"type":"publish","id":1,"channel":"room","event":"e","user":"bob","payload":{"user":"bob"}}"#,
    );
    assert_eq!(world.hear(bob)[0]["user"], "ann", "what the client says about itself does not count");
    world.say_binary(ann, b"\x01\x00\0\0\0\0\0\0\0\x02\x04\x01roome!");
    let binary = world.hear(bob)[0]["bytes"].clone();
    let bytes: Vec<u8> = serde_json::from_value(binary).unwrap();
    assert!(bytes.ends_with(b"roomeann!"));
}

#[test]
fn bad_tokens_are_refused() {
    let mut world = jwt_world();
    let none = jsonwebtoken::Header { alg: Algorithm::HS512, ..Header::default() };
    for bad in [
        String::new(),
        "nonsense".into(),
        encode(&Header::default(), &json!({"sub": "ann"}), &EncodingKey::from_secret(b"another")).unwrap(),
        encode(&none, &json!({"sub": "ann"}), &EncodingKey::from_secret(b"secret")).unwrap(),
        token(json!({"sub": "ann", "exp": 999})),
        token(json!({"sub": "ann", "nbf": 2000})),
        token(json!({"sub": ""})),
        token(json!({"sub": "x".repeat(256)})),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.".into(),
    ] {
        let (client, _) = hello(&mut world, "ann", &bad);
        assert_eq!(world.closed.get(&client), Some(&4200), "{bad}");
    }
    let client = world.open(Dialect::V1, None);
    world.say(client, json!({"type": "hello", "session": "0123456789abcdef"}));
    assert_eq!(world.closed.get(&client), Some(&4200), "a missing one");
    let plain = world.open(Dialect::Plain, None);
    assert_eq!(world.closed.get(&plain), Some(&4200));
}

#[test]
fn the_token_of_the_hello_wins_over_that_of_the_upgrade() {
    let mut world = jwt_world();
    let upgrade = Identity { user: Some("upgrade".into()), expires_at: None };
    let client = world.open(Dialect::V1, Some(upgrade.clone()));
    let welcome = world.ask(client, json!({"type": "hello", "session": "0123456789abcdef"}));
    assert_eq!(welcome[0]["user"], "upgrade");
    let client = world.open(Dialect::V1, Some(upgrade));
    let welcome = world
        .ask(client, json!({"type": "hello", "session": "0123456789abcdef", "token": token(json!({"sub": "hello"}))}));
    assert_eq!(welcome[0]["user"], "hello");
    assert!(world.closed.is_empty(), "another user's session of the same name is another session");
}

#[test]
fn a_token_that_runs_out_closes_unless_it_is_refreshed() {
    let mut world = jwt_world();
    let (ann, welcome) = hello(&mut world, "ann", &token(json!({"sub": "ann", "exp": 1010})));
    assert_eq!(welcome[0]["expires_in"], 10_000);
    let (late, _) = hello(&mut world, "late", &token(json!({"sub": "late", "exp": 1010})));
    world.advance(9_000);
    let answer = world.ask(ann, json!({"type": "auth", "id": 5, "token": token(json!({"sub": "ann", "exp": 1020}))}));
    assert_eq!(answer, [json!({"type": "authenticated", "id": 5, "user": "ann", "expires_in": 11_000})]);
    world.advance(999);
    assert!(world.closed.is_empty());
    world.advance(1);
    assert_eq!((world.closed.get(&late), world.closed.get(&ann)), (Some(&4201), None));
    world.advance(10_000);
    assert_eq!(world.closed.get(&ann), Some(&4201));
}

#[test]
fn a_refresh_with_a_bad_token_or_anothers_changes_nothing() {
    let mut world = jwt_world();
    let (ann, _) = hello(&mut world, "ann", &token(json!({"sub": "ann"})));
    let answer = world.ask(ann, json!({"type": "auth", "id": 1, "token": "nonsense"}));
    assert_eq!((&answer[0]["code"], &answer[0]["id"]), (&json!("unauthorized"), &json!(1)));
    let answer = world.ask(ann, json!({"type": "auth", "id": 2, "token": token(json!({"sub": "bob"}))}));
    assert_eq!(answer[0]["code"], "forbidden");
    world.subscribe(ann, "room");
    world.say(ann, json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1}));
    assert_eq!(world.hear(ann)[1]["user"], "ann");
}

#[test]
fn a_shared_secret_has_no_user() {
    let mut world = World::new(HubConfig { auth: Auth::secret("open sesame"), ..HubConfig::default() });
    let (_, welcome) = hello(&mut world, "ann", "open sesame");
    assert_eq!((&welcome[0]["type"], welcome[0].get("user")), (&json!("welcome"), None));
    for bad in ["open sesam", "open sesame!", "Open sesame", ""] {
        let (client, _) = hello(&mut world, "ann", bad);
        assert_eq!(world.closed.get(&client), Some(&4200), "{bad}");
    }
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_set() {
    let auth = Auth::hs256(b"secret").audience("chat").issuer("us");
    let verify = |claims| auth.verify(&token(claims), 0);
    assert_eq!(verify(json!({"sub": "a", "aud": "chat", "iss": "us"})).unwrap().user.as_deref(), Some("a"));
    for claims in [
        json!({"aud": "shop", "iss": "us"}),
        json!({"aud": "chat", "iss": "them"}),
        json!({"aud": "chat"}),
        json!({"iss": "us"}),
    ] {
        assert!(matches!(verify(claims.clone()), Err(AuthError::Invalid(_))), "{claims}");
    }
}

struct OwnRoomOnly;

impl Authorizer for OwnRoomOnly {
    fn can_publish(&self, user: Option<&str>, channel: &str) -> bool {
        user == Some(channel)
    }
    fn can_subscribe(&self, user: Option<&str>, channel: &str) -> bool {
        user == Some(channel)
    }
}

#[test]
fn the_authorizer_is_asked() {
    let config = HubConfig { auth: Auth::hs256(b"secret"), authorizer: Arc::new(OwnRoomOnly), ..HubConfig::default() };
    let mut world = World::new(config);
    let (ann, _) = hello(&mut world, "ann", &token(json!({"sub": "ann"})));
    world.subscribe(ann, "ann");
    assert_eq!(world.publish(ann, 1, "ann")["type"], "receipt");
    assert_eq!(world.publish(ann, 2, "bob")["code"], "forbidden");
    assert_eq!(world.ask(ann, json!({"type": "subscribe", "id": 3, "channel": "bob"}))[0]["code"], "forbidden");
    let plain = world.open(Dialect::Plain, Some(Identity { user: Some("ann".into()), expires_at: None }));
    let refused = world.ask(plain, json!({"type": "subscribe", "payload": {"channel": "bob"}}));
    assert_eq!(refused[0]["payload"]["code"], "forbidden");
}
