//! Writes the man pages and the shells' completions of both programs into a folder, from their flags:
//! `cargo run -p checks --example manual -- <folder>`. The Debian package has them.

use std::fs::create_dir_all;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or_else(|| std::io::Error::other("name a folder"))?);
    for (name, program) in [("ingress", ingress::cli::Cli::command()), ("worker", worker::cli::Command::command())] {
        let pages = folder.join("man1");
        create_dir_all(&pages)?;
        clap_mangen::generate_to(program.clone(), &pages)?;
        for (shell, place) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            let place = folder.join(place);
            create_dir_all(&place)?;
            clap_complete::generate_to(shell, &mut program.clone(), name, &place)?;
        }
    }
    Ok(())
}
