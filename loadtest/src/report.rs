//! Results for people: a table on the terminal, and a page with plots that needs nothing else.

use std::fmt::Write;

use crate::measure::Outcome;

/// The table of one result.
pub(crate) fn table(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {name:<26} {value}");
    };
    let ms = |us: Option<u64>| {
        us.map_or_else(|| "-".to_owned(), |us| format!("{:.2}", us as f64 / 1000.0))
    };
    let number =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    row("viewers wanted/up", format!("{}/{}", outcome.viewers_wanted, outcome.viewers_up));
    row("streams wanted/up", format!("{}/{}", outcome.streams_wanted, outcome.streams_up));
    row(
        "join ms p50/p99",
        format!("{} / {}", number(outcome.join_ms_p50), number(outcome.join_ms_p99)),
    );
    row(
        "packets sent/due/received",
        format!(
            "{} / {} / {}",
            outcome.packets_published, outcome.packets_expected, outcome.packets_received
        ),
    );
    row("loss", format!("{:.4} %", outcome.loss * 100.0));
    row(
        "verified/bad/duplicate",
        format!(
            "{} (1 in {}) / {} / {}",
            outcome.packets_verified,
            outcome.verify_every,
            outcome.packets_bad,
            outcome.packets_duplicate
        ),
    );
    row("complete frames/freezes", format!("{} / {}", outcome.frames, outcome.freezes));
    row("picture id breaks", outcome.picture_id_breaks.to_string());
    row(
        "latency ms p50/p99/p99.9",
        format!(
            "{} / {} / {}",
            ms(outcome.latency_us_p50),
            ms(outcome.latency_us_p99),
            ms(outcome.latency_us_p999)
        ),
    );
    if let Some(cpu) = outcome.cpu_us_per_packet {
        let cores = outcome.server_cpu_s.unwrap_or(0.0) / outcome.seconds.max(0.001);
        let user = outcome.server_user_s.unwrap_or(0.0);
        let system = outcome.server_system_s.unwrap_or(0.0);
        row("server cores", format!("{cores:.3} ({user:.2} s user, {system:.2} s system)"));
        row("CPU us per packet", format!("{cpu:.3}"));
        row("flows per core", format!("{:.0}", outcome.flows_per_core.unwrap_or(0.0)));
    }
    if let Some(floor) = outcome.floor_us_per_packet {
        row("floor us per packet", format!("{floor:.3}"));
    }
    if let Some(floors) = outcome.floors {
        row("cost in floors", format!("{floors:.2}"));
    }
    if let Some(rss) = outcome.server_rss_bytes {
        let per_viewer = outcome.rss_bytes_per_viewer.unwrap_or(0.0) / 1024.0;
        let mib = rss as f64 / (1 << 20) as f64;
        row("server RSS", format!("{mib:.1} MiB, {per_viewer:.1} KiB per stream"));
    }
    for failure in outcome.failures.iter().take(10) {
        row("FAILED", failure.clone());
    }
    if outcome.failures.len() > 10 {
        row("FAILED", format!("and {} more", outcome.failures.len() - 10));
    }
    format!("{}\n{out}", outcome.title)
}

/// A self-contained page: latency distributions and cost against viewers.
pub(crate) fn page(results: &[(String, Outcome)]) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Load test</title>\n\
         <style>body{font:16px system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #8884;\
         text-align:right}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}\
         text{font:12px system-ui,sans-serif;fill:currentColor}</style>\n<h1>Load test</h1>\n",
    );
    out.push_str(
        "<table><tr><th>run<th>streams<th>loss %<th>p50 ms<th>p99 ms<th>CPU us/packet<th>floors\
         <th>flows/core<th>KiB/stream</tr>\n",
    );
    for (name, outcome) in results {
        let optional = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let ms = |us: Option<u64>| optional(us.map(|us| us as f64 / 1000.0), 2);
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{:.3}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(name),
            outcome.streams_up,
            outcome.loss * 100.0,
            ms(outcome.latency_us_p50),
            ms(outcome.latency_us_p99),
            optional(outcome.cpu_us_per_packet, 3),
            optional(outcome.floors, 2),
            optional(outcome.flows_per_core, 0),
            optional(outcome.rss_bytes_per_viewer.map(|bytes| bytes / 1024.0), 1),
        );
    }
    out.push_str("</table>\n<h2>Latency, share of packets below</h2>\n");
    out.push_str(&latency_plot(results));
    out.push_str("<h2>Server CPU against streams</h2>\n");
    out.push_str(&cpu_plot(results));
    out.push_str("</html>\n");
    out
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 320.0;
const COLOURS: [&str; 6] = ["#0b62a4", "#c4490e", "#2b8a3e", "#8b3fa0", "#a67c00", "#555"];

/// Cumulative distributions over a logarithmic axis from 10 us to 10 s.
fn latency_plot(results: &[(String, Outcome)]) -> String {
    let x = |us: f64| 40.0 + (us.max(10.0).log10() - 1.0) / 6.0 * (WIDTH - 60.0);
    let y = |share: f64| HEIGHT - 30.0 - share * (HEIGHT - 60.0);
    let mut body = String::new();
    for (at, (name, outcome)) in results.iter().enumerate() {
        let total: u64 = outcome.latency_histogram.iter().map(|(_, count)| count).sum();
        let mut seen = 0;
        let points: Vec<String> = outcome
            .latency_histogram
            .iter()
            .map(|(us, count)| {
                seen += count;
                format!("{:.1},{:.1}", x(*us as f64), y(seen as f64 / total.max(1) as f64))
            })
            .collect();
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(
            body,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
             <text x=\"60\" y=\"{}\" style=\"fill:{colour}\">{}</text>",
            points.join(" "),
            30 + 16 * at,
            escape(name)
        );
    }
    for (us, label) in [
        (10.0, "10 us"),
        (1e2, "100 us"),
        (1e3, "1 ms"),
        (1e4, "10 ms"),
        (1e5, "100 ms"),
        (1e6, "1 s"),
    ] {
        let _ =
            writeln!(body, "<text x=\"{:.0}\" y=\"{:.0}\">{label}</text>", x(us), HEIGHT - 10.0);
    }
    frame(&body)
}

/// One point per result: streams and server cores.
fn cpu_plot(results: &[(String, Outcome)]) -> String {
    let cores = |o: &Outcome| o.server_cpu_s.map(|cpu| cpu / o.seconds.max(0.001));
    let most = |value: f64, other: f64| if other > value { other } else { value };
    let x_max = results.iter().map(|(_, o)| o.streams_up as f64).fold(1.0, most);
    let y_max = results.iter().filter_map(|(_, o)| cores(o)).fold(0.01, most);
    let mut body = String::new();
    for (at, (name, outcome)) in results.iter().enumerate() {
        let Some(used) = cores(outcome) else { continue };
        let x = 40.0 + outcome.streams_up as f64 / x_max * (WIDTH - 200.0);
        let y = HEIGHT - 30.0 - used / y_max * (HEIGHT - 60.0);
        let _ = writeln!(
            body,
            "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"5\" fill=\"{}\"/>\
             <text x=\"{:.0}\" y=\"{y:.0}\">{}: {used:.2} cores, {} streams</text>",
            COLOURS[at % COLOURS.len()],
            x + 9.0,
            escape(name),
            outcome.streams_up
        );
    }
    frame(&body)
}

fn frame(body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><path d=\"M40 20V{0}H{1}\" fill=\"none\" \
         stroke=\"currentColor\"/>\n{body}</svg>\n",
        HEIGHT - 30.0,
        WIDTH - 20.0
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            title: "one".to_owned(),
            seconds: 10.0,
            streams_up: 5,
            latency_histogram: vec![(100, 5), (1000, 5)],
            server_cpu_s: Some(2.0),
            cpu_us_per_packet: Some(1.5),
            failures: vec!["no <packet>".to_owned()],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_failure_is_in_the_table() {
        let table = table(&outcome());
        assert!(table.contains("FAILED") && table.contains("CPU us per packet"));
    }

    #[test]
    fn the_page_is_complete_and_escapes_names() {
        let page = page(&[("a<b".to_owned(), outcome())]);
        assert!(page.contains("a&lt;b") && !page.contains("a<b"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("polyline") && page.contains("circle"));
        assert!(!page.contains("http"), "it loads nothing from anywhere");
    }
}
