//! The dependency descriptor (appendix A of RTP Payload Format For AV1, v1.0.0): which layer a frame
//! belongs to, which decode targets need it, and what it refers to. So layers of AV1, and temporal
//! layers of H.264 and VP8, can be dropped without a look at the payload.
//!
//! A publisher can write anything here: nothing is read past the end, every count has a bound, and
//! what cannot be read is treated as a packet without a descriptor.

mod active;

pub(crate) use active::ActiveMask;

/// Spatial and temporal layers that the descriptor can name.
pub(crate) const SPATIAL_MAX: u8 = 3;
/// See there.
const TEMPORAL_MAX: u8 = 7;
/// A.8: `template_id` has six bits.
const TEMPLATES_MAX: usize = 64;
/// A.8: `dt_cnt_minus_one` has five bits.
const TARGETS_MAX: usize = 32;
/// RFC 8285 s4.3: an octet counts those of an extension.
const DESCRIPTOR_OCTETS_MAX: usize = 255;
/// Flags and bitmask take so many octets more.
const MASK_OCTETS_MAX: usize = (5 + TARGETS_MAX).div_ceil(8);
/// A.8.3: indications of two bits.
const ABSENT: u32 = 0;
const SWITCH: u32 = 2;

/// Decode targets as bits, by their highest layers: see [`target_bit`].
pub(crate) type Targets = u32;

/// The bit of the decode target with these highest layers.
pub(crate) const fn target_bit(sid: u8, tid: u8) -> Targets {
    1 << ((sid & SPATIAL_MAX) * (TEMPORAL_MAX + 1) + (tid & TEMPORAL_MAX))
}

/// The best of some decode targets that needs no higher layers than these: rather more of a picture
/// than more pictures. If there is none, the least of all.
pub(crate) fn best_target(targets: Targets, sid_max: u8, tid_max: u8) -> (u8, u8) {
    let temporal = if tid_max >= TEMPORAL_MAX { 0xff } else { (2 << tid_max) - 1 };
    for sid in (0..=sid_max.min(SPATIAL_MAX)).rev() {
        let fitting = row(targets, sid) & temporal;
        if fitting != 0 {
            return (sid, (31 - fitting.leading_zeros()) as u8);
        }
    }
    let least = targets.trailing_zeros().min(31) as u8;
    (least / (TEMPORAL_MAX + 1), least % (TEMPORAL_MAX + 1))
}

/// A packet's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The frame's spatial layer.
    pub sid: u8,
    /// Its temporal layer.
    pub tid: u8,
    /// The packet ends the frame.
    pub is_end: bool,
    /// The packet brings a new structure: it is one of a keyframe.
    pub has_structure: bool,
    /// What the frame needs, and who needs it.
    pub dependency: Dependency,
}

/// What a frame needs, and who needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dependency {
    /// The frame's number, modulo 2^16.
    pub frame_no: u16,
    /// Frames that it refers to: bit `n` is the one `n + 1` before it.
    pub refs: u64,
    /// Decode targets that it is part of.
    pub present: Targets,
    /// Decode targets that can be gone on with from here, if it can be decoded.
    pub switch: Targets,
    /// Decode targets that the encoder makes at present.
    pub targets: Targets,
    /// The packet begins the frame.
    pub is_start: bool,
    /// Where the descriptor says which targets are active, if viewers can be told otherwise.
    pub mask: Option<ActiveMask>,
}

impl Dependency {
    /// Whether whoever may have these layers needs the frame.
    pub fn is_for(&self, (sid_max, tid_max): (u8, u8)) -> bool {
        let (sid, tid) = best_target(self.targets, sid_max, tid_max);
        self.present & target_bit(sid, tid) != 0
    }

    /// The targets that are active for whoever gets these layers, if they are not all that are made.
    pub fn active_for(&self, (sid_max, tid_max): (u8, u8)) -> Option<Targets> {
        let mask = self.mask?;
        let kept = mask.kept(self.targets, best_target(self.targets, sid_max, tid_max));
        (kept != self.targets).then_some(kept)
    }

    /// Whether one who can decode the frame may have these layers from here on.
    pub fn leads_to(&self, (sid_max, tid_max): (u8, u8)) -> bool {
        let (sid, tid) = best_target(self.targets, sid_max, tid_max);
        self.is_start && self.switch & target_bit(sid, tid) != 0
    }
}

#[derive(Clone, Copy, Default)]
struct Template {
    sid: u8,
    tid: u8,
    present: Targets,
    switch: Targets,
    refs: u64,
}

/// What a keyframe says of all frames up to the next one.
struct Structure {
    id_offset: u8,
    templates: [Template; TEMPLATES_MAX],
    template_count: usize,
    /// The bit of each decode target.
    targets: [Targets; TARGETS_MAX],
    target_count: usize,
    chains: usize,
    /// All decode targets, and those that the encoder makes at present.
    all: Targets,
    active: Targets,
    /// Whether the bits of targets go up with their numbers, and the frames of each are part of those
    /// with more temporal layers: then it needs no table to tell who gets which.
    is_regular: bool,
    /// See [`ActiveMask::is_nested`].
    is_nested: bool,
}

/// The descriptors of one RTP stream.
#[derive(Default)]
pub(crate) struct Dependencies {
    structure: Option<Box<Structure>>,
    /// Where the next one is read into, so that a half-read one counts for nothing.
    spare: Option<Box<Structure>>,
    /// The last descriptor, with a bitmask put in.
    canonical: Vec<u8>,
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let templates = self.structure.as_ref().map_or(0, |known| known.template_count);
        f.debug_struct("Dependencies").field("templates", &templates).finish()
    }
}

impl Dependencies {
    /// Reads the descriptor of a packet, and returns it as viewers get it: with a bitmask of active
    /// decode targets in the first packet of each frame. `None` as for [`Self::read`].
    pub(crate) fn canonical<'a>(&'a mut self, raw: &'a [u8]) -> Option<(Descriptor, &'a [u8])> {
        let mut read = self.read(raw)?;
        let Dependency { targets, is_start, .. } = read.dependency;
        let has_mask = raw.get(3).is_some_and(|flags| flags & 0x40 != 0);
        let Some(mask) = &mut read.dependency.mask else {
            return Some((read, raw));
        };
        if has_mask {
            return Some((read, raw));
        }
        if !is_start || raw.len() + MASK_OCTETS_MAX > DESCRIPTOR_OCTETS_MAX {
            read.dependency.mask = None;
            return Some((read, raw));
        }
        active::insert(raw, mask, targets, &mut self.canonical);
        Some((read, &self.canonical))
    }

    /// Reads the descriptor of a packet. `None` if it is cut short, or refers to a structure that
    /// never came.
    pub(crate) fn read(&mut self, descriptor: &[u8]) -> Option<Descriptor> {
        let mut bits = Bits { bytes: descriptor, at: 0 };
        let (is_start, is_end) = (bits.flag()?, bits.flag()?);
        let template_id = bits.take(6)? as u8;
        let frame_no = bits.take(16)? as u16;
        // A.8.1: three octets have no flags.
        let flags = if descriptor.len() > 3 { bits.take(5)? } else { 0 };
        let has_structure = flags & 0x10 != 0;
        if has_structure {
            let mut next = self.spare.take().unwrap_or_default();
            let is_read = next.read(&mut bits).is_some();
            let previous = if is_read { self.structure.replace(next) } else { Some(next) };
            self.spare = previous;
            if !is_read {
                return None;
            }
        }
        let structure = self.structure.as_mut()?;
        let mut mask = structure.mask(bits.at);
        if flags & 0x08 != 0 {
            let mask = bits.take(structure.target_count)?;
            let known = structure.targets.iter().take(structure.target_count).enumerate();
            let active = known.filter(|(at, _)| mask >> at & 1 != 0).fold(0, |all, (_, t)| all | t);
            // An encoder that makes nothing needs no descriptor.
            structure.active = if active == 0 { structure.all } else { active };
        }
        let at = usize::from((template_id + 64 - structure.id_offset) % 64);
        let mut template = *structure.templates[..structure.template_count].get(at)?;
        if flags & 0x04 != 0 {
            (template.present, template.switch) = structure.read_indications(&mut bits)?;
            let (present, all) = (template.present, structure.all);
            let fits = |mask: &ActiveMask| {
                is_regular(present, all) && (!mask.is_nested || is_nested(present, all))
            };
            mask = mask.filter(fits);
        }
        if flags & 0x02 != 0 {
            template.refs = 0;
            loop {
                let size = bits.take(2)? as usize;
                if size == 0 {
                    break;
                }
                template.refs |= reference(bits.take(4 * size)?);
            }
        }
        let Template { sid, tid, present, switch, refs } = template;
        let targets = structure.active;
        let dependency = Dependency { frame_no, refs, present, switch, targets, is_start, mask };
        Some(Descriptor { sid, tid, is_end, has_structure, dependency })
    }
}

/// The bit of a reference; one that is too far back is told by all bits, as if it were never there.
fn reference(diff_minus_one: u32) -> u64 {
    if diff_minus_one < 63 { 1 << diff_minus_one } else { 1 << 63 }
}

impl Default for Structure {
    fn default() -> Self {
        Self {
            id_offset: 0,
            templates: [Template::default(); TEMPLATES_MAX],
            template_count: 0,
            targets: [0; TARGETS_MAX],
            target_count: 0,
            chains: 0,
            all: 0,
            active: 0,
            is_regular: false,
            is_nested: false,
        }
    }
}

impl Structure {
    /// A.8.2 `template_dependency_structure`.
    fn read(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        self.id_offset = bits.take(6)? as u8;
        self.target_count = bits.take(5)? as usize + 1;
        self.read_layers(bits)?;
        // First as they stand, by number: which bit a decode target has is known afterwards.
        let mut raw = [(0, 0); TEMPLATES_MAX];
        let mut layers = [(0, 0); TARGETS_MAX];
        for (template, raw) in self.templates[..self.template_count].iter().zip(&mut raw) {
            for (at, layers) in layers[..self.target_count].iter_mut().enumerate() {
                let indication = bits.take(2)?;
                raw.0 |= u32::from(indication != ABSENT) << at;
                raw.1 |= u32::from(indication == SWITCH) << at;
                if indication != ABSENT {
                    *layers = (template.sid.max(layers.0), template.tid.max(layers.1));
                }
            }
        }
        for (target, (sid, tid)) in self.targets.iter_mut().zip(layers) {
            *target = target_bit(sid, tid);
        }
        for template in &mut self.templates[..self.template_count] {
            template.refs = 0;
            while bits.flag()? {
                template.refs |= reference(bits.take(4)?);
            }
        }
        self.read_chains(bits)?;
        if bits.flag()? {
            let spatial = self.templates[..self.template_count].iter().map(|t| t.sid).max()?;
            (0..=spatial).try_for_each(|_| bits.take(32).map(|_| ()))?;
        }
        let spread = |mask: u32| {
            let known = self.targets[..self.target_count].iter().enumerate();
            known.filter(|(at, _)| mask >> at & 1 != 0).fold(0, |all, (_, target)| all | target)
        };
        let masks = raw.map(|(present, switch)| (spread(present), spread(switch)));
        for (template, (present, switch)) in self.templates.iter_mut().zip(masks) {
            (template.present, template.switch) = (present, switch);
        }
        let all = self.targets[..self.target_count].iter().fold(0, |all, target| all | target);
        (self.all, self.active) = (all, all);
        let presents = || self.templates[..self.template_count].iter().map(|t| t.present);
        self.is_regular = self.targets[..self.target_count].is_sorted_by(|one, next| one < next)
            && presents().all(|present| is_regular(present, all));
        self.is_nested = presents().all(|present| is_nested(present, all));
        Some(())
    }

    /// A.8.2 `template_layers`.
    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let (mut sid, mut tid) = (0, 0);
        self.template_count = 0;
        loop {
            let template = self.templates.get_mut(self.template_count)?;
            *template = Template { sid, tid, ..Template::default() };
            self.template_count += 1;
            match bits.take(2)? {
                0 => {}
                1 => tid += 1,
                2 => (sid, tid) = (sid + 1, 0),
                _ => return Some(()),
            }
            if sid > SPATIAL_MAX || tid > TEMPORAL_MAX {
                return None;
            }
        }
    }

    /// A.8.2 `template_chains`: nothing of them is of use here but their number.
    fn read_chains(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        self.chains = bits.take_below(self.target_count as u32 + 1)? as usize;
        if self.chains > 0 {
            for _ in 0..self.target_count {
                bits.take_below(self.chains as u32)?;
            }
            (0..self.template_count * self.chains).try_for_each(|_| bits.take(4).map(|_| ()))?;
        }
        Some(())
    }

    /// A.8.2 `frame_dtis`.
    fn read_indications(&self, bits: &mut Bits<'_>) -> Option<(Targets, Targets)> {
        let (mut present, mut switch) = (0, 0);
        for target in &self.targets[..self.target_count] {
            let indication = bits.take(2)?;
            present |= if indication != ABSENT { *target } else { 0 };
            switch |= if indication == SWITCH { *target } else { 0 };
        }
        Some((present, switch))
    }

    /// Where a descriptor has its bitmask, or would have it; nothing if there is nothing to choose from.
    fn mask(&self, at: usize) -> Option<ActiveMask> {
        let is_of_use = self.is_regular && self.target_count > 1;
        let Self { all, is_nested, .. } = *self;
        is_of_use.then_some(ActiveMask { at: at as u16, all, is_nested })
    }
}

/// The targets of one spatial layer.
fn row(targets: Targets, sid: u8) -> Targets {
    targets >> (sid * (TEMPORAL_MAX + 1)) & 0xff
}

/// Whether a frame that is present in some of all targets is so in those with more temporal layers.
fn is_regular(present: Targets, all: Targets) -> bool {
    (0..=SPATIAL_MAX).map(|sid| (row(present, sid), row(all, sid))).all(|(present, all)| {
        present == 0 || all & (Targets::MAX << present.trailing_zeros()) == present
    })
}

/// Whether a frame that is present in some of all targets is so in those of higher spatial layers.
fn is_nested(present: Targets, all: Targets) -> bool {
    (1..=SPATIAL_MAX).all(|sid| {
        let lower = (0..sid).fold(0, |lower, sid| lower | row(present, sid));
        lower & row(all, sid) & !row(present, sid) == 0
    })
}

/// Reads bit by bit, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        if self.at + count > self.bytes.len() * 8 {
            return None;
        }
        let mut value = 0u64;
        for _ in 0..count {
            let bit = self.bytes.get(self.at / 8)? >> (7 - self.at % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.at += 1;
        }
        Some(value as u32)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? != 0)
    }

    /// A.8: `ns(n)`, a number below `n` in as few bits as that takes.
    fn take_below(&mut self, n: u32) -> Option<u32> {
        let width = 32 - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.take(width as usize - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.take(1)?)
    }
}

/// Which frames of an RTP stream a viewer has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentFrames {
    newest: Option<u16>,
    /// Bit `n` is the one `n` before the newest.
    sent: u64,
}

impl SentFrames {
    /// A packet of a frame goes out.
    pub(crate) fn note(&mut self, frame_no: u16) {
        let Some(newest) = self.newest else {
            (self.newest, self.sent) = (Some(frame_no), 1);
            return;
        };
        let ahead = frame_no.wrapping_sub(newest);
        if ahead < 0x8000 {
            self.sent = self.sent.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.newest = Some(frame_no);
        } else if ahead.wrapping_neg() < 64 {
            self.sent |= 1 << ahead.wrapping_neg();
        }
    }

    /// Whether all that a frame refers to has been sent.
    pub(crate) fn has_all(&self, frame_no: u16, refs: u64) -> bool {
        let Some(newest) = self.newest else {
            return refs == 0;
        };
        // Bit n of `before` is the frame n + 1 before this one.
        let ahead = frame_no.wrapping_sub(newest);
        let before = match ahead {
            0 => self.sent >> 1,
            1..0x8000 => self.sent.checked_shl(u32::from(ahead) - 1).unwrap_or(0),
            _ => self.sent.checked_shr(u32::from(ahead.wrapping_neg()) + 1).unwrap_or(0),
        };
        // The last bit stands for all that is further back, of which nothing is known.
        refs & (1 << 63) == 0 && refs & !before == 0
    }
}

#[cfg(test)]
mod tests;
