//! The results as a table in Markdown: a block for each piece of work, a line for each side.

use bytesize::ByteSize;

use crate::{
    bench::Bench,
    measure::{Done, Kind, Measured},
};

/// What the agent may hold beside git.
const MEMORY_GOAL: u64 = 256 << 20;

const HEADINGS: [&str; 10] = [
    "work",
    "side",
    "s",
    "(min..max)",
    "runs",
    "CPU s (user + system)",
    "memory",
    "stored",
    "ours",
    "goal: met",
];

/// All work, and how it was measured.
pub fn render(all: &[Done], bench: &Bench) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned).to_vec()];
    lines.extend(all.iter().flat_map(block));
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push(format!("| {} |", padded.collect::<Vec<_>>().join(" | ")));
        if number == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push(format!("|-{}-|", rules.join("-|-")));
        }
    }
    text.push(format!("\n{}", legend(bench)));
    text.join("\n")
}

fn legend(bench: &Bench) -> String {
    format!(
        "Medians of alternating runs on {} CPUs; a side stops early after {} s, or runs only once. {}. Memory: of ours, the most that \
         backupctl itself asked for (with mapped files), goal {}; of others, the most that one process had. Stored: all \
         bytes of the last run; goals of bytes count only packs, bundles and lists of refs. What gitaly-backup runs is \
         written to files and not synced; ours is synced.",
        bench.cpus,
        bench.budget,
        bench.programs.versions(),
        size(MEMORY_GOAL)
    )
}

/// What goes to the terminal when a piece of work is done.
pub fn short(done: &Done) -> String {
    let mut lines = vec![format!("{}:", done.title)];
    for side in &done.sides {
        let figures = match (&side.missing, side.samples.len()) {
            (Some(why), 0) => why.clone(),
            _ => format!("{:.3} s  {}", side.samples.wall(), verdicts(done, side).1),
        };
        lines.push(format!("  {}: {figures}", side.name));
    }
    lines.join("\n")
}

fn block(done: &Done) -> Vec<Vec<String>> {
    let mut lines: Vec<_> = done.sides.iter().map(|side| cells(done, side)).collect();
    if let Some(first) = lines.first_mut() {
        first[0].clone_from(&done.title);
    }
    lines
}

fn cells(done: &Done, side: &Measured) -> Vec<String> {
    let name = if side.kind == Kind::Ours { format!("**{}**", side.name) } else { side.name.to_owned() };
    let samples = &side.samples;
    if samples.len() == 0 {
        let goals: Vec<_> = done.goals.iter().filter(|goal| goal.with == side.name).collect();
        let goals = goals.iter().map(|goal| format!("{}: not measured", goal.claim.text()));
        let mut line = vec![String::new(); HEADINGS.len()];
        line[1] = name;
        line[2] = side.missing.clone().unwrap_or_default();
        line[9] = goals.collect::<Vec<_>>().join("; ");
        return line;
    }
    let ((shortest, longest), (user, system)) = (samples.spread(), samples.processor());
    let (ours, goals) = verdicts(done, side);
    vec![
        String::new(),
        name,
        format!("{:.3}", samples.wall()),
        format!("({shortest:.3}..{longest:.3})"),
        samples.len().to_string(),
        format!("{user:.2} + {system:.2}"),
        memory(side),
        samples.bytes().map(size).unwrap_or_default(),
        ours,
        goals,
    ]
}

/// How ours compares with a side, and what it should.
fn verdicts(done: &Done, side: &Measured) -> (String, String) {
    let (mut values, mut goals) = (Vec::new(), Vec::new());
    for goal in done.goals.iter().filter(|goal| goal.with == side.name) {
        let Some(verdict) = goal.judge(done) else { continue };
        let who = if goal.ours == "ours" { String::new() } else { format!("{}: ", goal.ours) };
        let stands_in = if done.stands_in { " (stand-in)" } else { "" };
        values.push(format!("{who}{}", goal.claim.value_text(verdict.value)));
        goals.push(format!("{who}{}{stands_in}: {}", goal.claim.text(), yes(verdict.met)));
    }
    if side.kind == Kind::Ours {
        let met = side.samples.watched().0 <= MEMORY_GOAL;
        goals.extend((!met).then(|| "memory: NO".to_owned()));
        values.extend(own_rate(done, side).filter(|_| values.is_empty()));
    } else if let (true, Some(ours)) = (values.is_empty(), done.samples("ours")) {
        values.push(format!("{:.2} × its time", ours.wall() / side.samples.wall()));
    }
    (values.join("; "), goals.join("; "))
}

fn own_rate(done: &Done, side: &Measured) -> Option<String> {
    done.items.map(|items| format!("{:.0} a second", items as f64 / side.samples.wall()))
}

fn memory(side: &Measured) -> String {
    match side.kind {
        Kind::Ours => {
            let (anonymous, resident) = side.samples.watched();
            format!("{} ({})", size(anonymous), size(resident))
        }
        Kind::Peer => size(side.samples.resident()),
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn yes(met: bool) -> &'static str {
    if met { "yes" } else { "NO" }
}
