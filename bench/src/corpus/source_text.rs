//! Text that compresses and changes like source code: a limited vocabulary, indented lines, edits of a few lines.

use super::random::Random;

const SYLLABLES: [&str; 24] = [
    "ar", "bo", "con", "den", "ex", "fi", "gra", "ho", "in", "ka", "lo", "men", "no", "or", "pre", "qua",
    "re", "sta", "tion", "un", "ver", "wor", "ya", "ze",
];
const SHAPES: [&str; 10] = [
    "let # = #.#(&#)?;",
    "if #.#() > #.len() {",
    "#.#(#, \"#-#\", N);",
    "// # the # of # before # #, so that # is never #",
    "return Err(#::new(#, N));",
    "pub fn #(#: &#, #: usize) -> Result<#> {",
    "assert_eq!(#.#, N);",
    "}",
    "match # { #::# => #, _ => N }",
    "for # in #.#().skip(N) {",
];

/// A writer of source code with its own vocabulary.
pub struct Author {
    words: Vec<String>,
}

/// A file, as its lines.
pub type Lines = Vec<String>;

impl Author {
    /// An author who knows this many words.
    pub fn new(random: &mut Random, words: usize) -> Self {
        let word = |random: &mut Random| {
            let syllables = random.between(2, 4);
            (0..syllables).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect()
        };
        Self { words: (0..words).map(|_| word(random)).collect() }
    }

    /// A new file of about this many lines.
    pub fn file(&self, random: &mut Random, lines: usize) -> Lines {
        let lines = random.between(lines / 3 + 1, lines * 5 / 3 + 1);
        (0..lines).map(|_| self.line(random)).collect()
    }

    /// Changes, adds and removes a few lines of a file, in one or two places.
    pub fn edit(&self, random: &mut Random, file: &mut Lines) {
        for _ in 0..random.between(1, 2) {
            let at = random.below(file.len().max(1));
            let removed = random.between(0, 4).min(file.len() - at.min(file.len()));
            let added = random.between(1, 6);
            let fresh: Vec<String> = (0..added).map(|_| self.line(random)).collect();
            file.splice(at..at + removed, fresh);
        }
    }

    fn line(&self, random: &mut Random) -> String {
        let mut line = "    ".repeat(random.below(4));
        for piece in SHAPES[random.below(SHAPES.len())].split_inclusive(['#', 'N']) {
            match piece.char_indices().next_back() {
                Some((at, '#')) => {
                    line.push_str(&piece[..at]);
                    line.push_str(&self.words[random.skewed(self.words.len())]);
                }
                Some((at, 'N')) => {
                    line.push_str(&piece[..at]);
                    line.push_str(&random.below(5000).to_string());
                }
                _ => line.push_str(piece),
            }
        }
        line.push('\n');
        line
    }
}
