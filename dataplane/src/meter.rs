//! What each layer of an Encoding costs, measured from its packets.

use crate::canonical::PacketMeta;
use crate::dependency::{Targets, best_target, target_bit};
use crate::egress::DATAGRAM_OVERHEAD_BYTES;

/// Spatial and temporal layers that are told apart; higher ones count as the last.
pub(crate) const LAYERS: usize = 4;
/// Rates are taken over this.
const WINDOW_US: u64 = 500_000;
/// Header, extensions and tag of a packet to a viewer.
pub(crate) const HEADER_BYTES: usize = 48;
/// How much the last window counts against those before it.
const SMOOTHING: f32 = 0.4;
/// What is left of a peak after one window.
const PEAK_FADES: f32 = 0.995;
/// The same for what is looked at over a longer time: about five seconds.
const SMOOTHING_STEADY: f32 = 0.1;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    octets: [[u32; LAYERS]; LAYERS],
    /// Bits per second, by spatial and temporal layer.
    rates: [[f32; LAYERS]; LAYERS],
    /// Of all together, over a longer time.
    steady: f32,
    /// The most of all together, which fades.
    peak: f32,
    /// Of all together in the last two windows.
    last: [f32; 2],
    since_us: Option<u64>,
    has_rates: bool,
    /// The rates are those of decode targets, which say themselves what belongs to them; so they do
    /// not add up. The targets, if so.
    targets: Targets,
    /// Those of the window that is running, and whether it has had packets.
    seen: Option<Targets>,
}

impl Meter {
    /// Counts a packet's copy as a viewer would get it.
    pub(crate) fn count(&mut self, meta: &PacketMeta, payload_len: usize) {
        let at = |layer: u8| usize::from(layer).min(LAYERS - 1);
        let bytes = payload_len + HEADER_BYTES + DATAGRAM_OVERHEAD_BYTES;
        let Some(dependency) = &meta.frame.dependency else {
            self.octets[at(meta.frame.sid)][at(meta.frame.tid)] += bytes as u32;
            self.seen.get_or_insert(0);
            return;
        };
        self.seen = Some(dependency.targets);
        for (sid, octets) in (0..).zip(&mut self.octets) {
            for (tid, octets) in (0..).zip(octets) {
                let is_in = dependency.targets & dependency.present & target_bit(sid, tid) != 0;
                *octets += if is_in { bytes as u32 } else { 0 };
            }
        }
    }

    /// Takes the rates, if the window is over.
    pub(crate) fn look(&mut self, now_us: u64) {
        let since_us = *self.since_us.get_or_insert(now_us);
        let passed_us = now_us.saturating_sub(since_us);
        if passed_us < WINDOW_US {
            return;
        }
        self.since_us = Some(now_us);
        let per_second = 8e6 / passed_us as f32;
        // Whoever has begun or ceased to describe is measured anew: the one adds up, the other does not.
        let targets = self.seen.take().unwrap_or(self.targets);
        self.has_rates &= (targets == 0) == (self.targets == 0);
        self.targets = targets;
        let smoothing = if self.has_rates { SMOOTHING } else { 1.0 };
        let all: u32 = match self.targets {
            0 => self.octets.iter().flatten().sum(),
            _ => self.octets.iter().flatten().copied().max().unwrap_or(0),
        };
        self.last = [all as f32 * per_second, self.last[0]];
        self.peak = (self.peak * PEAK_FADES).max(self.last[0].min(self.last[1]));
        let smoothing_steady = if self.has_rates { SMOOTHING_STEADY } else { 1.0 };
        self.steady += smoothing_steady * (all as f32 * per_second - self.steady);
        let layers = self.octets.iter_mut().flatten().zip(self.rates.iter_mut().flatten());
        for (octets, rate) in layers {
            *rate += smoothing * (std::mem::take(octets) as f32 * per_second - *rate);
        }
        self.has_rates = true;
    }

    /// Bits per second of all layers over some seconds: what a shared screen costs, which is still
    /// mostly and large when it changes.
    pub(crate) fn steady_bits_per_second(&self) -> u64 {
        self.steady as u64
    }

    /// Bits per second of all layers at their most, which fades within minutes.
    pub(crate) fn peak_bits_per_second(&self) -> u64 {
        self.peak as u64
    }

    /// Bits per second of all layers in the last second: who has been asked to send less does so within
    /// that, and whoever waits for it shall not wait for an average.
    pub(crate) fn latest_bits_per_second(&self) -> u64 {
        self.last[0].max(self.last[1]) as u64
    }

    /// Bits per second of all layers up to these; 0 while nothing is known.
    pub(crate) fn bits_per_second(&self, sid_max: u8, tid_max: u8) -> u64 {
        if self.targets != 0 {
            let (sid, tid) = best_target(self.targets, sid_max, tid_max);
            let rates =
                self.rates.get(usize::from(sid)).and_then(|rates| rates.get(usize::from(tid)));
            return rates.map_or(0, |rate| *rate as u64);
        }
        let spatial = self.rates.iter().take(usize::from(sid_max) + 1);
        let temporal = spatial.flat_map(|rates| rates.iter().take(usize::from(tid_max) + 1));
        temporal.sum::<f32>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::Dependency;
    use crate::descriptor::FrameInfo;

    /// libwebrtc writes a descriptor or not, as the encoder has it.
    #[test]
    fn a_sender_that_ceases_to_describe_is_measured_anew() {
        let mut meter = Meter::default();
        meter.look(1_000_000);
        let (low, high) = (target_bit(0, 0), target_bit(0, 1));
        let described =
            |present| Dependency { present, targets: low | high, ..Dependency::default() };
        let send = |meter: &mut Meter, dependency| {
            let frame = FrameInfo { dependency, ..FrameInfo::default() };
            let meta = PacketMeta { frame, ..PacketMeta::default() };
            (0..10).for_each(|_| meter.count(&meta, 1000 - HEADER_BYTES - 28));
        };
        send(&mut meter, Some(described(low | high)));
        send(&mut meter, Some(described(high)));
        meter.look(2_000_000);
        assert_eq!((meter.bits_per_second(0, 0), meter.bits_per_second(7, 7)), (80_000, 160_000));
        meter.look(3_000_000);
        assert!(meter.bits_per_second(7, 7) < 160_000, "a pause");
        send(&mut meter, None);
        meter.look(4_000_000);
        assert_eq!((meter.bits_per_second(0, 0), meter.bits_per_second(7, 7)), (80_000, 80_000));
    }

    #[test]
    fn layers_add_up() {
        let mut meter = Meter::default();
        meter.look(1_000_000);
        for (sid, tid, packets) in [(0, 0, 10), (0, 1, 10), (1, 0, 40), (9, 9, 1)] {
            let frame = FrameInfo { sid, tid, ..FrameInfo::default() };
            let meta = PacketMeta { frame, ..PacketMeta::default() };
            (0..packets).for_each(|_| meter.count(&meta, 1000 - HEADER_BYTES - 28));
        }
        assert_eq!(meter.bits_per_second(7, 7), 0, "not yet");
        meter.look(2_000_000);
        assert_eq!(meter.bits_per_second(0, 0), 80_000);
        assert_eq!(meter.bits_per_second(0, 7), 160_000);
        assert_eq!(meter.bits_per_second(1, 7), 480_000);
        assert_eq!(meter.bits_per_second(7, 7), 488_000);
        meter.look(3_000_000);
        assert_eq!(meter.bits_per_second(0, 0), 48_000, "half forgotten");
    }
}
