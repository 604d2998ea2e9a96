//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::bridge::Histogram;

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As the format spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The page so far.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

/// Where the samples of one metric go.
pub(super) struct Samples<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    /// Begins a metric.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Samples<'_> {
        // Writing to a string cannot fail; so below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        Samples { page: &mut self.0, name }
    }
}

impl Samples<'_> {
    /// The only sample of a metric without labels.
    pub(super) fn one(&mut self, value: impl Display) {
        let _ = writeln!(self.page, "{} {value}", self.name);
    }

    /// The only sample, if the value is known.
    pub(super) fn maybe(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(value);
        }
    }

    /// A sample with labels. Their values must be without quotes, backslashes and line ends, which
    /// ours are: they come from closed sets.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let _ = writeln!(self.page, "{}{{{}}} {value}", self.name, pairs.join(","));
    }

    /// What goes in and what goes out.
    pub(super) fn in_and_out(&mut self, (into, out): (impl Display, impl Display)) {
        self.labelled(&[("direction", "in")], into);
        self.labelled(&[("direction", "out")], out);
    }

    /// All samples of a histogram, in seconds.
    pub(super) fn histogram(&mut self, histogram: &Histogram) {
        let name = self.name;
        for (bound_us, count) in histogram.cumulative() {
            let bound = seconds(bound_us);
            let _ = writeln!(self.page, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let (sum, count) = (seconds(histogram.sum_us()), histogram.count());
        let _ = writeln!(
            self.page,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        );
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
