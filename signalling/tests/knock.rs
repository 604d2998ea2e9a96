//! Who waits at a locked door, who lets them in, and who comes back without asking.

mod world;

use std::time::Duration;

use serde_json::{Value, json};
use signalling::{ConnId, GroupName, Operation, What};
use world::{World, group, kinds};

const LECTURE: &str = r#"{"max-clients":4,"users":{"boss":{"password":"b","permissions":"op"}},
    "wildcard-user":{"password":{"type":"wildcard"},"permissions":"present"}}"#;

/// A client that knows how to knock.
fn greet(world: &mut World, id: &str) -> ConnId {
    let conn = world.connect();
    let hello = json!({"type": "handshake", "version": ["2"], "id": id, "wants": ["knock"]});
    world.say(conn, hello);
    assert_eq!(world.take(conn)[0]["wants"], json!(["knock"]));
    conn
}

fn join(world: &mut World, conn: ConnId, username: &str, data: &Value) {
    let password = if username == "boss" { "b" } else { "" };
    world.say(
        conn,
        json!({"type": "join", "kind": "join", "group": "test", "username": username,
            "password": password, "data": data}),
    );
}

/// One that wants to come in.
fn knock(world: &mut World, id: &str) -> ConnId {
    let conn = greet(world, id);
    join(world, conn, id, &json!({}));
    conn
}

fn boss(world: &mut World, id: &str) -> ConnId {
    let conn = greet(world, id);
    join(world, conn, "boss", &json!({}));
    conn
}

/// A locked group with an operator in it.
fn locked() -> (World, ConnId) {
    let mut world = World::new(LECTURE);
    let boss = boss(&mut world, "boss");
    world.say(boss, json!({"type": "groupaction", "kind": "lock", "value": "exam"}));
    world.take(boss);
    (world, boss)
}

fn answer(world: &mut World, conn: ConnId, kind: &str, dest: &str) {
    world.say(conn, json!({"type": "useraction", "kind": kind, "dest": dest}));
}

#[test]
fn who_knocks_waits_until_an_operator_answers() {
    let (mut world, boss) = locked();
    let ann = knock(&mut world, "ann");
    let waits = json!({"type": "joined", "kind": "wait", "group": "test", "username": "ann",
        "value": "exam"});
    assert_eq!(world.take(ann), [waits]);
    let add = json!({"type": "knock", "kind": "add", "id": "ann", "username": "ann"});
    assert_eq!(world.take(boss), [add]);
    // Nobody who waits is a member.
    world.say(ann, json!({"type": "chat", "kind": "", "dest": "", "value": "let me in"}));
    assert_eq!(kinds(&world.take(ann)), ["usermessage/error"]);
    assert!(world.take(boss).is_empty());

    answer(&mut world, boss, "admit", "ann");
    let said = world.take(ann);
    assert_eq!((&said[0]["type"], &said[0]["kind"]), (&json!("joined"), &json!("join")));
    assert_eq!(said[0]["username"], "ann");
    assert_eq!(kinds(&world.take(boss)), ["knock/delete", "user/add"]);
    world.say(ann, json!({"type": "chat", "kind": "", "dest": "", "value": "thanks"}));
    assert_eq!(kinds(&world.take(boss)), ["chat"]);

    let bob = knock(&mut world, "bob");
    world.take(bob);
    world.say(
        boss,
        json!({"type": "useraction", "kind": "refuse", "dest": "bob", "value": "tomorrow"}),
    );
    let said = world.take(bob);
    assert_eq!((&said[0]["kind"], &said[0]["value"]), (&json!("fail"), &json!("tomorrow")));
    assert_eq!(kinds(&world.take(boss)), ["knock/add", "knock/delete"]);
    let refused = What::Refused { why: "tomorrow".to_owned() };
    assert!(world.happened.iter().any(|happening| happening.what == refused));
    // It may knock again, on the same connection.
    join(&mut world, bob, "bob", &json!({}));
    assert_eq!(world.take(bob)[0]["kind"], "wait");
    answer(&mut world, boss, "refuse", "bob");
    assert_eq!(world.take(bob)[0]["value"], "you were not let in");
    world.take(boss);
    for kind in ["admit", "refuse"] {
        answer(&mut world, boss, kind, "bob");
        assert_eq!(world.take(boss)[0]["value"], "this user does not wait any more");
    }
}

#[test]
fn clients_that_do_not_know_it_are_refused_and_not_told() {
    let mut world = World::new(LECTURE);
    let stock = world.join_as("stock", "boss", "b");
    world.say(stock, json!({"type": "groupaction", "kind": "lock"}));
    world.take(stock);
    let ann = knock(&mut world, "ann");
    assert_eq!(world.take(ann)[0]["kind"], "wait");
    assert!(world.take(stock).is_empty());
    let bob = world.join_as("bob", "bob", "");
    assert_eq!(kinds(&world.take(bob)), ["joined/fail"]);
    // Members have no say in it.
    answer(&mut world, stock, "admit", "ann");
    world.take(stock);
    assert_eq!(world.take(ann)[0]["kind"], "join");
    let eve = knock(&mut world, "eve");
    world.take(eve);
    for kind in ["admit", "refuse"] {
        answer(&mut world, ann, kind, "eve");
        assert_eq!(world.take(ann).last().unwrap()["value"], "not authorised");
    }
    assert!(world.take(eve).is_empty());
}

#[test]
fn giving_up_is_seen_by_operators() {
    let (mut world, boss) = locked();
    let ann = knock(&mut world, "ann");
    world.take(ann);
    world.say(ann, json!({"type": "join", "kind": "leave", "group": "test"}));
    assert_eq!(kinds(&world.take(ann)), ["joined/leave"]);
    assert_eq!(kinds(&world.take(boss)), ["knock/add", "knock/delete"]);
    let bob = knock(&mut world, "bob");
    world.disconnect(bob);
    assert_eq!(kinds(&world.take(boss)), ["knock/add", "knock/delete"]);
    // Who asks anew, perhaps under another name, does not wait twice.
    let zoe = knock(&mut world, "zoe");
    join(&mut world, zoe, "zoé", &json!({}));
    assert_eq!(kinds(&world.take(boss)), ["knock/add", "knock/delete", "knock/add"]);
    // An id is one client's, whether it waits or not.
    let other = knock(&mut world, "zoe");
    assert_eq!(world.take(other)[0]["value"], "internal server error");
}

#[test]
fn unlocking_lets_in_as_many_as_there_is_room_for() {
    let (mut world, boss) = locked();
    let waiting: Vec<ConnId> =
        ["a", "b", "c", "d"].map(|id| knock(&mut world, id)).into_iter().collect();
    for conn in &waiting {
        assert_eq!(world.take(*conn)[0]["kind"], "wait");
    }
    world.take(boss);
    world.say(boss, json!({"type": "groupaction", "kind": "unlock"}));
    let became: Vec<Value> =
        waiting.iter().map(|conn| world.take(*conn)[0]["kind"].clone()).collect();
    // Three and the operator are the four that the group takes.
    assert_eq!(became, ["join", "join", "join", "fail"]);
    let said = world.take(boss);
    assert_eq!(said.iter().filter(|message| message["type"] == "knock").count(), 4);
}

#[test]
fn a_full_group_lets_nobody_in_but_keeps_them_waiting() {
    let mut world = World::new(LECTURE);
    let boss = boss(&mut world, "boss");
    for id in ["a", "b", "c"] {
        let conn = knock(&mut world, id);
        assert_eq!(world.take(conn)[0]["kind"], "join");
    }
    world.say(boss, json!({"type": "groupaction", "kind": "lock"}));
    let late = knock(&mut world, "late");
    assert_eq!(world.take(late)[0]["kind"], "wait");
    world.take(boss);
    answer(&mut world, boss, "admit", "late");
    assert_eq!(world.take(boss)[0]["value"], "too many users");
    answer(&mut world, boss, "kick", "a");
    answer(&mut world, boss, "admit", "late");
    assert_eq!(world.take(late)[0]["kind"], "join");
}

#[test]
fn operators_who_come_or_become_learn_who_waits() {
    let (mut world, first) = locked();
    let ann = knock(&mut world, "ann");
    world.take(ann);
    let second = boss(&mut world, "boss2");
    let said = world.take(second);
    assert_eq!(said.last().unwrap()["id"], "ann", "{said:?}");
    assert_eq!(kinds(&said).last().unwrap(), "knock/add");
    world.take(first);
    // Ann is in, and is made an operator while somebody else waits.
    answer(&mut world, first, "admit", "ann");
    let bob = knock(&mut world, "bob");
    world.take(bob);
    assert!(!kinds(&world.take(ann)).contains(&"knock/add".to_owned()));
    answer(&mut world, first, "op", "ann");
    assert!(kinds(&world.take(ann)).contains(&"knock/add".to_owned()));
    answer(&mut world, ann, "admit", "bob");
    assert_eq!(world.take(bob)[0]["kind"], "join");
    assert!(kinds(&world.take(second)).contains(&"knock/delete".to_owned()));
}

#[test]
fn where_an_operator_is_needed_one_waits_for_it() {
    // Locked by its file: whoever comes with the operator's rights sees who waits.
    let mut world = World::new(&LECTURE.replacen('{', r#"{"autolock":true,"#, 1));
    let ann = knock(&mut world, "ann");
    assert_eq!(world.take(ann)[0]["value"], "this group is locked");
    let op = boss(&mut world, "boss");
    assert!(kinds(&world.take(op)).contains(&"knock/add".to_owned()));
    answer(&mut world, op, "admit", "ann");
    assert_eq!(world.take(ann)[0]["kind"], "join");

    // Nobody may be in it without one: who waits comes in with the operator, and is sent out with it.
    let mut world = World::new(&LECTURE.replacen('{', r#"{"autokick":true,"#, 1));
    let ann = knock(&mut world, "ann");
    let said = world.take(ann);
    assert_eq!(said[0]["kind"], "wait");
    assert_eq!(said[0]["value"], "there are no operators in this group");
    let op = boss(&mut world, "boss");
    assert_eq!(world.take(ann)[0]["kind"], "join");
    world.disconnect(op);
    assert_eq!(kinds(&world.take(ann)).last().unwrap(), "usermessage/kicked");
}

#[test]
fn a_group_that_goes_leaves_nobody_at_its_door() {
    let (mut world, _) = locked();
    let ann = knock(&mut world, "ann");
    world.take(ann);
    world.files.clear();
    let bob = knock(&mut world, "bob");
    assert_eq!(world.take(bob)[0]["value"], "group does not exist");
    assert_eq!(world.take(ann)[0]["value"], "group does not exist");
}

#[test]
fn two_hundred_wait_and_no_more() {
    let (mut world, boss) = locked();
    for number in 0..200 {
        let conn = knock(&mut world, &format!("{number}"));
        assert_eq!(world.take(conn)[0]["kind"], "wait");
    }
    let late = knock(&mut world, "late");
    let said = world.take(late);
    assert_eq!((&said[0]["kind"], &said[0]["value"]), (&json!("fail"), &json!("exam")));
    assert_eq!(world.take(boss).len(), 200);
    answer(&mut world, boss, "refuse", "17");
    join(&mut world, late, "late", &json!({}));
    assert_eq!(world.take(late)[0]["kind"], "wait");
}

/// The SHA-256 of `secret` and of `other`, by `sha256sum`.
const MARK: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const OTHER_MARK: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

/// Joins as `name`, and says what it was told and on which connection.
fn come(world: &mut World, id: &str, name: &str, data: &Value) -> (ConnId, String) {
    let conn = greet(world, id);
    join(world, conn, name, data);
    let kind = world.take(conn)[0]["kind"].as_str().expect("a kind").to_owned();
    (conn, kind)
}

fn lock(world: &mut World, boss: ConnId, kind: &str) {
    world.say(boss, json!({"type": "groupaction", "kind": kind}));
}

#[test]
fn who_has_lost_its_connection_comes_back_once_without_asking() {
    // Whether its old connection has been given up, or not so far.
    for is_noticed in [true, false] {
        let mut world = World::new(LECTURE);
        let boss = boss(&mut world, "boss");
        let (old, _) = come(&mut world, "ann", "ann", &json!({"mark": MARK}));
        lock(&mut world, boss, "lock");
        if is_noticed {
            world.disconnect(old);
        }
        // A wrong secret, another's name, no word of who it was.
        let proof = json!({"was": "ann", "proof": "secret", "mark": OTHER_MARK});
        let guess = json!({"was": "ann", "proof": "guess"});
        assert_eq!(come(&mut world, "ann1", "ann", &guess).1, "wait");
        assert_eq!(come(&mut world, "ann2", "eve", &proof).1, "wait");
        assert_eq!(come(&mut world, "ann3", "ann", &json!({"proof": "secret"})).1, "wait");
        let (back, kind) = come(&mut world, "ann4", "ann", &proof);
        assert_eq!(kind, "join", "{is_noticed}");
        // What all have read by now opens nothing, and soon there is one of them.
        assert!(!world.closed.contains_key(&old));
        assert_eq!(come(&mut world, "ann7", "ann", &proof).1, "wait");
        world.advance(Duration::from_secs(15));
        assert_eq!(world.closed.contains_key(&old), !is_noticed);
        assert_eq!(come(&mut world, "ann5", "ann", &proof).1, "wait");
        world.disconnect(back);
        let again = json!({"was": "ann4", "proof": "other"});
        assert_eq!(come(&mut world, "ann6", "ann", &again).1, "join");
    }
}

#[test]
fn a_proof_that_was_shown_before_the_lock_opens_nothing_after_it() {
    for name in ["ann", "boss"] {
        let mut world = World::new(LECTURE);
        let first = boss(&mut world, "first");
        let (old, _) = come(&mut world, "old", name, &json!({"mark": MARK}));
        let proof = json!({"was": "old", "proof": "secret"});
        assert_eq!(come(&mut world, "new", name, &proof).1, "join");
        // Others can still see whose the old one is.
        let late = greet(&mut world, "late");
        join(&mut world, late, "zoe", &json!({}));
        let said = world.take(late);
        let ghost = said.iter().find(|message| message["id"] == "old").expect("the old one");
        assert_eq!(ghost["data"]["mark"], MARK);
        world.advance(Duration::from_secs(15));
        assert!(world.closed.contains_key(&old));
        world.disconnect(old);
        world.disconnect(late);
        lock(&mut world, first, "lock");
        if name == "ann" {
            assert_eq!(come(&mut world, "eve", name, &proof).1, "wait");
        }
    }
}

#[test]
fn who_comes_back_takes_its_own_place_in_a_full_group() {
    let mut world = World::new(LECTURE);
    boss(&mut world, "boss");
    let (ann, _) = come(&mut world, "ann", "ann", &json!({"mark": MARK}));
    for id in ["b", "c"] {
        assert_eq!(come(&mut world, id, id, &json!({})).1, "join");
    }
    let proof = json!({"was": "ann", "proof": "secret", "mark": OTHER_MARK});
    assert_eq!(come(&mut world, "ann1", "ann", &proof).1, "join");
    world.advance(Duration::from_secs(15));
    assert!(world.closed.contains_key(&ann), "two would be one too many");
    // Once it is counted no more, the place is anybody's.
    let back = json!({"was": "ann1", "proof": "other"});
    let (d, kind) = come(&mut world, "d", "d", &json!({}));
    assert_eq!(kind, "fail");
    world.disconnect(d);
    assert_eq!(come(&mut world, "ann2", "ann", &back).1, "join");
    assert_eq!(come(&mut world, "e", "e", &json!({})).1, "fail");
}

#[test]
fn who_was_sent_out_or_was_away_for_long_has_to_knock() {
    let mut world = World::new(LECTURE);
    let boss = boss(&mut world, "boss");
    let proof = json!({"was": "ann0", "proof": "secret"});
    // Ann has kept the proof of an earlier membership, and bob is only gone.
    let (earlier, _) = come(&mut world, "ann0", "ann", &json!({"mark": MARK}));
    world.disconnect(earlier);
    come(&mut world, "ann", "ann", &json!({"mark": OTHER_MARK}));
    let (bob, _) = come(&mut world, "bob", "bob", &json!({"mark": MARK}));
    world.disconnect(bob);
    answer(&mut world, boss, "kick", "ann");
    lock(&mut world, boss, "lock");
    assert_eq!(come(&mut world, "ann1", "ann", &proof).1, "wait");
    let other = json!({"was": "ann", "proof": "other"});
    assert_eq!(come(&mut world, "ann2", "ann", &other).1, "wait");
    world.now.mono += Duration::from_secs(600);
    let late = json!({"was": "bob", "proof": "secret"});
    assert_eq!(come(&mut world, "bob2", "bob", &late).1, "wait");
}

#[test]
fn who_waits_has_the_rights_that_the_file_gives_when_it_comes_in() {
    let (mut world, boss) = locked();
    let ann = knock(&mut world, "ann");
    world.take(ann);
    world.files.insert("test".into(), group(&LECTURE.replace("\"present\"", "\"message\"")));
    // Whoever comes has the file read.
    come(&mut world, "bob", "bob", &json!({}));
    answer(&mut world, boss, "admit", "ann");
    assert_eq!(world.take(ann)[0]["permissions"], json!(["message"]));
    let zoe = knock(&mut world, "zoe");
    world.take(zoe);
    world.files.insert("test".into(), group(r#"{"users":{"boss":{"password":"b"}}}"#));
    come(&mut world, "bob2", "bob", &json!({}));
    let said = world.take(zoe);
    assert_eq!((&said[0]["kind"], &said[0]["value"]), (&json!("fail"), &json!("not authorised")));
}

#[test]
fn nobody_is_let_in_while_the_server_ends() {
    let (mut world, boss) = locked();
    let ann = knock(&mut world, "ann");
    world.take(ann);
    world.board.announce_end("server is shutting down", 5, world.now);
    world.settle();
    assert_eq!(world.take(ann)[0]["value"], "server is shutting down");
    assert_eq!(come(&mut world, "bob", "bob", &json!({})).1, "fail");
    lock(&mut world, boss, "unlock");
    assert!(world.take(ann).is_empty());
}

#[test]
fn a_crowd_comes_in_by_and_by() {
    let mut world = World::new(&LECTURE.replace("\"max-clients\":4,", ""));
    let boss = boss(&mut world, "boss");
    lock(&mut world, boss, "lock");
    let crowd: Vec<ConnId> =
        (0..45).map(|number| knock(&mut world, &format!("{number}"))).collect();
    let joined = |world: &mut World| {
        let told = crowd.iter().flat_map(|conn| world.take(*conn)).collect::<Vec<_>>();
        told.iter().filter(|m| m["type"] == "joined" && m["kind"] == "join").count()
    };
    assert_eq!(joined(&mut world), 0);
    lock(&mut world, boss, "unlock");
    assert_eq!(joined(&mut world), 20);
    world.advance(Duration::from_millis(100));
    assert_eq!(joined(&mut world), 20);
    // Somebody locks it again in between.
    lock(&mut world, boss, "lock");
    world.advance(Duration::from_secs(1));
    assert_eq!(joined(&mut world), 0);
    lock(&mut world, boss, "unlock");
    assert_eq!(joined(&mut world), 5);
}

#[test]
fn the_administration_opens_the_door_as_well() {
    let (mut world, _) = locked();
    let ann = knock(&mut world, "ann");
    assert_eq!(world.take(ann)[0]["kind"], "wait");
    let name = GroupName::parse("test").unwrap();
    world.board.operate(&name, Operation::Unlock, world.now).expect("there is such a group");
    world.settle();
    assert_eq!(world.take(ann)[0]["kind"], "join");
}
