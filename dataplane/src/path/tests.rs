use std::collections::HashMap;

use super::*;

/// What happens to a Transport, second by second. Paths go by their peer's port.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An authentic check of this priority.
    Check(u16, u32),
    /// The same with USE-CANDIDATE.
    Nominate(u16, u32),
    /// An authentic packet.
    Heard(u16),
    /// ICE was restarted.
    Restart,
    /// The peer answers what it was asked on this path.
    Answer(u16),
    /// Seconds pass in which nothing comes over these two paths but packets over the second.
    Pass(u64, u16),
    /// Packets go there; 0 is nowhere.
    Goes(u16),
    /// The question that is asked now; 0 is none.
    Asks(u16),
}

use Step::{Answer, Asks, Check as Checked, Goes, Heard, Nominate, Pass, Restart};

const LOW: u32 = 100 << 24;
const HIGH: u32 = 110 << 24;

struct World {
    paths: Paths,
    now: Instant,
    generation: u32,
    asked: HashMap<u16, [u8; 12]>,
}

impl World {
    /// Connected over path 1, where the handshake took place.
    fn connected() -> Self {
        let mut world = Self {
            paths: Paths::default(),
            now: Instant::now(),
            generation: 0,
            asked: HashMap::new(),
        };
        world.check(1, LOW, true);
        let at = world.paths.find(path(1)).expect("known");
        world.paths.handshake_from(at);
        world.paths.handshake_to();
        world.paths.handshake_from(at);
        world.paths.prove_by_handshake();
        world
    }

    fn check(&mut self, port: u16, priority: u32, nominates: bool) {
        let priority = pair_priority(priority, 126 << 24);
        let check = Check { priority, nominates, generation: self.generation };
        self.paths.check(path(port), check, self.now);
    }

    fn take(&mut self, step: Step) {
        match step {
            Checked(port, priority) => self.check(port, priority, false),
            Nominate(port, priority) => self.check(port, priority, true),
            Heard(port) => {
                let at = self.paths.find(path(port)).expect("known");
                self.paths.heard(at, self.now);
            }
            Restart => self.generation += 1,
            Answer(port) => {
                let at = self.paths.find(path(port)).expect("known");
                let id = self.asked.remove(&port).unwrap_or_default();
                assert!(self.paths.answer(at, id, self.now), "it was asked on {port}");
            }
            Pass(seconds, port) => {
                for _ in 0..seconds {
                    self.now += Duration::from_secs(1);
                    if port != 0 {
                        self.take(Heard(port));
                    }
                }
            }
            Goes(port) => {
                let to = self.paths.select(self.now).map_or(0, |path| path.peer.port());
                assert_eq!(to, port);
            }
            Asks(port) => {
                self.now += Duration::from_millis(500);
                let asked = self.paths.question(self.now);
                if let Some((path, id)) = asked {
                    self.asked.insert(path.peer.port(), id);
                }
                assert_eq!(asked.map_or(0, |(path, _)| path.peer.port()), port);
            }
        }
    }
}

fn path(port: u16) -> Path {
    Path::udp(([192, 0, 2, 1], port).into(), Some([192, 0, 2, 9].into()))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: what is heard, and which path is used then")]
fn the_path_in_use() {
    let cases: &[(&str, &[Step])] = &[
        ("the handshake's is proven", &[Goes(1)]),
        (
            "another counts once it has answered, not before",
            &[Nominate(2, HIGH), Goes(1), Asks(2), Goes(1), Answer(2), Goes(2)],
        ),
        (
            "of several nominated ones the highest, whichever came last",
            &[
                Nominate(2, HIGH),
                Asks(2),
                Answer(2),
                Goes(2),
                Nominate(1, LOW),
                Goes(2),
                Nominate(2, HIGH),
                Goes(2),
            ],
        ),
        (
            "a nominated one of lower priority waits for the better one to fall silent",
            &[Nominate(2, LOW - 1), Goes(1), Pass(6, 2), Goes(1), Asks(2), Answer(2), Goes(2)],
        ),
        (
            "and media returns when the better one is heard of again",
            &[
                Nominate(2, LOW - 1),
                Pass(6, 2),
                Asks(2),
                Answer(2),
                Goes(2),
                Nominate(1, LOW),
                Goes(1),
            ],
        ),
        (
            "a controlling agent that nominates what it uses and checks the others without",
            &[
                Nominate(2, LOW - 1),
                Checked(1, LOW),
                Asks(2),
                Answer(2),
                Goes(2),
                Nominate(1, LOW),
                Checked(2, LOW - 1),
                Goes(1),
            ],
        ),
        ("never nominated, never used", &[Checked(2, HIGH), Asks(1), Pass(6, 2), Asks(1), Goes(1)]),
        (
            "the same candidate from another port: the newest, with USE-CANDIDATE at once",
            &[Nominate(2, LOW), Asks(2), Answer(2), Goes(2), Nominate(3, LOW), Asks(3), Answer(3)],
        ),
        (
            "and without it when the other has fallen silent",
            &[Checked(2, LOW), Pass(2, 2), Asks(2), Answer(2), Pass(4, 2), Goes(2)],
        ),
        (
            "one that answers nothing is asked three times for each check and used never",
            &[
                Goes(1),
                Nominate(2, HIGH),
                Asks(2),
                Asks(2),
                Asks(2),
                Asks(1),
                Nominate(2, HIGH),
                Asks(2),
                Goes(1),
            ],
        ),
        (
            "a peer that never answers stays while it is heard of, for thirty seconds after",
            &[Asks(1), Asks(1), Asks(1), Asks(0), Pass(600, 1), Goes(1), Pass(29, 0), Goes(1)],
        ),
        ("and no longer", &[Pass(30, 0), Goes(0)]),
        (
            "what has lapsed does not come back by being heard of",
            &[Pass(31, 0), Goes(0), Nominate(1, LOW), Goes(0), Asks(1), Answer(1), Goes(1)],
        ),
        (
            "a peer that answers must go on to, however much it is heard of",
            &[
                Asks(1),
                Answer(1),
                Asks(0),
                Pass(10, 1),
                Asks(1),
                Answer(1),
                Pass(29, 1),
                Goes(1),
                Asks(1),
                Asks(1),
                Asks(1),
                Asks(1),
                Goes(0),
            ],
        ),
        (
            "one answer, in the handshake, binds nobody",
            &[Asks(1), Answer(1), Pass(120, 1), Goes(1)],
        ),
        (
            "after a restart of ICE new nominations count more than old ones",
            &[
                Nominate(2, HIGH),
                Asks(2),
                Answer(2),
                Goes(2),
                Restart,
                Nominate(3, LOW),
                Goes(2),
                Asks(3),
                Answer(3),
                Goes(3),
                Heard(2),
                Goes(3),
            ],
        ),
    ];
    for (name, steps) in cases {
        let mut world = World::connected();
        for step in *steps {
            let at = format!("{name}: {step:?}");
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                world.take(*step);
            }));
            assert!(taken.is_ok(), "{at}");
        }
    }
}

/// A handshake that is answered from elsewhere than where its flights went proves where they went.
#[test]
fn the_handshake_proves_where_its_flights_went() {
    for (from, to_both, proven) in [(2, false, 1), (1, false, 1), (2, true, 0)] {
        let mut world = World::connected();
        world.paths = Paths::default();
        world.check(1, LOW, true);
        world.check(2, HIGH, true);
        let at = |world: &World, port| world.paths.find(path(port)).expect("known");
        let first = at(&world, 1);
        world.paths.handshake_from(first);
        assert_eq!(world.paths.handshake_to(), Some(path(1)));
        if to_both {
            // A forged repetition of the first flight.
            let second = at(&world, 2);
            world.paths.handshake_from(second);
            assert_eq!(world.paths.handshake_to(), Some(path(2)));
        }
        let last = at(&world, from);
        world.paths.handshake_from(last);
        world.paths.handshake_to();
        world.paths.prove_by_handshake();
        world.take(Goes(proven));
    }
}

#[test]
fn room_is_made_by_the_one_heard_of_longest_ago_but_never_by_the_one_in_use() {
    let mut world = World::connected();
    world.take(Goes(1));
    let mut evicted = Vec::new();
    for port in 2..200 {
        world.now += Duration::from_millis(1);
        let check = Check { priority: 1, nominates: true, generation: 0 };
        evicted.extend(world.paths.check(path(port), check, world.now).1);
    }
    assert_eq!(world.paths.iter().count(), PATHS_MAX);
    let ports: Vec<u16> = evicted.iter().map(|path| path.peer.port()).collect();
    assert_eq!(ports, (2..200 - (PATHS_MAX as u16 - 1)).collect::<Vec<_>>());
    world.take(Goes(1));
}

/// However fast checks come from ever new addresses.
#[test]
fn questions_are_far_apart() {
    let mut world = World::connected();
    let mut asked = 0;
    for step in 0..1000u16 {
        world.now += Duration::from_millis(1);
        world.check(2 + step, HIGH + u32::from(step), true);
        asked += usize::from(world.paths.question(world.now).is_some());
    }
    assert!((9..=11).contains(&asked), "{asked} in a second");
}

#[test]
fn an_answer_counts_once_and_on_its_own_path_only() {
    let mut world = World::connected();
    world.take(Nominate(2, HIGH));
    world.take(Asks(2));
    let id = world.asked[&2];
    let at = |world: &World, port| world.paths.find(path(port)).expect("known");
    let (first, second) = (at(&world, 1), at(&world, 2));
    assert!(!world.paths.answer(first, id, world.now));
    assert!(!world.paths.answer(second, [0; 12], world.now));
    assert!(world.paths.answer(second, id, world.now));
    assert!(!world.paths.answer(second, id, world.now));
}

#[test]
fn a_pair_s_priority_is_that_of_rfc_8445() {
    assert_eq!(pair_priority(1, 2), (1 << 32) + 4);
    assert_eq!(pair_priority(2, 1), (1 << 32) + 5);
    assert!(pair_priority(LOW, HIGH) < pair_priority(HIGH, HIGH));
}
