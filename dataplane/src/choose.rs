//! Which Encoding and layers a viewer gets: what it wishes ([`LayerCap`]), what its path takes
//! ([`Allowance`], from the allocator) and what there is (the Source's live Encodings) become one
//! [`Target`], which the Forwarder obeys.

use crate::api::LayerCap;

/// One step of what a Publication can be sent as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rung {
    /// The Encoding.
    pub encoding: u8,
    /// Its highest spatial layer to send.
    pub spatial_max: u8,
    /// Its highest temporal layer to send.
    pub temporal_max: u8,
    /// What that costs, with IP and UDP.
    pub bits_per_second: u64,
}

impl Rung {
    /// Whether another one sends the same, whatever it costs now.
    pub(crate) fn is_same_layers(&self, other: &Self) -> bool {
        let layers = |rung: &Self| (rung.encoding, rung.spatial_max, rung.temporal_max);
        layers(self) == layers(other)
    }
}

impl Allowance {
    /// Whether another one allows the same layers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::UpTo(one, _), Self::UpTo(other, _)) => one.is_same_layers(other),
            _ => self == other,
        }
    }
}

/// What of a Publication fits a viewer's path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Allowance {
    /// All of it.
    #[default]
    All,
    /// This and what is less, within so many bits per second.
    UpTo(Rung, u64),
    /// None of its pictures.
    Nothing,
}

/// What a Forwarder shall send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// The Encoding; `None` for nothing.
    pub encoding: Option<u8>,
    /// Its highest spatial layer.
    pub spatial_max: u8,
    /// Its highest temporal layer.
    pub temporal_max: u8,
    /// What goes on of another Encoding until a keyframe of this one comes.
    pub meanwhile: Meanwhile,
}

/// See [`Target::meanwhile`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meanwhile {
    /// All that went out so far.
    All,
    /// Its temporal layers up to this one.
    Temporal(u8),
    /// Nothing: the path is full.
    Nothing,
}

impl Target {
    /// All of an Encoding.
    pub(crate) fn all(encoding: u8) -> Self {
        Self {
            encoding: Some(encoding),
            spatial_max: u8::MAX,
            temporal_max: u8::MAX,
            meanwhile: Meanwhile::All,
        }
    }

    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self { encoding: None, meanwhile: Meanwhile::Nothing, ..Self::all(0) }
    }
}

/// Chooses among live Encodings, best first.
pub(crate) fn choose(
    cap: LayerCap,
    allowance: Allowance,
    alive: impl DoubleEndedIterator<Item = u8> + Clone,
    rank: impl Fn(u8) -> usize,
    default: u8,
) -> Target {
    let (allowed, layers) = match allowance {
        Allowance::All => (0, (u8::MAX, u8::MAX)),
        Allowance::UpTo(rung, _) => (rank(rung.encoding), (rung.spatial_max, rung.temporal_max)),
        Allowance::Nothing => return Target::nothing(),
    };
    let wished = match cap {
        LayerCap::High => 0,
        LayerCap::Low => usize::MAX,
        LayerCap::Chosen(layers) => layers.encoding.map_or(0, &rank),
    };
    let worst_of_best = wished.max(allowed);
    // Rather a worse one than a better one: both wish and path have their reason.
    let chosen = alive.clone().find(|at| rank(*at) >= worst_of_best);
    let encoding = chosen.or_else(|| alive.clone().next_back()).unwrap_or(default);
    let (spatial_max, temporal_max) = match rank(encoding) == allowed {
        true => layers,
        false => (u8::MAX, u8::MAX),
    };
    Target {
        encoding: Some(encoding),
        spatial_max: spatial_max.min(cap.spatial_max()),
        temporal_max: temporal_max.min(cap.temporal_max()),
        meanwhile: Meanwhile::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Layers;

    fn chosen(cap: LayerCap, allowance: Allowance, alive: &[u8]) -> Target {
        choose(cap, allowance, alive.iter().copied(), usize::from, 0)
    }

    fn up_to(encoding: u8, temporal_max: u8) -> Allowance {
        let rung = Rung { encoding, spatial_max: 7, temporal_max, bits_per_second: 1 };
        Allowance::UpTo(rung, 1)
    }

    #[test]
    fn the_worst_of_wish_and_path_decides_among_what_is_alive() {
        let encoding = |cap, allowance, alive: &[u8]| chosen(cap, allowance, alive).encoding;
        assert_eq!(encoding(LayerCap::High, Allowance::All, &[0, 1, 2]), Some(0));
        assert_eq!(encoding(LayerCap::Low, Allowance::All, &[0, 1, 2]), Some(2));
        assert_eq!(encoding(LayerCap::High, up_to(1, 7), &[0, 1, 2]), Some(1));
        assert_eq!(encoding(LayerCap::High, up_to(1, 7), &[0, 2]), Some(2), "1 is silent");
        assert_eq!(encoding(LayerCap::High, up_to(1, 7), &[0]), Some(0), "there is no other");
        assert_eq!(encoding(LayerCap::High, Allowance::Nothing, &[0]), None);
        assert_eq!(encoding(LayerCap::High, Allowance::All, &[]), Some(0));
        let layers = Layers { encoding: Some(1), spatial_max: 0, temporal_max: 1 };
        let target = chosen(LayerCap::Chosen(layers), up_to(0, 7), &[0, 1, 2]);
        assert_eq!((target.encoding, target.spatial_max, target.temporal_max), (Some(1), 0, 1));
        let target = chosen(LayerCap::High, up_to(2, 0), &[0, 1, 2]);
        assert_eq!((target.encoding, target.temporal_max), (Some(2), 0));
        assert_eq!(target.spatial_max, 7, "what the path takes");
    }
}
