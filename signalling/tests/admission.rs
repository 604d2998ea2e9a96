//! Who gets in, who does not, and what they are told.

mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use signalling::{CredentialCheck, GroupFile, GroupName, Password, Proof, StatusReply, Verdict};
use world::{OPEN, World, group, kinds};

/// What a refused joiner is told.
fn refusal(world: &mut World, username: &str, password: &str) -> String {
    let id = format!("id-{username}-{password}");
    let conn = world.join_as(&id, username, password);
    let said = world.take(conn);
    assert_eq!(kinds(&said), ["joined/fail"], "{said:?}");
    assert!(!world.closed.contains_key(&conn), "a refused client stays connected");
    said[0]["value"].as_str().expect("a reason").to_owned()
}

#[test]
fn passwords_of_every_kind_open_only_to_the_right_word() {
    let file = r#"{"users":{
        "plain":{"password":"secret","permissions":"present"},
        "object":{"password":{"type":"plain","key":"secret"},"permissions":"present"},
        "hashed":{"password":{"type":"pbkdf2","hash":"sha-256","iterations":4096,
            "salt":"73616c74",
            "key":"f2bb9ecfdc15eef50a87bab8a3d1ba8d9aa4f5a0ee9b2b4d3e86fdf7a18ff8ff"},
            "permissions":"present"},
        "none":{"permissions":"present"},
        "never":{"password":{"type":""},"permissions":"present"},
        "null":{"password":null,"permissions":"present"},
        "broken":{"password":{"type":"rot13","key":"secret"},"permissions":"present"},
        "anything":{"password":{"type":"wildcard"},"permissions":"present"}},
        "wildcard-user":{"password":"guest","permissions":"message"}}"#;
    let mut world = World::new(file);
    for user in ["plain", "object"] {
        let conn = world.join_as(user, user, "secret");
        assert_eq!(world.take(conn)[0]["kind"], "join", "{user}");
    }
    for user in ["plain", "object", "hashed", "none", "never", "null"] {
        // A named user shadows the wildcard user, whose password is no help here.
        for wrong in ["", "Secret", "secret ", "guest", "null"] {
            assert_eq!(refusal(&mut world, user, wrong), "not authorised", "{user} {wrong:?}");
        }
    }
    assert_eq!(refusal(&mut world, "broken", "secret"), "internal server error");
    let conn = world.join_as("any", "anything", "whatever");
    assert_eq!(world.take(conn)[0]["permissions"], json!(["present", "message"]));
    let conn = world.join_as("guest", "zoe", "guest");
    assert_eq!(world.take(conn)[0]["permissions"], json!(["message"]));
    assert_eq!(refusal(&mut world, "zoe", "secret"), "not authorised");
    assert!(refusal(&mut world, "../zoe", "guest").starts_with("this username cannot be used"));
}

#[test]
fn a_join_without_a_name_or_with_a_token_is_not_authorised() {
    let mut world = World::new(OPEN);
    for credentials in
        [json!({}), json!({"username": null}), json!({"username": "a", "token": "t"})]
    {
        let conn = world.greet("x");
        let mut join = json!({"type": "join", "kind": "join", "group": "test"});
        join.as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
        world.say(conn, join);
        let said = world.take(conn);
        assert_eq!(said[0]["value"], "not authorised", "{said:?}");
    }
    // An empty name is a name.
    let conn = world.join_as("anon", "", "");
    assert_eq!(world.take(conn)[0]["username"], "");
}

#[test]
fn crooked_and_unknown_groups_are_refused() {
    let mut world = World::new(OPEN);
    world.files.insert("bad".into(), group("{\"x\":1}"));
    for (name, text) in [
        ("nothing", "group does not exist"),
        ("bad", "this group has a mistake in its settings: tell who runs this server"),
        ("", "illegal group name"),
        ("/test", "illegal group name"),
        ("../test", "illegal group name"),
        ("a/.b", "illegal group name"),
        ("a\\b", "illegal group name"),
        ("a\0b", "illegal group name"),
    ] {
        let conn = world.greet("x");
        world.say(conn, json!({"type": "join", "kind": "join", "group": name, "username": "a"}));
        let said = world.take(conn);
        assert_eq!((&said[0]["kind"], &said[0]["value"]), (&json!("fail"), &json!(text)), "{name}");
        // A failed join leaves nothing behind, least of all permissions.
        world.say(conn, json!({"type": "offer", "id": "s", "label": "", "sdp": "v=0"}));
        assert_eq!(kinds(&world.take(conn)), ["abort", "usermessage/error"]);
        assert!(world.media.is_empty());
    }
}

#[test]
fn ids_are_unique_and_not_empty() {
    let mut world = World::new(OPEN);
    world.member("one", "ann");
    for id in ["one", ""] {
        let conn = world.join_as(id, "bob", "");
        assert_eq!(world.take(conn)[0]["value"], "internal server error");
    }
    // Names need not be unique.
    world.member("two", "ann");
}

const LECTURE: &str = r#""users":{"boss":{"password":"b","permissions":"op"}},
    "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}"#;

fn lecture(more: &str) -> World {
    World::new(&format!("{{{more}{LECTURE}}}"))
}

#[test]
fn a_lock_stops_all_but_ops() {
    let mut world = lecture("");
    let boss = world.join_as("boss", "boss", "b");
    world.say(boss, json!({"type": "groupaction", "kind": "lock", "value": "exam"}));
    assert_eq!(refusal(&mut world, "ann", ""), "exam");
    world.say(boss, json!({"type": "groupaction", "kind": "lock"}));
    assert_eq!(refusal(&mut world, "ann", ""), "this group is locked");
    let other = world.join_as("boss2", "boss", "b");
    assert_eq!(world.take(other)[0]["status"]["locked"], true);
    world.say(boss, json!({"type": "groupaction", "kind": "unlock"}));
    world.member("ann", "ann");
}

#[test]
fn regression_locks_and_kicks_with_a_value_that_is_no_text_do_without_it() {
    let mut world = lecture("");
    let boss = world.join_as("boss", "boss", "b");
    for value in [json!({"message": "exam"}), json!(3), json!(true), json!(["exam"])] {
        world.say(boss, json!({"type": "groupaction", "kind": "unlock"}));
        let ann = world.member("ann", "ann");
        world.say(boss, json!({"type": "groupaction", "kind": "lock", "value": value}));
        assert_eq!(refusal(&mut world, "bob", ""), "this group is locked");
        world.take(boss);
        let kick = json!({"type": "useraction", "kind": "kick", "dest": "ann", "value": value});
        world.say(boss, kick);
        assert_eq!(kinds(&world.take(boss)), ["user/delete"], "{value}");
        assert!(world.closed.contains_key(&ann));
    }
}

#[test]
fn regression_a_name_that_cannot_be_is_not_a_wrong_password() {
    let mut world = lecture("");
    for typed in ["\u{200f}boss\u{200f}", "bo\u{ad}ss", "\tboss"] {
        let boss = world.join_as(&format!("{}", typed.len()), typed, "b");
        let said = world.take(boss);
        assert_eq!((&said[0]["kind"], &said[0]["username"]), (&json!("join"), &json!("boss")));
        // What looks like a user's name is that user's, with the same password.
        assert_eq!(refusal(&mut world, typed, "wrong"), "not authorised");
    }
    for (name, why) in [
        ("a\tb", "the name has a character that cannot be seen"),
        ("bo\u{200b}ss", "the name has a character that cannot be seen"),
        ("a\\b", "the name has a backslash"),
        ("a/", "the name has an empty part"),
    ] {
        let text = format!("this username cannot be used: {why}; type another one");
        assert_eq!(refusal(&mut world, name, "b"), text);
    }
}

#[test]
fn hours_and_numbers_bind_all_but_ops() {
    let mut world = lecture(r#""not-before":"2030-01-01T00:00:00Z","#);
    assert_eq!(refusal(&mut world, "ann", ""), "this group is not open yet");
    world.join_as("boss", "boss", "b");
    assert!(world.closed.is_empty());
    let mut world = lecture(r#""expires":"2020-01-01T00:00:00Z","#);
    assert_eq!(refusal(&mut world, "ann", ""), "this group is closed");
    let mut world = lecture(r#""max-clients":1,"#);
    world.member("ann", "ann");
    assert_eq!(refusal(&mut world, "bob", ""), "too many users");
    let boss = world.join_as("boss", "boss", "b");
    assert_eq!(world.take(boss)[0]["kind"], "join");
}

#[test]
fn autolock_locks_when_no_op_is_there_and_an_op_does_not_unlock() {
    let mut world = lecture(r#""autolock":true,"#);
    assert_eq!(refusal(&mut world, "ann", ""), "this group is locked");
    let boss = world.join_as("boss", "boss", "b");
    assert_eq!(world.take(boss)[0]["status"]["locked"], true);
    world.say(boss, json!({"type": "groupaction", "kind": "unlock"}));
    let ann = world.member("ann", "ann");
    world.disconnect(boss);
    assert_eq!(kinds(&world.take(ann)), ["user/delete", "joined/change"]);
    assert_eq!(refusal(&mut world, "bob", ""), "this group is locked");
}

#[test]
fn autokick_empties_the_group_when_the_last_op_leaves() {
    let mut world = lecture(r#""autokick":true,"#);
    assert_eq!(refusal(&mut world, "ann", ""), "there are no operators in this group");
    let boss = world.join_as("boss", "boss", "b");
    let members: Vec<_> = (0..500).map(|index| world.member(&format!("m{index}"), "ann")).collect();
    world.disconnect(boss);
    for conn in members {
        assert_eq!(world.take(conn).last().unwrap()["kind"], "kicked");
        assert!(world.closed.contains_key(&conn));
    }
}

#[test]
fn a_redirect_is_told_after_the_password_and_adds_nobody() {
    let mut world = World::new(
        r#"{"redirect":"https://x/","users":{"ann":{"password":"a","permissions":"op"}}}"#,
    );
    assert_eq!(refusal(&mut world, "ann", "wrong"), "not authorised");
    let conn = world.join_as("ann", "ann", "a");
    let said = world.take(conn);
    assert_eq!(
        said,
        [json!({"type": "joined", "kind": "redirect", "group": "test", "username": "ann",
            "value": "https://x/"})]
    );
    world.say(conn, json!({"type": "offer", "id": "s", "sdp": "v=0"}));
    assert_eq!(kinds(&world.take(conn)), ["abort", "usermessage/error"]);
}

#[test]
fn what_is_pipelined_behind_a_join_waits_for_it() {
    let mut world = World::new(OPEN);
    world.held_checks = Some(Vec::new());
    let conn = world.join_as("ann", "ann", "");
    world.say(conn, json!({"type": "ping"}));
    world.say(conn, json!({"type": "chat", "value": "hi"}));
    assert!(world.take(conn).is_empty());
    let (checked, check) = world.held_checks.take().unwrap().remove(0);
    assert_eq!(checked, conn);
    world.check(conn, check);
    world.settle();
    assert_eq!(kinds(&world.take(conn)), ["joined/join", "user/add", "pong", "chat"]);
}

#[test]
fn a_busy_password_pool_and_a_vanished_joiner_are_no_trouble() {
    let mut world = World::new(OPEN);
    world.held_checks = Some(Vec::new());
    let conn = world.join_as("ann", "ann", "");
    world.board.verdict(conn, Verdict::Busy, world.now);
    world.settle();
    assert_eq!(world.take(conn)[0]["value"], "server busy, try again");
    let gone = world.join_as("bob", "bob", "");
    world.disconnect(gone);
    let group = GroupName::parse("test").unwrap();
    let proof = Proof::Nothing { decoy: Password::Never, given: String::new() };
    let check = CredentialCheck {
        realm: group.clone(),
        group,
        username: String::new(),
        is_wildcard: false,
        address: None,
        proof,
    };
    world.check(gone, check);
    world.board.verdict(gone, Verdict::Right, world.now);
    world.settle();
    assert!(world.take(gone).is_empty());
}

#[test]
fn regression_a_check_says_whether_all_names_share_the_password() {
    let users = r#""users":{"ann":{"password":"a"},"none":{}}"#;
    let wildcard = r#","wildcard-user":{"password":"guest"}"#;
    for (more, username, is_wildcard) in [
        (wildcard, "zoe", true),
        (wildcard, "ann", false),
        (wildcard, "none", false),
        ("", "zoe", false),
        ("", "ann", false),
    ] {
        let mut world = World::new(&format!("{{{users}{more}}}"));
        world.held_checks = Some(Vec::new());
        world.join_as("one", username, "guess");
        let held = world.held_checks.as_deref().unwrap();
        assert_eq!(held.len(), 1, "{username}");
        assert_eq!(held[0].1.is_wildcard, is_wildcard, "{username} {more}");
    }
}

#[test]
fn an_endless_pipeline_behind_a_join_ends_the_connection() {
    let mut world = World::new(OPEN);
    world.held_checks = Some(Vec::new());
    let conn = world.join_as("ann", "ann", "");
    for _ in 0..300 {
        world.say(conn, json!({"type": "ping"}));
    }
    assert!(world.closed.contains_key(&conn));
}

#[test]
fn a_changed_file_reaches_members_who_keep_their_permissions() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.reload(r#"{"displayName":"New","other":[{}]}"#);
    let said = world.take(ann);
    assert_eq!(kinds(&said), ["joined/change"]);
    assert_eq!(said[0]["status"]["displayName"], "New");
    assert!(said[0]["permissions"].as_array().unwrap().contains(&json!("op")));
    world.reload(r#"{"displayName":"New","other":[{}]}"#);
    assert!(world.take(ann).is_empty(), "nothing has changed");
}

#[test]
fn a_broken_edit_leaves_the_old_file_in_force_and_tells_ops_once() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.reload("{\n\"public\": yes}");
    world.reload("{\n\"public\": yes}");
    let said = world.take(ann);
    assert_eq!(kinds(&said), ["usermessage/warning"]);
    assert!(said[0]["value"].as_str().unwrap().contains("test.json:2"), "{said:?}");
    world.member("bob", "bob");
}

#[test]
fn a_vanished_file_keeps_members_and_lets_nobody_in() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.files.clear();
    assert_eq!(refusal(&mut world, "bob", ""), "group does not exist");
    world.say(ann, json!({"type": "chat", "value": "still here"}));
    assert_eq!(kinds(&world.take(ann)), ["chat"]);
    world.disconnect(ann);
    assert!(world.board.groups().is_empty());
}

#[test]
fn idle_groups_are_forgotten_and_public_ones_are_not() {
    let mut world = World::new(OPEN);
    world.files.insert("listed".into(), group(r#"{"public":true,"op":[{}]}"#));
    assert!(matches!(world.status("test"), StatusReply::Found(_)));
    assert!(matches!(world.status("listed"), StatusReply::Found(_)));
    assert!(matches!(world.status("nothing"), StatusReply::Missing));
    assert!(matches!(world.status("../x"), StatusReply::Missing));
    assert_eq!(world.board.groups().len(), 2);
    for _ in 0..5 {
        world.now.mono += Duration::from_secs(3600);
        world.board.tick(world.now);
    }
    let left: Vec<String> =
        world.board.public_groups().iter().map(|view| view.name.as_str().to_owned()).collect();
    assert_eq!(left, ["listed"]);
    assert_eq!(world.board.groups().len(), 1);
}

#[test]
fn made_up_subgroups_do_not_crowd_out_real_groups() {
    let mut world = World::new(OPEN);
    let member = world.member("ann", "ann");
    for index in 0..10_100 {
        let name = format!("sub/{index}");
        world.files.insert(name.clone(), group(OPEN));
        assert!(matches!(world.status(&name), StatusReply::Found(_)), "{name}");
    }
    assert_eq!(world.board.groups().len(), 10_000);
    world.say(member, json!({"type": "ping"}));
    assert_eq!(kinds(&world.take(member)), ["pong"]);
    world.member("bob", "bob");
}

#[test]
fn leaving_ends_membership_and_the_socket_can_join_again() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    let bob = world.member("bob", "bob");
    world.take(ann);
    world.say(ann, json!({"type": "join", "kind": "leave", "group": "test"}));
    let said = world.take(ann);
    assert_eq!(kinds(&said), ["joined/leave"]);
    assert_eq!(said[0].get("permissions"), None::<&Value>);
    assert_eq!(kinds(&world.take(bob)), ["user/delete"]);
    world.say(ann, json!({"type": "join", "kind": "join", "group": "test", "username": "ann2"}));
    assert_eq!(world.take(ann)[0]["username"], "ann2");
    world.say(ann, json!({"type": "join", "kind": "leave", "group": "other"}));
    assert!(world.closed.contains_key(&ann));
}

#[test]
fn shutting_down_locks_and_sends_everybody_out() {
    let mut world = World::new(OPEN);
    let ann = world.member("ann", "ann");
    world.board.shut_down("server is shutting down", world.now);
    world.settle();
    let said = world.take(ann);
    assert_eq!(kinds(&said), ["joined/change", "usermessage/kicked"]);
    assert_eq!(said[1]["value"], "server is shutting down");
    assert!(world.closed.contains_key(&ann));
    let late = world.join_as("late", "bob", "");
    assert_eq!(world.take(late)[0]["value"], "server is shutting down");
}

#[test]
fn a_file_that_locks_no_more_opens_its_group() {
    let mut world = World::new(r#"{"autolock":true,"presenter":[{}]}"#);
    let locked = world.join_as("ann", "ann", "");
    assert_eq!(world.take(locked)[0]["kind"], "fail");
    world.reload(r#"{"presenter":[{}]}"#);
    let open = world.join_as("bob", "bob", "");
    assert_eq!(world.take(open)[0]["kind"], "join");
}

/// Groups that live off one file have the same passwords: whoever guesses may not start afresh in
/// each of them.
#[test]
fn regression_guesses_in_subgroups_count_with_those_in_their_parent() {
    let parent = GroupName::parse("test").unwrap();
    let text = r#"{"auto-subgroups":true,"users":{"ann":{"password":"a","permissions":"op"}}}"#;
    let mut world = World::new(text);
    let GroupFile::Found(description) = group(text) else { panic!("it is good") };
    let below = description.for_subgroup(&parent).unwrap();
    world.files.insert("test/a".to_owned(), GroupFile::Found(Arc::new(below)));
    for name in ["test", "test/a"] {
        world.held_checks = Some(Vec::new());
        let conn = world.greet(name);
        let join = json!({"type": "join", "kind": "join", "group": name, "username": "ann",
            "password": "no"});
        world.say(conn, join);
        let (_, check) = world.held_checks.take().unwrap().remove(0);
        assert_eq!((check.group.as_str(), &check.realm), (name, &parent));
    }
}
