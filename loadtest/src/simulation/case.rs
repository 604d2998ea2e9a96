//! The cases: what the line does, who is on it, and when.

use super::rung::{RUNGS, Rung};

const SECOND_US: u64 = 1_000_000;

/// One flow of media of a case.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Without the queue, in milliseconds.
    pub one_way_ms: u64,
    /// When it sends, in seconds from the beginning.
    pub begins_s: u64,
    /// It says nothing in between.
    pub pause_s: Option<(u64, u64)>,
    /// It goes the other way, where its feedback shares the line of the others' media.
    pub is_backward: bool,
}

impl Part {
    const USUAL: Self = Self { one_way_ms: 50, begins_s: 0, pause_s: None, is_backward: false };

    /// Whether it sends at that time.
    pub fn is_on(&self, now_us: u64) -> bool {
        let is_paused = self
            .pause_s
            .is_some_and(|(from, until)| (from * SECOND_US..until * SECOND_US).contains(&now_us));
        now_us >= self.begins_s * SECOND_US && !is_paused
    }
}

/// One case of RFC 8867.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its section there, and what is special.
    pub name: &'static str,
    /// How long it runs, in seconds of virtual time.
    pub length_s: u64,
    /// How long packets wait at most, in milliseconds.
    pub queue_ms: u64,
    /// From when on, in seconds, how much the line takes, in kbit/s.
    pub capacity: Vec<(u64, u64)>,
    /// The same of the other direction, if that is narrow, too.
    pub back: Vec<(u64, u64)>,
    /// The flows of media.
    pub parts: Vec<Part>,
    /// Connections that never end.
    pub long_tcp: usize,
    /// Connections that come and go.
    pub short_tcp: usize,
    /// What the line does beside being narrow.
    pub rung: Option<Rung>,
}

impl Case {
    fn new(name: &'static str, length_s: u64, capacity: &[(u64, u64)], parts: Vec<Part>) -> Self {
        let capacity = capacity.to_vec();
        let (back, queue_ms) = (Vec::new(), 300);
        Self {
            name,
            length_s,
            queue_ms,
            capacity,
            back,
            parts,
            long_tcp: 0,
            short_tcp: 0,
            rung: None,
        }
    }

    /// What the line takes then, in bits per second.
    pub fn capacity_bps(&self, now_us: u64) -> u64 {
        at(&self.capacity, now_us).unwrap_or(1) * 1_000
    }

    /// The same of the way back, if it is narrow.
    pub fn back_bps(&self, now_us: u64) -> Option<u64> {
        at(&self.back, now_us).map(|kbps| kbps * 1_000)
    }
}

fn at(steps: &[(u64, u64)], now_us: u64) -> Option<u64> {
    let passed = steps.iter().take_while(|(from, _)| from * SECOND_US <= now_us);
    passed.last().map(|(_, kbps)| *kbps)
}

/// All of them, in the order of the RFC.
pub fn cases() -> Vec<Case> {
    let usual = Part::USUAL;
    let begins = |seconds: &[u64]| -> Vec<Part> {
        seconds.iter().map(|begins_s| Part { begins_s: *begins_s, ..usual }).collect()
    };
    let far = [10, 25, 50, 100, 150].into_iter().zip([0, 10, 20, 30, 40]);
    let far = far.map(|(one_way_ms, begins_s)| Part { one_way_ms, begins_s, ..usual }).collect();
    let mut paused = begins(&[0, 0, 0]);
    paused[0].pause_s = Some((40, 60));
    let varying = &[(0, 1_000), (40, 2_500), (60, 600), (80, 1_000)];
    let shared = &[(0, 4_000), (25, 2_000), (50, 3_500), (75, 1_000), (100, 2_000)];
    let mut all = vec![
        Case::new("5.1 capacity changes, one flow", 100, varying, begins(&[0])),
        Case::new("5.2 capacity changes, two flows", 125, shared, begins(&[0, 0])),
        Case {
            back: vec![(0, 2_000), (35, 800), (70, 2_000)],
            ..Case::new(
                "5.3 feedback through a full line",
                100,
                &[(0, 2_000), (20, 1_000), (40, 500), (60, 2_000)],
                vec![usual, Part { is_backward: true, ..usual }],
            )
        },
        Case::new("5.4 three flows, one after another", 120, &[(0, 3_500)], begins(&[0, 20, 40])),
        Case::new("5.5 five round trips", 300, &[(0, 4_000)], far),
    ];
    for (queue_ms, name, short) in [
        (300, "5.6 a long TCP, queue 300 ms", "5.7 ten short TCP, queue 300 ms"),
        (1_000, "5.6 a long TCP, queue 1 s", "5.7 ten short TCP, queue 1 s"),
    ] {
        let line = &[(0, 2_000)];
        let long = Case::new(name, 120, line, begins(&[0]));
        all.push(Case { queue_ms, long_tcp: 1, ..long });
        let short = Case::new(short, 300, line, begins(&[0, 0]));
        all.push(Case { queue_ms, short_tcp: 10, ..short });
    }
    all.push(Case::new("5.8 one of three pauses", 120, &[(0, 3_500)], paused));
    all
}

/// One flow over each link of the ladder.
pub fn ladder() -> Vec<(String, Case)> {
    let one = |rung: &Rung| {
        let part = Part { one_way_ms: rung.rtt_ms / 2, ..Part::USUAL };
        let case = Case::new("ladder", 120, &[(0, rung.kbps)], vec![part]);
        (rung.to_string(), Case { rung: Some(*rung), ..case })
    };
    RUNGS.iter().map(one).collect()
}
