//! The results as a table in Markdown.

use bytesize::ByteSize;

use crate::{
    bench::Bench,
    measure::{Goal, Row, Times},
};

/// What the agent may hold beside git.
const MEMORY_GOAL: u64 = 256 << 20;

const HEADINGS: [&str; 10] = [
    "work",
    "peer",
    "peer s",
    "(min..max)",
    "ours s",
    "(min..max)",
    "ratio",
    "goal",
    "met",
    "memory (with mapped files)",
];

/// All rows, and what is measured.
pub fn render(rows: &[Row], bench: &Bench) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).into()];
    lines[0].push("stored".to_owned());
    lines.extend(rows.iter().map(cells));
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push(format!("| {} |", padded.collect::<Vec<_>>().join(" | ")));
        if number == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push(format!("|-{}-|", rules.join("-|-")));
        }
    }
    text.push(format!(
        "\nMedians of {} alternating repetitions, {} CPUs, git {}. Memory: the most that backupctl held, without its git \
         children; goal {}.",
        bench.repetitions,
        bench.cpus,
        bench.programs.git.version,
        ByteSize(MEMORY_GOAL).display().iec()
    ));
    text.join("\n")
}

/// One row in short.
pub fn line(row: &Row) -> String {
    format!("  {}: {}, goal {}", row.work, ratio(row), goal(row.goal))
}

fn cells(row: &Row) -> Vec<String> {
    let size = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    let memory_met = row.peak.anonymous <= MEMORY_GOAL;
    let met = match (row.met, memory_met) {
        (Some(true), true) => "yes",
        (Some(false), true) => "NO",
        (None, true) => "",
        (_, false) => "NO: memory",
    };
    vec![
        row.work.clone(),
        row.peer_command.clone(),
        format!("{:.3}", row.peer.median()),
        spread(&row.peer),
        format!("{:.3}", row.ours.median()),
        spread(&row.ours),
        ratio(row),
        goal(row.goal),
        met.to_owned(),
        format!("{} ({})", size(row.peak.anonymous), size(row.peak.resident)),
        size(row.bytes),
    ]
}

fn spread(times: &Times) -> String {
    let (shortest, longest) = times.spread();
    format!("{shortest:.3}..{longest:.3}")
}

fn ratio(row: &Row) -> String {
    match row.goal {
        Goal::FasterAtLeast(_) => format!("{:.2} × as fast", row.ratio),
        Goal::TimeAtMost(_) | Goal::None => format!("{:.2} × the time", row.ratio),
    }
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::TimeAtMost(share) => format!("≤ {share}"),
        Goal::FasterAtLeast(speed) => format!("≥ {speed}"),
        Goal::None => "none: small".to_owned(),
    }
}
