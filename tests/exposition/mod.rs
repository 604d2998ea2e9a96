//! A strict reader of Prometheus' text format 0.0.4, written from its description and sharing
//! nothing with the writer under test.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug)]
pub(crate) struct Sample {
    /// With `_bucket`, `_sum` or `_count` for histograms.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One metric with all its samples.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// A whole page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub families: BTreeMap<String, Family>,
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(crate) fn name_is_good(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

impl Page {
    /// Reads a page; an error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut current = String::new();
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in text.lines() {
            page.line(line, &mut current).map_err(|error| format!("{error}: {line}"))?;
        }
        for (name, family) in &page.families {
            family.check(name).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(page)
    }

    fn line(&mut self, line: &str, current: &mut String) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("no help")?;
            if !name_is_good(name) || help.trim().is_empty() {
                return Err("a bad name or no help".to_owned());
            }
            if self.families.contains_key(name) {
                return Err("a second HELP".to_owned());
            }
            self.families.insert(name.to_owned(), Family::default());
            name.clone_into(current);
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            let family = self.families.get_mut(name).ok_or("TYPE before HELP")?;
            if name != current || !family.kind.is_empty() || !family.samples.is_empty() {
                return Err("TYPE at the wrong place".to_owned());
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err("an unknown type".to_owned());
            }
            kind.clone_into(&mut family.kind);
            return Ok(());
        }
        if line.starts_with('#') || line.is_empty() {
            return Err("neither HELP, TYPE nor a sample".to_owned());
        }
        let sample = Sample::parse(line)?;
        // All samples of a metric stand together, below its TYPE.
        let family = self.families.get_mut(current).ok_or("a sample of nothing")?;
        let is_histogram = family.kind == "histogram";
        let part =
            sample.name.strip_prefix(current.as_str()).ok_or("a sample of another metric")?;
        let is_known = match part {
            "" => !is_histogram && !family.kind.is_empty(),
            "_bucket" | "_sum" | "_count" => is_histogram,
            _ => false,
        };
        if !is_known {
            return Err("a sample that the type does not have".to_owned());
        }
        let is_same = |known: &Sample| known.name == sample.name && known.labels == sample.labels;
        if family.samples.iter().any(is_same) {
            return Err("the same sample twice".to_owned());
        }
        family.samples.push(sample);
        Ok(())
    }

    /// The value of one sample.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut samples = self.families.values().flat_map(|family| &family.samples);
        let found = samples.find(|sample| sample.name == name && sample.labels == wanted);
        found.unwrap_or_else(|| panic!("no {name} {labels:?}")).value
    }
}

impl Sample {
    fn parse(line: &str) -> Result<Self, String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        if !name_is_good(name) {
            return Err("a bad name".to_owned());
        }
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
                if !name_is_good(label) || label.contains(':') || label.starts_with("__") {
                    return Err("a bad label".to_owned());
                }
                let (value, after) = after.split_once('"').ok_or("a value without an end")?;
                if value.contains(['\\', '\n']) {
                    return Err("an escape, of which this server has no need".to_owned());
                }
                if labels.insert(label.to_owned(), value.to_owned()).is_some() {
                    return Err("a label twice".to_owned());
                }
                if let Some(after) = after.strip_prefix('}') {
                    rest = after;
                    break;
                }
                rest = after.strip_prefix(',').ok_or("no comma")?;
            }
        }
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let value: f64 = value.parse().map_err(|_| "no number")?;
        Ok(Self { name: name.to_owned(), labels, value })
    }
}

impl Family {
    /// What holds within one metric.
    fn check(&self, name: &str) -> Result<(), String> {
        if self.kind.is_empty() {
            return Err("no TYPE".to_owned());
        }
        if name.ends_with("_total") != (self.kind == "counter") {
            return Err("counters, and only they, end in _total".to_owned());
        }
        if self.kind != "gauge" && self.samples.iter().any(|sample| sample.value < 0.0) {
            return Err("a negative count".to_owned());
        }
        if self.samples.iter().any(|sample| !sample.value.is_finite()) {
            return Err("a value that is no number".to_owned());
        }
        if self.kind == "histogram" { self.check_histogram(name) } else { Ok(()) }
    }

    /// Ours have no labels but `le`.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let of = |part: &str| -> Vec<&Sample> {
            let wanted = format!("{name}_{part}");
            self.samples.iter().filter(|sample| sample.name == wanted).collect()
        };
        let mut before = (f64::NEG_INFINITY, 0.0);
        for bucket in of("bucket") {
            let bound = match bucket.labels.get("le").map(String::as_str) {
                Some("+Inf") => f64::INFINITY,
                Some(bound) => bound.parse().map_err(|_| "a bound that is no number")?,
                None => return Err("a bucket without a bound".to_owned()),
            };
            if bound <= before.0 || bucket.value < before.1 || bucket.labels.len() != 1 {
                return Err(format!("the bucket {bound} is out of order"));
            }
            before = (bound, bucket.value);
        }
        match (of("count").as_slice(), of("sum").as_slice()) {
            ([count], [_]) if before == (f64::INFINITY, count.value) => Ok(()),
            _ => {
                Err("the count is not that of the last bucket, +Inf, or there is no sum".to_owned())
            }
        }
    }
}
