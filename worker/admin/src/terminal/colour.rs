//! Colours for a person at a terminal. `NO_COLOR` and what else asks for none is honoured by `anstream`.

use std::io::{IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::escape;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// As it should be.
    Green,
    /// Not done yet.
    Yellow,
    /// Somebody should look.
    Red,
}

impl Colour {
    const fn style(self) -> Style {
        let colour = match self {
            Self::Green => AnsiColor::Green,
            Self::Yellow => AnsiColor::Yellow,
            Self::Red => AnsiColor::Red,
        };
        colour.on_default()
    }
}

/// Whether standard output is a person's terminal.
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes a line of the answer with a word of it coloured. What came from outside is escaped.
pub fn print_coloured(before: &str, colour: Colour, word: &str, after: &str) {
    let choice = AutoStream::choice(&std::io::stdout());
    let line = line(choice, before, colour, word, after);
    super::print::aside(|| drop(writeln!(std::io::stdout(), "{line}")));
}

fn line(choice: ColorChoice, before: &str, colour: Colour, word: &str, after: &str) -> String {
    let [before, word, after] = [before, word, after].map(escape::line);
    match choice {
        ColorChoice::Never => format!("{before}{word}{after}"),
        _ => format!("{before}{0}{word}{0:#}{after}", colour.style()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colour_reaches_a_terminal() {
        let hostile = "x\u{1b}[2J";
        let plain = line(ColorChoice::Never, hostile, Colour::Red, "dead", hostile);
        assert_eq!(plain, "x\\u{1b}[2Jdeadx\\u{1b}[2J");
        let coloured = line(ColorChoice::Always, hostile, Colour::Red, "dead", hostile);
        assert_eq!(coloured, "x\\u{1b}[2J\u{1b}[31mdead\u{1b}[0mx\\u{1b}[2J");
    }
}
