//! Ten thousand people come and go: nothing of them stays.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::{MediaRequest, Token, UnixMs};
use world::World;

const FILE: &str = r#"{"auto-subgroups":true,"max-history-age":60,
    "users":{"op":{"password":{"type":"wildcard"},"permissions":"op"}},
    "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#;

#[test]
fn ten_thousand_joins_and_leaves_leave_nothing() {
    let mut world = World::new(FILE);
    world.tokens.push(Token {
        token: "t".to_owned(),
        group: "test".to_owned(),
        username: Some("guest".to_owned()),
        permissions: vec!["present".to_owned(), "message".to_owned()],
        expires: Some(UnixMs(world.now.unix.0 + 86_400_000_000)),
        ..Token::default()
    });
    let census = |world: &World| world.board.census();
    assert_eq!((census(&world).clients, census(&world).connections), (0, 0));
    let mut here = Vec::new();
    for index in 0..10_000u32 {
        let id = format!("c{index}");
        let conn = world.greet(&id);
        let mut join = json!({"type": "join", "kind": "join", "group": "test"});
        let credentials = match index % 4 {
            0 => json!({"username": "ann", "password": "x"}),
            1 => json!({"token": "t"}),
            2 => json!({"username": "op", "password": "x"}),
            // One who does not get in.
            _ => json!({"token": "wrong", "username": "eve"}),
        };
        join.as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
        world.say(conn, join);
        world.say(conn, json!({"type": "request", "request": {"": ["audio", "video"]}}));
        if index % 8 == 0 {
            world.live(conn, &format!("s{index}"));
        }
        world.say(conn, json!({"type": "chat", "value": format!("hello {index}")}));
        here.push(conn);
        // A class of thirty, in which the eldest leaves, each in another way.
        if here.len() > 30 {
            let eldest = here.remove(0);
            match index % 3 {
                0 => world.say(eldest, json!({"type": "join", "kind": "leave", "group": "test"})),
                1 => world.say(eldest, json!({"type": "nonsense"})),
                _ => {}
            }
            world.disconnect(eldest);
        }
        world.forget();
        world.closed.clear();
        world.audit.clear();
        if index % 100 == 0 {
            world.advance(Duration::from_secs(1));
        }
    }
    assert!(census(&world).clients > 0 && census(&world).clients <= 31);
    for conn in here {
        world.disconnect(conn);
    }
    let empty = census(&world);
    assert_eq!((empty.clients, empty.connections), (0, 0));
    assert_eq!((empty.ups, empty.downs), (0, 0));
    // With its history too old the group itself is forgotten, and nothing is left to do.
    world.advance(Duration::from_secs(300));
    assert_eq!(census(&world).groups, 0);
    assert_eq!(world.board.stats(&Default::default()), Value::Array(Vec::new()));
    assert!(world.media.iter().all(|request| matches!(request, MediaRequest::Close { .. })));
}
