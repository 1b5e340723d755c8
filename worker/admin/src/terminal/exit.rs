//! How a command ends, as the shell sees it.

use std::process::ExitCode;

/// The codes as every command's `--help` lists them.
pub const HELP: &str = "Exit codes:\n  \
    0    everything asked for was done; of a check: all is well\n  \
    1    it failed, or something is not well; the output says what, and what to do\n  \
    2    wrong arguments or settings; nothing was done\n  \
    3    done in part: the output says what failed; the rest was done\n  \
    130  interrupted (Ctrl-C, SIGTERM); the output says how to go on";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done; of a check: all is well.
    Done = 0,
    /// It failed, or something is not well; the output says what, and what to do.
    Failed = 1,
    /// Wrong arguments or settings; nothing was done. The same code as clap's.
    Usage = 2,
    /// Some things failed and the rest was done.
    Partial = 3,
    /// Interrupted; the output says how to go on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code() {
        for exit in [Exit::Done, Exit::Failed, Exit::Usage, Exit::Partial, Exit::Interrupted] {
            let code = format!("  {:<3}  ", exit as u8);
            assert!(HELP.contains(&code), "{exit:?}: {HELP}");
        }
    }
}
